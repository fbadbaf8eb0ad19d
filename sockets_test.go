package tincan_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tincan"
	"tincan/internal/oserr"
)

// peers is Alice and Bob, two nodes in this process with sockets of their own. Both have addresses of both families.
func peers(t *testing.T, settings ...string) (alice, bob *tincan.Node) {
	t.Helper()
	nothingLeft(t)
	dir, _ := found(t)
	six := func(n int) []string {
		return append(append([]string{fmt.Sprintf("Ifconfig = fd07::%d/64", n), fmt.Sprintf("Subnet = fd07::%d", n)}, here...), settings...)
	}
	alice = started(t, tincan.Options{Dir: dir, Settings: six(1), Sockets: true})
	url, err := alice.Invite(t.Context(), "bob", "127.0.0.1")
	must(t, err)
	dir = filepath.Join(tempDir(t), "bob")
	_, err = tincan.Join(t.Context(), dir, url)
	must(t, err)
	return alice, started(t, tincan.Options{Dir: dir, Settings: six(2), Sockets: true})
}

// nothingLeft checks at the end of the test, after nodes that are started later have ended, that nothing of their stacks is left.
func nothingLeft(t *testing.T) {
	t.Cleanup(func() {
		for end := time.Now().Add(limit); strings.Contains(stacks(), "gvisor.dev/"); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("goroutines of a stack are left:\n%s", stacks())
			}
		}
	})
}

// started starts a node, and ends it at the end of the test.
func started(t *testing.T, o tincan.Options) *tincan.Node {
	t.Helper()
	n, err := tincan.Start(context.Background(), o)
	must(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("the node in %s ended: %v", o.Dir, err)
		}
	})
	return n
}

func TestTransferBetweenNodes(t *testing.T) {
	alice, bob := peers(t)
	size := 100 << 20
	if testing.Short() {
		size = 5 << 20
	}
	for _, to := range []string{"alice", "alice.vpn.internal", "10.7.0.1", "[fd07::1]"} {
		if to != "alice" {
			size = 1 << 20
		}
		l, err := alice.Listen("tcp", ":0")
		must(t, err)
		_, port, err := net.SplitHostPort(l.Addr().String())
		must(t, err)
		sent, served := sha256.New(), make(chan struct{})
		go func() {
			defer close(served)
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if who := alice.Owner(c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()); who != "bob" {
				t.Errorf("%v is %q", c.RemoteAddr(), who)
			}
			data := io.LimitReader(rand.NewChaCha8([32]byte{2}), int64(size))
			if _, err := io.Copy(io.MultiWriter(sent, c), data); err != nil {
				t.Error(err)
			}
			c.(interface{ CloseWrite() error }).CloseWrite()
			if answer, err := io.ReadAll(c); string(answer) != "thanks" || err != nil {
				t.Errorf("the answer: %q, %v", answer, err)
			}
		}()
		c, err := bob.Dial(t.Context(), "tcp", to+":"+port)
		must(t, err)
		got := sha256.New()
		n, err := io.Copy(got, c)
		if err != nil || n != int64(size) || !bytes.Equal(got.Sum(nil), sent.Sum(nil)) {
			t.Errorf("by %s %d bytes of %d came, or others: %v", to, n, size, err)
		}
		_, err = c.Write([]byte("thanks"))
		must(t, err)
		must(t, c.Close())
		<-served
		must(t, l.Close())
	}
}

func TestDatagramsBetweenNodes(t *testing.T) {
	alice, bob := peers(t)
	p, err := alice.ListenPacket("udp", ":53")
	must(t, err)
	defer p.Close()
	go func() {
		buf := make([]byte, 9000)
		for {
			n, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(buf[:n], from)
		}
	}()
	for _, network := range []string{"udp4", "udp6"} {
		address := map[string]string{"udp4": "alice:53", "udp6": "[fd07::1]:53"}[network]
		c, err := bob.Dial(t.Context(), network, address)
		must(t, err)
		for _, size := range []int{1, 1400, 5000} {
			buf := make([]byte, 9000)
			for end := time.Now().Add(limit); ; { // what is sent while keys are agreed upon may be lost
				_, _ = c.Write(make([]byte, size))
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				n, err := c.Read(buf)
				if err == nil && n == size {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("%s, %d bytes: %d came, %v", network, size, n, err)
				}
			}
		}
		must(t, c.Close())
	}
}

