//go:build linux

package e2e

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tincan/internal/fixture"
	"tincan/internal/lab"
)

// proxyHost adds a host with an HTTP proxy at port 3128 and one for SOCKS 5 at 1080,
// which let in bob with the password hunter2. uses counts the connections made.
func (w *world) proxyHost() (n *node, uses *atomic.Int32) {
	w.Helper()
	n = w.node("proxy")
	uses = new(atomic.Int32)
	serve := func(port string, ask func(net.Conn) (target string, granted, refused string)) {
		l, err := n.Listen("tcp", "0.0.0.0:"+port)
		w.must(err)
		w.Cleanup(func() { l.Close() })
		fixture.Serve(l, func(c net.Conn) {
			target, granted, refused := ask(c)
			if target == "" {
				io.WriteString(c, refused)
				return
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			out, err := n.Dial(ctx, "tcp", target)
			if err != nil {
				io.WriteString(c, refused)
				return
			}
			defer out.Close()
			uses.Add(1)
			io.WriteString(c, granted)
			go func() { defer out.Close(); io.Copy(out, c) }()
			io.Copy(c, out)
		})
	}
	serve("3128", func(c net.Conn) (string, string, string) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil || r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("bob:hunter2")) {
			return "", "", "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
		}
		return r.Host, "HTTP/1.1 200 Connection established\r\n\r\n", "HTTP/1.1 502 Bad Gateway\r\n\r\n"
	})
	serve("1080", func(c net.Conn) (string, string, string) {
		b := make([]byte, 262)
		read := func(n int) []byte { io.ReadFull(c, b[:n]); return b[:n] }
		read(int(read(2)[1]))
		io.WriteString(c, "\x05\x02")
		user := string(read(int(read(2)[1])))
		password := string(read(int(read(1)[0])))
		if user != "bob" || password != "hunter2" {
			return "", "", "\x01\x01"
		}
		io.WriteString(c, "\x01\x00")
		if read(4)[3] != 1 {
			return "", "", "\x05\x08\x00\x01\x00\x00\x00\x00\x00\x00"
		}
		a := read(6)
		return fmt.Sprintf("%s:%d", net.IP(a[:4]), int(a[4])<<8|int(a[5])), "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x01\x00\x01\x00\x00\x00\x00\x00\x00"
	})
	return n, uses
}

func TestAllButTheProxyIsBlocked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		kind  kind // of the other end
		proxy string
	}{
		{"HTTP, tincan", tincan, "http %s 3128 bob hunter2"},
		{"SOCKS 5, tincan", tincan, "socks5 %s 1080 bob hunter2"},
		{"HTTP, tinc 1.1", tinc11, "http %s 3128 bob hunter2"},
		{"SOCKS 5, tinc 1.1", tinc11, "socks5 %s 1080 bob hunter2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.kind == tinc11 {
				needTinc(t)
			}
			t.Parallel()
			w := newWorld(t, "ip4")
			proxy, uses := w.proxyHost()
			n := w.static(
				site{name: "alice", connect: []string{"bob"}, extra: "Proxy = " + fmt.Sprintf(c.proxy, proxy.Addr("ip4")) + "\n"},
				site{name: "bob", kind: c.kind})
			alice, bob := n[0], n[1]
			w.block(lab.All, alice, bob)
			upAll(n...)
			w.allReach("ip4", n...)
			if uses.Load() == 0 {
				t.Error("the proxy was not asked")
			}
			rate, err := lab.Throughput(alice.Host, bob.Host, bob.vpn("ip4"), time.Second)
			w.must(err)
			t.Logf("through the proxy: %.0f Mbit/s", rate/1e6)
			for _, what := range []string{alice.daemon.Log(), alice.dump("connections"), alice.dump("nodes")} {
				if strings.Contains(what, "hunter2") {
					t.Errorf("the password can be read:\n%s", what)
				}
			}
		})
	}
}

func TestAProgramMakesTheConnection(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(
		site{name: "alice", connect: []string{"bob"}, extra: "Proxy = exec echo $NAME $NODE $NETNAME > " + confBase + "/told; " +
			"bash -c 'exec 3<>/dev/tcp/$REMOTEADDRESS/$REMOTEPORT; cat <&3 & exec cat >&3'\n"},
		site{name: "bob"})
	upAll(n...)
	w.allReach("ip4", n...)
	n[0].talksDirectly(n[1])
	if told, err := n[0].ReadFile(confBase + "/told"); err != nil || string(told) != "alice bob home\n" {
		t.Errorf("the program was told %q, %v", told, err)
	}
}
