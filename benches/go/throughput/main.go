// Go's net/http for comparison: HTTP/1 and cleartext HTTP/2, with a ConnState
// hook that counts or without one.
//
// It prints its port. For each line on its standard input it prints how many
// events its hook has counted, and it ends when that input does.
package main

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	var events [5]atomic.Int64

	server := &http.Server{
		Protocols: new(http.Protocols),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			// Not to be guessed from the body.
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			io.WriteString(w, "Hello, World!")
		}),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	if len(os.Args) > 1 && os.Args[1] == "hook" {
		server.ConnState = func(_ net.Conn, state http.ConnState) {
			events[state].Add(1)
		}
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)

	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var sum int64
		for i := range events {
			sum += events[i].Load()
		}
		fmt.Println(sum)
	}
}