func TestErrorsOfDialAndListen(t *testing.T) {
	alice, bob := peers(t)
	if _, err := bob.Dial(t.Context(), "tcp", "alice:81"); !errors.Is(err, oserr.Refused) {
		t.Errorf("nobody listens: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := bob.Dial(short, "tcp", "10.7.0.77:80"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nobody has the address: %v", err)
	}
	for _, address := range []string{"", "alice", "alice:http:x", "alice:99999", "alice:no-such-service"} {
		if _, err := bob.Dial(t.Context(), "tcp", address); err == nil || !strings.HasPrefix(err.Error(), "dial tcp") {
			t.Errorf("dialling %q: %v", address, err)
		}
	}
	if _, err := bob.Dial(t.Context(), "tcp6", "10.7.0.1:80"); err == nil {
		t.Error("tcp6 to an address of IPv4")
	}
	if _, err := bob.Dial(t.Context(), "unix", "alice:80"); err == nil {
		t.Error("a network that there is not")
	}
	for _, address := range []string{"alice:80", "10.7.0.1:80", "127.0.0.1:80"} {
		if _, err := bob.Listen("tcp", address); !errors.Is(err, oserr.NoAddress) {
			t.Errorf("listening at %s: %v", address, err)
		}
	}
	l, err := bob.Listen("tcp", "bob:http")
	must(t, err)
	defer l.Close()
	if at := l.Addr().(*net.TCPAddr).AddrPort(); at.Port() != 80 || bob.Owner(at.Addr()) != "bob" {
		t.Errorf("listening at %v", at)
	}
	// A member that has gone.
	must(t, alice.Close())
	bob.LongRunning()
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := bob.Dial(ctx, "tcp", "10.7.0.1:80")
		cancel()
		var name *net.DNSError
		if errors.Is(err, oserr.HostUnreachable) || errors.Is(err, oserr.NetUnreachable) || errors.As(err, &name) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("a member that has gone: %v", err)
		}
	}
}

func TestNoSuchName(t *testing.T) {
	nothingLeft(t)
	dir, _ := found(t)
	n := started(t, tincan.Options{Dir: dir, Settings: here, Sockets: true})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := n.Dial(ctx, "tcp", "carol:80"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for carol") {
		t.Errorf("a node that is not known yet: %v", err)
	}
	n.LongRunning()
	var name *net.DNSError
	if _, err := n.Dial(t.Context(), "tcp", "carol:80"); !errors.As(err, &name) || !name.IsNotFound {
		t.Errorf("a node that there is not: %v", err)
	}
}

func TestSocketsEndWithTheNode(t *testing.T) {
	alice, bob := peers(t)
	l, err := alice.Listen("tcp", ":80")
	must(t, err)
	accepted := make(chan net.Conn, 1)
	ends := make(chan error)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				ends <- err
				return
			}
			accepted <- c
		}
	}()
	c, err := bob.Dial(t.Context(), "tcp", "alice:80")
	must(t, err)
	defer c.Close()
	at := <-accepted
	go func() { _, err := at.Read(make([]byte, 1)); ends <- err }()
	must(t, alice.Close())
	for range 2 {
		if err := <-ends; !errors.Is(err, net.ErrClosed) {
			t.Errorf("ended with %v", err)
		}
	}
	if _, err := alice.Listen("tcp", ":81"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("listening after the end: %v", err)
	}
	if _, err := alice.Dial(t.Context(), "tcp", "bob:81"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("dialling after the end: %v", err)
	}
}

func TestNodesWithoutSockets(t *testing.T) {
	dir, id := found(t)
	m := run(t, dir, id, tincan.Options{})
	_, err := m.Dial(t.Context(), "tcp", "alice:80")
	_, err2 := m.Listen("tcp", ":80")
	_, err3 := m.ListenPacket("udp", ":80")
	for _, err := range []error{err, err2, err3} {
		if !errors.Is(err, tincan.ErrNoSockets) {
			t.Errorf("the error is %v", err)
		}
	}
	device, far := net.Pipe()
	defer far.Close()
	if _, err := tincan.Start(t.Context(), tincan.Options{Dir: dir, Device: device, Sockets: true}); err == nil {
		t.Error("a node with a device and sockets has started")
	}
	if _, err := far.Read(make([]byte, 1)); err == nil {
		t.Error("the device was not closed")
	}
}
