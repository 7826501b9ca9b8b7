// Command peer is both ends of a conversation in a Pod of the tests: a server that greets, a client that prints what it
// hears, and a reader of files for images that have no shell.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: peer serve ADDRESS | get URL | read FILE")
	}
	switch verb, object := os.Args[1], os.Args[2]; verb {
	case "serve":
		log.Fatal(http.ListenAndServe(object, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			log.Printf("asked for %s", r.URL.Path)
			fmt.Fprintln(w, "hello")
		})))
	case "get":
		client := &http.Client{Timeout: 3 * time.Second}
		response, err := client.Get(object)
		if err != nil {
			log.Fatal(err)
		}
		if _, err := io.Copy(os.Stdout, response.Body); err != nil {
			log.Fatal(err)
		}
	case "read":
		content, err := os.ReadFile(object)
		if err != nil {
			log.Fatal(err)
		}
		os.Stdout.Write(content)
	default:
		log.Fatalf("peer cannot %s", verb)
	}
}
