package daemon

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func TestNameServers(t *testing.T) {
	got := nameServers(strings.NewReader("# comment\nsearch example.org\nnameserver 192.0.2.1\nnameserver rubbish\nnameserver\nnameserver fe80::1%eth0\n nameserver 2001:db8::1\nnameserver 192.0.2.9\n"))
	if want := []string{"192.0.2.1:53", "[fe80::1%eth0]:53", "[2001:db8::1]:53"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// In a chroot nothing says which name servers there are: the ones of before are asked, by turns.
func TestNamesAreResolvedByTheServersOfBefore(t *testing.T) {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Additionals = true, nil
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{192, 0, 2, 77}}}}
			}
			out, err := m.Pack()
			if err == nil {
				pc.WriteTo(out, from)
			}
		}
	}()
	var r net.Resolver
	resolveWith(&r, []string{pc.LocalAddr().String()})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := r.LookupNetIP(ctx, "ip4", "peer.dyn.test.")
	if err != nil || !slices.Equal(got, []netip.Addr{netip.MustParseAddr("192.0.2.77")}) {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzNameServers(f *testing.F) {
	f.Add("nameserver 192.0.2.1\n")
	f.Fuzz(func(t *testing.T, text string) {
		list := nameServers(strings.NewReader(text))
		if len(list) > maxNameServers {
			t.Errorf("%d servers", len(list))
		}
		for _, s := range list {
			if _, _, err := net.SplitHostPort(s); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
	})
}
