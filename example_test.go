package tincan_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"time"

	"tincan"
)

// here makes a node listen at a free port of this machine alone.
var here = []string{"BindToAddress = 127.0.0.1", "Port = 0"}

// start runs a node in the background, until stop is called.
func start(o tincan.Options) (node *tincan.Node, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan *tincan.Node, 1), make(chan error, 1)
	o.Ready = func(n *tincan.Node) { ready <- n }
	go func() { ended <- tincan.Run(ctx, o) }()
	select {
	case node = <-ready:
	case err := <-ended:
		log.Fatal(err)
	}
	return node, func() {
		cancel()
		if err := <-ended; err != nil {
			log.Fatal(err)
		}
	}
}

// A network of two nodes in one process, without privileges. What is written into the device of one node
// comes out of that of the other.
func Example() {
	dir, err := os.MkdirTemp("", "tincan")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// Alice makes the network and lets Bob in.
	alice, err := tincan.Init(filepath.Join(dir, "alice"), tincan.NewNetwork{
		Name: "alice", Range: netip.MustParsePrefix("10.7.0.0/16"),
	})
	if err != nil {
		log.Fatal(err)
	}
	aliceDevice, aliceEnd := net.Pipe()
	node, stopAlice := start(tincan.Options{
		Dir: filepath.Join(dir, "alice"), Settings: here, Device: aliceDevice,
	})
	defer stopAlice()
	url, err := node.Invite(context.Background(), "bob", "127.0.0.1")
	if err != nil {
		log.Fatal(err)
	}

	// Bob joins.
	bob, err := tincan.Join(context.Background(), filepath.Join(dir, "bob"), url)
	if err != nil {
		log.Fatal(err)
	}
	bobDevice, bobEnd := net.Pipe()
	_, stopBob := start(tincan.Options{
		Dir: filepath.Join(dir, "bob"), Settings: here, Device: bobDevice,
	})
	defer stopBob()

	// A packet, again and again until one gets through: nobody promises that the two have met yet.
	var sending sync.WaitGroup
	defer sending.Wait()
	arrived := make(chan struct{})
	defer close(arrived)
	sending.Go(func() {
		p := packet(bob.Addresses[0].Addr(), alice.Addresses[0].Addr(), "Hello, Alice")
		for {
			bobEnd.Write(p)
			select {
			case <-time.After(50 * time.Millisecond):
			case <-arrived:
				return
			}
		}
	})
	go func() { // what comes to Bob, such as "destination unreachable"
		buf := make([]byte, 2048)
		for {
			if _, err := bobEnd.Read(buf); err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 2048)
	n, err := aliceEnd.Read(buf)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", buf[20:n]) // after the header of IPv4
	// Output:
	// Hello, Alice
}

// packet makes an IPv4 packet of the protocol 253, which is for experiments.
func packet(from, to netip.Addr, text string) []byte {
	const header = 20
	b := make([]byte, header, header+len(text))
	b[0] = 4<<4 | header/4
	binary.BigEndian.PutUint16(b[2:], uint16(header+len(text)))
	b[8], b[9] = 64, 253
	copy(b[12:], from.AsSlice())
	copy(b[16:], to.AsSlice())
	return append(b, text...)
}

// A node that ends as soon as it works.
func ExampleRun() {
	dir, err := os.MkdirTemp("", "tincan")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := tincan.Init(dir, tincan.NewNetwork{Name: "alice"}); err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	device, _ := net.Pipe()
	err = tincan.Run(ctx, tincan.Options{
		Dir:      dir,
		Settings: []string{"BindToAddress = 127.0.0.1", "Port = 0"},
		Device:   device,
		Log:      slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Ready: func(n *tincan.Node) {
			fmt.Println("listening at", n.Addr().Addr())
			stop()
		},
	})
	fmt.Println("error:", err)
	// Output:
	// listening at 127.0.0.1
	// error: <nil>
}
