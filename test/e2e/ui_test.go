//go:build linux

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Members see the page of a node at its addresses in the VPN, and change nothing there; elsewhere there is none.
func TestMembersSeeThePage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, role string
		args       []string
		members    int // what asking for the members is answered with
	}{
		{"signed", "member", nil, http.StatusOK},
		{"open", "reader", []string{"--open"}, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			alice, bob := w.node("alice"), w.node("bob")
			alice.tincan(append([]string{"init", "alice", "--range", "10.64.0.0/16"}, c.args...)...)
			alice.appendTo("tinc.conf", "UI = yes\n")
			alice.up()
			bob.joins(alice.invite("bob"))
			w.allReach("ip4", alice, bob)
			base := "http://" + netip.AddrPortFrom(alice.vpn("ip4"), 9656).String()
			client := bob.HTTP()
			client.Timeout = 10 * time.Second
			defer client.CloseIdleConnections()
			ask := func(method, path string, headers ...string) (int, string) {
				r, err := http.NewRequest(method, base+path, strings.NewReader(`{"name":"eve"}`))
				w.must(err)
				r.Header.Set("Content-Type", "application/json")
				for _, line := range headers {
					name, value, _ := strings.Cut(line, ": ")
					if name == "Host" {
						r.Host = value
					}
					r.Header.Set(name, value)
				}
				resp, err := client.Do(r)
				if err != nil {
					return 0, err.Error()
				}
				defer resp.Body.Close()
				text, _ := io.ReadAll(resp.Body)
				return resp.StatusCode, string(text)
			}
			w.eventually("the page is there", patience, func() bool { s, _ := ask("GET", "/"); return s == http.StatusOK })
			var caller struct{ Role, Node string }
			if _, text := ask("GET", "/v1/caller"); json.Unmarshal([]byte(text), &caller) != nil || caller.Role != c.role || caller.Node != "alice" {
				t.Errorf("the caller is %+v (%s)", caller, text)
			}
			for _, q := range []struct {
				method, path string
				headers      []string
				want         int
			}{
				{"GET", "/app.js", nil, http.StatusOK},
				{"GET", "/v1/mesh", nil, http.StatusOK},
				{"GET", "/v1/members", nil, c.members},
				{"GET", "/v1/log", nil, http.StatusForbidden},
				{"POST", "/v1/invitations", []string{"Origin: " + base}, http.StatusForbidden},
				{"DELETE", "/v1/members/bob", []string{"Origin: " + base}, http.StatusForbidden},
				{"GET", "/v1/status", []string{"Host: evil.example"}, http.StatusMisdirectedRequest},
				{"GET", "/v1/status", []string{"Host: evil.example:9656"}, http.StatusMisdirectedRequest},
				{"GET", "/v1/status", []string{"Origin: http://evil.example"}, http.StatusForbidden},
			} {
				if got, text := ask(q.method, q.path, q.headers...); got != q.want {
					t.Errorf("%s %s %v is answered with %d %.200s; want %d", q.method, q.path, q.headers, got, text, q.want)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if conn, err := bob.Dial(ctx, "tcp", fmt.Sprintf("%s:9656", alice.Addr("ip4"))); err == nil {
				conn.Close()
				t.Error("it is there outside of the VPN, too")
			}
			// A neighbour of the machine can send it packets for its address in the VPN.
			w.must(w.internet.Route(netip.PrefixFrom(alice.vpn("ip4"), 32), alice.Addr("ip4")))
			if conn, err := w.internet.Dial(ctx, "tcp", netip.AddrPortFrom(alice.vpn("ip4"), 9656).String()); err == nil {
				conn.Close()
				t.Error("its address in the VPN is reached from outside of the VPN")
			}
		})
	}
}
