// The oracle: Go's own HTTP server, which prints every state of every
// connection as a line `ADDRESS STATE`. The first two lines are the addresses
// that it listens on, without and with TLS. A line `KEY` on its standard input
// lets a handler that waits for this key go on.
//
// The environment gives the certificate (DER) and its key (PKCS #8) in
// hexadecimal.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
)

// As small as that of the other servers that the scripts are played to, so
// that a large answer does not fit into the sockets.
const socketBuffer = 64 << 10

func main() {
	plain, secure := listen(), listen()
	fmt.Println(plain.Addr())
	fmt.Println(secure.Addr())
	go func() { log.Fatal(server().Serve(plain)) }()
	go func() { log.Fatal(server().ServeTLS(secure, "", "")) }()
	input := bufio.NewScanner(os.Stdin)
	for input.Scan() {
		released(input.Text()) <- struct{}{}
	}
}

func listen() net.Listener {
	config := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var result error
		err := conn.Control(func(descriptor uintptr) {
			result = syscall.SetsockoptInt(int(descriptor), syscall.SOL_SOCKET, syscall.SO_SNDBUF, socketBuffer)
		})
		if err != nil {
			return err
		}
		return result
	}}
	listener, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	return listener
}

func server() *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	var output sync.Mutex
	return &http.Server{
		Handler:   http.HandlerFunc(handle),
		Protocols: protocols,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate()}},
		ErrorLog:  log.New(io.Discard, "", 0),
		ConnState: func(conn net.Conn, state http.ConnState) {
			output.Lock()
			defer output.Unlock()
			fmt.Println(conn.RemoteAddr(), state)
		},
	}
}

func certificate() tls.Certificate {
	key, err := x509.ParsePKCS8PrivateKey(fromEnvironment("ORACLE_KEY"))
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{
		Certificate: [][]byte{fromEnvironment("ORACLE_CERTIFICATE")},
		PrivateKey:  key,
	}
}

func fromEnvironment(name string) []byte {
	bytes, err := hex.DecodeString(os.Getenv(name))
	if err != nil || len(bytes) == 0 {
		log.Fatalf("%s is not set to what it should be: %v", name, err)
	}
	return bytes
}
