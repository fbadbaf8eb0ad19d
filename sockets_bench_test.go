package tincan_test

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"

	"tincan"
)

// BenchmarkSockets is one connection between two nodes in this process over loopback: two stacks, and a session between them.
func BenchmarkSockets(b *testing.B) {
	ok := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	_, err := tincan.Init(filepath.Join(dir, "alice"), tincan.NewNetwork{Name: "alice"})
	ok(err)
	alice, err := tincan.Start(context.Background(), tincan.Options{Dir: filepath.Join(dir, "alice"), Settings: here, Sockets: true})
	ok(err)
	defer alice.Close()
	url, err := alice.Invite(b.Context(), "bob", "127.0.0.1")
	ok(err)
	_, err = tincan.Join(b.Context(), filepath.Join(dir, "bob"), url)
	ok(err)
	bob, err := tincan.Start(context.Background(), tincan.Options{Dir: filepath.Join(dir, "bob"), Settings: here, Sockets: true})
	ok(err)
	defer bob.Close()
	l, err := alice.Listen("tcp", ":0")
	ok(err)
	received := make(chan int64)
	go func() {
		for range 2 {
			c, err := l.Accept()
			if err != nil {
				return
			}
			n, _ := io.CopyBuffer(struct{ io.Writer }{io.Discard}, c, make([]byte, 256<<10))
			received <- n
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	const chunk = 256 << 10
	send := func(n int) {
		c, err := bob.Dial(b.Context(), "tcp", "alice:"+port)
		ok(err)
		buf := make([]byte, chunk)
		for range n {
			_, err := c.Write(buf)
			ok(err)
		}
		ok(c.Close())
		<-received
	}
	send(100) // until the path is known
	b.SetBytes(chunk)
	b.ResetTimer()
	send(b.N)
}
