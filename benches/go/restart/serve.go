package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// How long a handler takes, so that some requests are being handled
	// whenever a server is told to end.
	work = time.Millisecond
	// How long a graceful shutdown may take.
	shutdownTimeout = 10 * time.Second
	// A server whose parent has died ends by itself.
	lifetime = 300 * time.Second
)

// serve answers on the listening socket that is its standard input. It prints
// a line when it accepts, and shuts down at SIGTERM.
func serve(args []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	certificate := flags.String("certificate", "", "speak TLS, with this certificate")
	key := flags.String("key", "", "the certificate's key")
	flags.Parse(args)

	time.AfterFunc(lifetime, func() { log.Fatal("nobody has ended this server") })
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)

	server := &http.Server{
		Handler:   http.HandlerFunc(echo),
		Protocols: new(http.Protocols),
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.FileListener(os.Stdin)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		var err error
		if *certificate != "" {
			err = server.ServeTLS(listener, *certificate, *key)
		} else {
			err = server.Serve(listener)
		}
		if err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	fmt.Println("ready")

	<-terminated
	limit, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	// What is left then is broken off, as everywhere.
	server.Shutdown(limit)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client has gone
	}
	time.Sleep(work)
	w.Write(body)
}
