//go:build linux

package e2e

import (
	"testing"
	"time"

	"tincan/internal/lab"
)

func TestOldTincAndTincanWithEveryWayToSeal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, old, ours string }{
		{"AES-128 and SHA-1", "Cipher = aes-128-cbc\nDigest = sha1\n", "Cipher = aes-128-cbc\nDigest = sha1\n"},
		{"AES-192 and SHA-512, the whole of it", "Cipher = aes-192-cbc\nDigest = sha512\nMACLength = 64\n", "Cipher = aes-192-cbc\nDigest = sha512\nMACLength = 64\n"},
		{"each wants something else", "Cipher = aes-128-cbc\nDigest = sha384\nMACLength = 20\n", "Cipher = aes-256-cbc\nDigest = sha256\nMACLength = 32\n"},
		{"nothing at all, by name", "Cipher = none\nDigest = none\n", "Cipher = none\nDigest = none\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, "ip4")
			n := w.legacy(
				site{name: "old", kind: tinc10, extra: c.old},
				site{name: "ours", connect: []string{"old"}, extra: c.ours})
			upAll(n...)
			w.allReach("ip4", n...)
			talksByUDP(w, n[0], n[1])
			n[0].sends(1<<20, n[1], n[1].vpn("ip4"))
			n[1].sends(1<<20, n[0], n[0].vpn("ip4"))
		})
	}
}

func TestWhatOldTincWouldReadInTheClearGoesByTCP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "old", kind: tinc10, extra: "Cipher = none\nDigest = none\n"},
		site{name: "ours", connect: []string{"old"}})
	old, ours := n[0], n[1]
	upAll(n...)
	w.must(ours.daemon.WaitLog(`(?i)warning: old .*Cipher = none`, patience))
	w.allReach("ip4", n...)
	time.Sleep(2 * time.Second)
	if ours.hasUDP(old) {
		t.Error("ours uses UDP, in the clear")
	}
	unblock := w.block(lab.UDP)
	w.allReach("ip4", n...)
	ours.sends(1<<20, old, old.vpn("ip4"))
	unblock()

	// It does where the host file names it.
	ours.appendTo("hosts/old", "\nCipher = none\nDigest = none\n")
	ours.killed()
	ours.up()
	w.allReach("ip4", n...)
	talksByUDP(w, ours, old)
}

func TestWithoutAnRSAKeyOldTincIsRefusedAndToldWhy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ip4")
	n := w.legacy(
		site{name: "ours"},
		site{name: "old", kind: tinc10, connect: []string{"ours"}})
	ours, old := n[0], n[1]
	w.must(ours.InFiles(func() error { return remove(confBase + "/rsa_key.priv") }))
	upAll(n...)
	w.must(ours.daemon.WaitLog(`(?i)old.*tinc 1\.0.*RSA`, patience))
	if ours.connected(old) && ours.sees("old").reachable {
		t.Error("they are connected")
	}
}
