package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// load sends requests that it cannot send twice, and prints what became of
// them; see benches/restart/clients/mod.rs for what all clients do.
func load(args []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	addr := flags.String("addr", "", "where the server is")
	protocol := flags.String("protocol", "h1", "h1 or h2")
	certificate := flags.String("certificate", "", "speak TLS, and trust this certificate")
	requests := flags.Int64("requests", 0, "how many")
	workers := flags.Int("workers", 1, "how many send them")
	clients := flags.Int("clients", 1, "how many clients they share")
	think := flags.Int64("think", 0, "how long a worker waits at most, in ms")
	timeout := flags.Int64("timeout", 10000, "how long to wait for an answer, in ms")
	flags.Parse(args)

	url := "http://" + *addr + "/"
	if *certificate != "" {
		url = "https://" + *addr + "/"
	}
	pool := make([]*http.Client, *clients)
	for i := range pool {
		pool[i] = newClient(*protocol, *certificate, *workers)
	}

	outcome := outcome{failures: map[string]*failures{}}
	var next atomic.Int64
	var done sync.WaitGroup
	for i := range *workers {
		done.Add(1)
		go func() {
			defer done.Done()
			for {
				number := next.Add(1)
				if number > *requests {
					return
				}
				time.Sleep(time.Duration(rand.Float64() * float64(*think) * float64(time.Millisecond)))
				limit := time.Duration(*timeout) * time.Millisecond
				outcome.add(send(pool[i%len(pool)], url, fmt.Sprintf("request %d", number), limit))
			}
		}()
	}
	done.Wait()
	outcome.print()
}

func newClient(protocol, certificate string, connections int) *http.Client {
	transport := &http.Transport{
		Protocols:           new(http.Protocols),
		MaxIdleConnsPerHost: connections,
	}
	switch {
	case protocol == "h1":
		transport.Protocols.SetHTTP1(true)
	case certificate == "":
		transport.Protocols.SetUnencryptedHTTP2(true)
	default:
		transport.Protocols.SetHTTP2(true)
	}
	if certificate != "" {
		pem, err := os.ReadFile(certificate)
		if err != nil {
			log.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &http.Client{Transport: transport}
}

// once is a body that cannot be read twice: http.NewRequest knows no way to
// get another one of it, and so sets no GetBody.
type once struct{ io.Reader }

func send(client *http.Client, url, body string, timeout time.Duration) error {
	limit, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(limit, "POST", url, once{strings.NewReader(body)})
	if err != nil {
		return err
	}
	request.ContentLength = int64(len(body))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != 200 || string(answer) != body {
		return fmt.Errorf("%s with %d bytes", response.Status, len(answer))
	}
	return nil
}

type outcome struct {
	lock     sync.Mutex
	answered int
	failures map[string]*failures
}

type failures struct {
	count   int
	example string
}

func (o *outcome) add(err error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	if err == nil {
		o.answered++
		return
	}
	of, ok := o.failures[kind(err)]
	if !ok {
		of = &failures{example: err.Error()}
		o.failures[kind(err)] = of
	}
	of.count++
}

func (o *outcome) print() {
	fmt.Println("answered", o.answered)
	for kind, of := range o.failures {
		fmt.Println(kind, of.count, strings.ReplaceAll(of.example, "\n", " "))
	}
}

// kind names what benches/restart/outcome.rs knows.
func kind(err error) string {
	var op *net.OpError
	message := err.Error()
	has := func(part string) bool { return strings.Contains(message, part) }
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &op) && op.Op == "dial":
		return "connect"
	// A connection that became unusable between being picked and being used:
	// nothing was sent, but the body is taken to have been read.
	case has("cannot rewind body after connection loss"):
		return "unsent"
	// The server said that it has not looked at the request.
	case has("after Request.Body was written"), has("REFUSED_STREAM"):
		return "refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "eof"
	case has("server closed idle connection"), has("server sent GOAWAY and closed"):
		return "eof"
	case has("client connection lost"), has("connection reset"), has("broken pipe"):
		return "reset"
	}
	return "other"
}
