//go:build linux

package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"tincan/internal/keys"
	"tincan/internal/lab"
)

// needOldTinc fails the test if there is no tinc 1.0 to meet: Debian's package
// tinc has it, and "make test" installs it.
func needOldTinc(t *testing.T) {
	t.Helper()
	out, err := exec.Command(oldTincd, "--version").CombinedOutput()
	if err != nil || !bytes.HasPrefix(out, []byte("tinc version 1.0.")) {
		t.Fatalf("%s must be a tincd of tinc 1.0: install the package tinc (%v)\n%s", oldTincd, err, out)
	}
}

var (
	rsaMutex sync.Mutex
	rsaKeys  []*keys.RSAPrivateKey
)

// rsaKey returns the RSA key of the i-th node of every world: making one is slow.
func rsaKey(w *world, i int) *keys.RSAPrivateKey {
	w.Helper()
	rsaMutex.Lock()
	defer rsaMutex.Unlock()
	for len(rsaKeys) <= i {
		k, err := keys.GenerateRSA(rand.Reader, 2048)
		w.must(err)
		rsaKeys = append(rsaKeys, k)
	}
	return rsaKeys[i]
}

// legacy is static for a network that has nodes of tinc 1.0: every node has an
// RSA key, and those of tinc 1.0 have nothing else.
func (w *world) legacy(sites ...site) []*node {
	w.Helper()
	needOldTinc(w.T)
	for i := range sites {
		sites[i].rsa = rsaKey(w, i)
	}
	return w.static(sites...)
}

// log returns what the daemon of the node has printed since it was started.
func (n *node) log() string { return n.daemon.Log() }

// oldDump asks a tincd 1.0 for a list: it is told by a signal and answers in its log.
func (n *node) oldDump(signal syscall.Signal, title, end string) string {
	n.w.Helper()
	before := len(n.log())
	n.w.must(n.daemon.Signal(signal))
	var list string
	n.w.eventually(n.Name()+" dumps "+title, patience, func() bool {
		_, rest, ok := strings.Cut(n.log()[before:], title+":\n")
		if !ok {
			return false
		}
		list, _, ok = strings.Cut(rest, end)
		return ok
	})
	return list
}

// hasUDP tells whether the node has confirmed UDP towards the other node.
func (n *node) hasUDP(to *node) bool {
	n.w.Helper()
	if n.kind != tinc10 {
		return n.sees(to.Name()).direct
	}
	s := n.sees(to.Name())
	return s.reachable && s.minMTU > 0 && s.via == to.Name()
}

// talksByUDP waits until both have a path to each other by UDP, and proves it:
// small packets still pass when TCP does not.
func talksByUDP(w *world, a, b *node) {
	w.Helper()
	for _, p := range [][2]*node{{a, b}, {b, a}} {
		w.eventually(p[0].Name()+" talks to "+p[1].Name()+" by UDP", 2*patience, func() bool {
			_, _ = p[0].Ping(p[1].vpn("ip4"), 56, 200*time.Millisecond)
			return p[0].hasUDP(p[1])
		})
	}
	w.eventually("pings pass without TCP", patience, func() bool {
		unblock := w.block(lab.TCP, a, b)
		defer unblock()
		for _, p := range [][2]*node{{a, b}, {b, a}} {
			if _, err := p[0].Ping(p[1].vpn("ip4"), 56, 500*time.Millisecond); err != nil {
				return false
			}
		}
		return true
	})
}

// sends sends random bytes by TCP to an address of another node and checks that
// they arrive unchanged.
func (n *node) sends(size int, to *node, addr netip.Addr) {
	n.w.Helper()
	began := time.Now()
	n.w.must(send(n, to, addr, size))
	n.w.Logf("%d bytes from %s to %s: %.1f Mbit/s", size, n.Name(), addr, float64(size)*8/1e6/time.Since(began).Seconds())
}

func send(from, to *node, addr netip.Addr, size int) error {
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		return err
	}
	for i := 0; i+500 <= size; i += 1000 { // half of it can be compressed
		clear(data[i : i+500])
	}
	ln, err := to.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return err
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := from.Dial(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return fmt.Errorf("connecting from %s to %s: %w", from.Name(), addr, err)
	}
	defer out.Close()
	in, err := ln.Accept()
	if err != nil {
		return err
	}
	defer in.Close()
	end, _ := ctx.Deadline()
	_, _ = out.SetDeadline(end), in.SetDeadline(end)
	go func() {
		_, _ = out.Write(data)
		_ = out.Close()
	}()
	sum := sha256.New()
	count, err := io.Copy(sum, in)
	if err != nil || count != int64(size) {
		return fmt.Errorf("of %d bytes from %s to %s arrived %d: %v", size, from.Name(), addr, count, err)
	}
	if want := sha256.Sum256(data); !bytes.Equal(sum.Sum(nil), want[:]) {
		return fmt.Errorf("what arrived at %s is not what %s sent", addr, from.Name())
	}
	return nil
}
