package tincan_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"tincan"
)

// A web server and its client, which are nodes of the VPN in one process. It takes no privileges.
func ExampleNode_Dial() {
	dir, err := os.MkdirTemp("", "tincan")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx, here := context.Background(), []string{"BindToAddress = 127.0.0.1", "Port = 0"}

	// Alice makes a network, serves web pages in it, and lets Bob in.
	if _, err := tincan.Init(filepath.Join(dir, "alice"), tincan.NewNetwork{Name: "alice"}); err != nil {
		log.Fatal(err)
	}
	alice, err := tincan.Start(ctx, tincan.Options{Dir: filepath.Join(dir, "alice"), Settings: here, Sockets: true})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	listener, err := alice.Listen("tcp", ":80")
	if err != nil {
		log.Fatal(err)
	}
	go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client, _ := netip.ParseAddrPort(r.RemoteAddr)
		fmt.Fprintf(w, "Hello, %s", alice.Owner(client.Addr()))
	}))
	url, err := alice.Invite(ctx, "bob", "127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}

	// Bob joins, and fetches a page.
	if _, err := tincan.Join(ctx, filepath.Join(dir, "bob"), url); err != nil {
		log.Fatal(err)
	}
	bob, err := tincan.Start(ctx, tincan.Options{Dir: filepath.Join(dir, "bob"), Settings: here, Sockets: true})
	if err != nil {
		log.Fatal(err)
	}
	defer bob.Close()
	client := http.Client{Transport: &http.Transport{DialContext: bob.Dial}}
	answer, err := client.Get("http://alice/")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	fmt.Printf("%s (%v)\n", text, err)
	// Output:
	// Hello, bob (<nil>)
}

// A service that echoes datagrams, and is asked by the node itself.
func ExampleNode_ListenPacket() {
	dir, err := os.MkdirTemp("", "tincan")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := tincan.Init(filepath.Join(dir, "alice"), tincan.NewNetwork{Name: "alice"}); err != nil {
		log.Fatal(err)
	}
	alice, err := tincan.Start(context.Background(), tincan.Options{
		Dir: filepath.Join(dir, "alice"), Settings: []string{"BindToAddress = 127.0.0.1", "Port = 0"}, Sockets: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer alice.Close()
	service, err := alice.ListenPacket("udp", ":7")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := service.ReadFrom(buf)
			if err != nil { // net.ErrClosed when the node ends
				return
			}
			service.WriteTo(buf[:n], from)
		}
	}()
	c, err := alice.Dial(context.Background(), "udp", net.JoinHostPort(alice.Addresses()[0].Addr().String(), "7"))
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("Is anybody there?"))
	buf := make([]byte, 2048)
	n, err := c.Read(buf)
	fmt.Printf("%s (%v)\n", buf[:n], err)
	// Output:
	// Is anybody there? (<nil>)
}
