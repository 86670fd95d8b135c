// Go's net/http in the restart benchmark: a server that is restarted, and a
// client that sees it restarted.
package main

import (
	"log"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		log.Fatal("serve or load?")
	}
	switch command, args := os.Args[1], os.Args[2:]; command {
	case "serve":
		serve(args)
	case "load":
		load(args)
	default:
		log.Fatalf("%s: neither serve nor load", command)
	}
}
