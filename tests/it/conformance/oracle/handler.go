package main

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

const big = 3 << 20

// The same handlers as the Rust tests have.
func handle(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodConnect {
		connect(w, r)
		return
	}
	path := r.URL.Path
	if code, found := strings.CutPrefix(path, "/status/"); found {
		status, _ := strconv.Atoi(code)
		w.WriteHeader(status)
		return
	}
	if key, found := strings.CutPrefix(path, "/wait/"); found {
		if wait(r, key) {
			io.WriteString(w, "waited\n")
		}
		return
	}
	if key, found := strings.CutPrefix(path, "/parts/"); found {
		io.WriteString(w, "one\n")
		http.NewResponseController(w).Flush()
		if wait(r, key) {
			io.WriteString(w, "two\n")
		}
		return
	}
	switch path {
	case "/":
		io.WriteString(w, "hello\n")
	case "/empty":
	case "/60k":
		w.Write(bytes.Repeat([]byte("x"), 60_000))
	case "/big", "/big-stream":
		w.Header().Set("Content-Length", strconv.Itoa(big))
		write(w, big)
	case "/big-chunked":
		write(w, big)
	case "/chunked":
		for _, chunk := range []string{"one", "two", "three"} {
			io.WriteString(w, chunk)
			http.NewResponseController(w).Flush()
		}
	case "/trailers":
		w.Header().Set("Trailer", "X-Checksum")
		io.WriteString(w, "body")
		w.Header().Set("X-Checksum", "1")
	case "/echo":
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		w.Write(body)
	case "/read-some":
		r.Body.Read(make([]byte, 1024))
		io.WriteString(w, "some\n")
	case "/ignore":
		io.WriteString(w, "ignored\n")
	case "/slow":
		<-r.Context().Done()
	case "/stream":
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	case "/panic":
		panic("a handler's panic (wanted)")
	case "/panic-late", "/body-error":
		io.WriteString(w, "some")
		http.NewResponseController(w).Flush()
		panic("a body's panic (wanted)")
	case "/close":
		w.Header().Set("Connection", "close")
		io.WriteString(w, "bye\n")
	case "/upgrade":
		hijack(w, switching, echoes)
	case "/upgrade-held":
		hijack(w, switching, holds)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func write(w io.Writer, length int) {
	for range length / 4096 {
		if _, err := w.Write(bytes.Repeat([]byte("x"), 4096)); err != nil {
			return
		}
	}
}

// Answers CONNECT with 200, then echoes; but not to a host called `nobody`,
// whose tunnel is answered and left, nor to one called `held`, whose tunnel is
// kept and not touched.
func connect(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.Host, "nobody") {
		return
	}
	if r.ProtoMajor == 1 {
		owner := echoes
		if strings.HasPrefix(r.Host, "held") {
			owner = holds
		}
		hijack(w, "HTTP/1.1 200 OK\r\n\r\n", owner)
		return
	}
	w.WriteHeader(http.StatusOK)
	http.NewResponseController(w).Flush()
	echo(w, r.Body, func() { http.NewResponseController(w).Flush() })
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"

// What a new owner does with a connection.
type owner func(io.Writer, io.Reader)

// Until the client is done.
func echoes(w io.Writer, r io.Reader) {
	echo(w, r, func() {})
}

// As long as the server lives.
func holds(io.Writer, io.Reader) {
	select {}
}

// Takes the connection, answers, and gives it to its owner.
func hijack(w http.ResponseWriter, answer string, owner owner) {
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	go func() {
		defer conn.Close()
		io.WriteString(conn, answer)
		owner(conn, buffered)
	}()
}

func echo(w io.Writer, r io.Reader, flush func()) {
	buffer := make([]byte, 1024)
	for {
		length, err := r.Read(buffer)
		if length > 0 {
			if _, err := w.Write(buffer[:length]); err != nil {
				return
			}
			flush()
		}
		if err != nil {
			return
		}
	}
}

var waiting = struct {
	sync.Mutex
	keys map[string]chan struct{}
}{keys: map[string]chan struct{}{}}

// What is sent to it lets one request for this key go on.
func released(key string) chan struct{} {
	waiting.Lock()
	defer waiting.Unlock()
	if waiting.keys[key] == nil {
		waiting.keys[key] = make(chan struct{}, 100)
	}
	return waiting.keys[key]
}

// Whether the key was released, and not the client gone.
func wait(r *http.Request, key string) bool {
	select {
	case <-released(key):
		return true
	case <-r.Context().Done():
		return false
	}
}
