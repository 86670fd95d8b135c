// Go's net/http in the uploads benchmark: a server that answers before it has
// read what is uploaded, and reads none of it.
//
// It prints its port, and ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

const body = "an answer that is longer than nothing\n"

func main() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		switch r.URL.Path {
		case "/too-large":
			w.WriteHeader(http.StatusRequestEntityTooLarge)
		case "/unauthorized":
			w.Header().Set("WWW-Authenticate", "Basic realm=\"test\"")
			w.WriteHeader(http.StatusUnauthorized)
		case "/moved":
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(http.StatusTemporaryRedirect)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, body)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(handler)}
	go func() { log.Fatal(server.Serve(listener)) }()
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	io.Copy(io.Discard, os.Stdin)
}
