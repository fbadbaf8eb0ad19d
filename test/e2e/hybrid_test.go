//go:build linux

package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
)

// statusOf is what a node tells of another one.
func (n *node) statusOf(of string) (v control.NodeView) {
	n.w.Helper()
	var s control.Status
	n.ask(&s, "status")
	i := slices.IndexFunc(s.Nodes, func(v control.NodeView) bool { return string(v.Name) == of })
	if i < 0 {
		n.w.Fatalf("%s does not know %s", n.Name(), of)
	}
	return s.Nodes[i]
}

// Two tincans agree on post-quantum keys, whoever is between them. Those with a real tinc are tinc's.
func TestKeysBetweenTincans(t *testing.T) {
	t.Parallel()
	for name, k := range map[string]kind{"tincan": 0, "tinc 1.1": tinc11, "tinc 1.0": tinc10} {
		t.Run(name, func(t *testing.T) {
			if k == tinc11 {
				needTinc(t)
			}
			t.Parallel()
			w := newWorld(t, "ip4")
			middle := site{name: "middle", kind: k}
			ends := []site{
				{name: "left", connect: []string{"middle"}, extra: "SessionCipher = chacha20-poly1305\n"},
				{name: "right", connect: []string{"middle"}},
				{name: "strict", connect: []string{"middle"}, extra: "PostQuantum = require\n"},
			}
			if k == tinc10 {
				middle.rsa = rsaKey(w, 0)
				for i := range ends {
					ends[i].rsa = rsaKey(w, i+1)
				}
			}
			n := w.static(append([]site{middle}, ends...)...)
			mid, left, right, strict := n[0], n[1], n[2], n[3]
			upAll(n...)
			w.allReach("ip4", left, right, strict)
			w.allReach("ip4", mid, left, right)
			for _, pair := range [][2]*node{{left, right}, {right, left}, {strict, left}, {right, strict}} {
				v := pair[0].statusOf(pair[1].Name())
				if !v.PostQuantum || v.Cipher == "" || v.Weakness != "" {
					t.Errorf("%s with %s: cipher %q, post-quantum %v %s", pair[0].Name(), pair[1].Name(), v.Cipher, v.PostQuantum, v.Weakness)
				}
				if v.Cipher != "chacha20-poly1305" && slices.Contains(pair[:], left) {
					t.Errorf("%s with %s: %s", pair[0].Name(), pair[1].Name(), v.Cipher)
				}
			}
			v := left.statusOf("middle")
			switch k {
			case tinc11:
				if v.PostQuantum || v.Cipher != "chacha20-poly1305" || v.MetaPostQuantum || v.Weakness != "" {
					t.Errorf("with a real node: %+v", v)
				}
			case tinc10:
				if v.PostQuantum || v.Cipher != "" || v.MetaCipher != "" {
					t.Errorf("with a real node: %+v", v)
				}
			default:
				if !v.PostQuantum || !v.MetaPostQuantum || v.MetaCipher != "chacha20-poly1305" {
					t.Errorf("with a neighbour: %+v", v)
				}
				strict.reaches(mid)
				return
			}
			strict.cannotReach(mid.vpn("ip4"))
			codes, change := strict.why("middle")
			if v := strict.statusOf("middle"); v.Weakness != "post-quantum-required" || !slices.Contains(codes, v.Weakness) || !strings.Contains(change, "PostQuantum = yes") {
				t.Errorf("weakness %q, why %v, %q", v.Weakness, codes, change)
			}
			if out := strict.tincan("status"); !strings.Contains(out, "no packets are exchanged with middle") {
				t.Errorf("status does not say it:\n%s", out)
			}
			if out := left.tincan("why", "right"); !strings.Contains(out, "encryption: chacha20-poly1305, post-quantum keys") {
				t.Errorf("why does not say it:\n%s", out)
			}
			strict.appendTo("hosts/middle", "PostQuantum = yes\n")
			strict.tincan("reload")
			strict.reaches(mid)
		})
	}
}

// The keys are renewed under traffic, and none of it is lost.
func TestKeysAreRenewedUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.static(site{name: "left", connect: []string{"right"}, extra: "KeyExpire = 1\n"}, site{name: "right", extra: "KeyExpire = 1\n"})
	left, right := n[0], n[1]
	upAll(n...)
	w.allReach("ip4", n...)
	left.talksDirectly(right)
	e, err := left.Echo(right.vpn("ip4"), flowPace)
	w.must(err)
	time.Sleep(4 * time.Second)
	if c := e.Stop(); c.Lost() > 1+c.Sent/100 {
		t.Error(c)
	}
	if v := left.statusOf("right"); !v.PostQuantum {
		t.Errorf("afterwards: cipher %q, post-quantum %v", v.Cipher, v.PostQuantum)
	}
}
