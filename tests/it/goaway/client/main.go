// A client of Go's that sends requests over cleartext HTTP/2, one after the
// other, and tells how many failed and over how many connections they went.
package main

import (
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"time"
)

func main() {
	url := flag.String("url", "", "where to send them")
	method := flag.String("method", "GET", "what to send; a POST has a body that cannot be sent twice")
	requests := flag.Int("requests", 1, "how many")
	think := flag.Duration("think", 0, "how long to wait before each")
	flag.Parse()

	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: transport}

	failed, connections := 0, 0
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		if !info.Reused {
			connections++
		}
	}}
	for range *requests {
		time.Sleep(*think)
		err := send(client, trace, *method, *url)
		// A race of Go's own: the connection became unusable after it was
		// chosen, and nothing was sent.
		for err != nil && strings.Contains(err.Error(), "cannot rewind body") {
			err = send(client, trace, *method, *url)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			failed++
		}
	}
	fmt.Println(failed, connections)
}

func send(client *http.Client, trace *httptrace.ClientTrace, method, url string) error {
	var body io.Reader
	if method == "POST" {
		// Of no type that net/http knows how to begin again.
		body = io.LimitReader(strings.NewReader("hello\n"), 6)
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return err
	}
	request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && string(answer) != "hello\n" {
		return fmt.Errorf("%s: %q", response.Status, answer)
	}
	return err
}
