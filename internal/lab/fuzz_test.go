//go:build linux

package lab

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
)

// FuzzNAT: whatever passes a NAT, it does not panic, and lets nobody in who was
// not written to.
func FuzzNAT(f *testing.F) {
	for _, s := range []string{
		// UDP, an echo request, and port unreachable about a UDP packet.
		"020000000001020000000002080045000021000040004011aa870a000002c00002021388177000" + "0d000068656c6c6f",
		"02000000000102000000000208004500001c00004000400100000a000002c00002020800f7fd00010001",
		"0200000000010200000000020800450000380000400040010000c00002020a0000020303000000000000450000210000400040110000cb007102c0000202138817700000d0000",
	} {
		b, err := hex.DecodeString(s[:len(s)/2*2])
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, byte(onAddressAndPort))
	}
	f.Fuzz(func(t *testing.T, frame []byte, behaviour byte) {
		var n natBox
		n.behave(netip.MustParseAddr("203.0.113.2"), dependence(behaviour%3), dependence(behaviour/3%3))
		in := append([]byte(nil), frame...)
		if n.in(in) != nil && ipv4Frame(frame) {
			t.Error("a NAT with nothing in mind lets somebody in")
		}
		n.out(append([]byte(nil), frame...))
		n.in(append([]byte(nil), frame...))
	})
}

// FuzzServerName: no greeting has a censor panic, or find a name that is not in it.
func FuzzServerName(f *testing.F) {
	f.Add(greeting("www.example.com"))
	f.Add(greeting("www.example.com")[:60])
	f.Add([]byte{0x16})
	f.Fuzz(func(t *testing.T, b []byte) {
		if name := serverName(b); !bytes.Contains(b, []byte(name)) {
			t.Errorf("it finds %q", name)
		}
	})
}
