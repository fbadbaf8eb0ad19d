//go:build linux

package lab

import (
	"bytes"
	"crypto/tls"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

var (
	censorA = netip.MustParseAddrPort("192.0.2.1:655")
	censorB = netip.MustParseAddrPort("192.0.2.2:655")
)

// passed counts the packets that a censor lets pass.
func passed(c Censor, tcp bool, payloads ...[]byte) (n int) {
	at := time.Now()
	for _, b := range payloads {
		if c(&Passing{At: at, TCP: tcp, From: censorA, To: censorB, Payload: b}) {
			n++
		}
	}
	return n
}

func noise(count, size int) (list [][]byte) {
	r := rand.NewChaCha8([32]byte{1})
	for range count {
		b := make([]byte, size)
		r.Read(b)
		list = append(list, b)
	}
	return list
}

// greeting is that of TLS in Go, which asks for a name; "": for none.
func greeting(name string) []byte {
	here, there := net.Pipe()
	defer there.Close()
	go tls.Client(here, &tls.Config{ServerName: name, InsecureSkipVerify: true}).Handshake()
	b := make([]byte, 4096)
	n, _ := there.Read(b)
	return b[:n]
}

func TestCensors(t *testing.T) {
	constant := noise(20, 60)
	for _, b := range constant {
		copy(b[3:], "x")
	}
	text := [][]byte{[]byte("0 alice 17.7\n"), {1, 2, 3}}
	hello := append([]byte{0x16, 3, 1, 2, 0}, noise(1, 500)[0]...)
	for name, c := range map[string]struct {
		censor  Censor
		tcp     bool
		packets [][]byte
		want    int
	}{
		"UDP dropped: UDP":                     {NoUDP, false, noise(5, 60), 0},
		"UDP dropped: TCP":                     {NoUDP, true, noise(5, 60), 5},
		"one port: another":                    {OnlyTCP(443), true, noise(5, 60), 0},
		"one port: that one":                   {OnlyTCP(655), true, noise(5, 60), 5},
		"one port: UDP":                        {OnlyTCP(655), false, noise(5, 60), 0},
		"a list of names: listed":              {OnlyNames("www.example.com"), true, [][]byte{greeting("www.example.com"), {1}}, 2},
		"a list of names: another":             {OnlyNames("www.example.com"), true, [][]byte{greeting("vpn.example.org"), {1}}, 0},
		"a list of names: none":                {OnlyNames("www.example.com"), true, [][]byte{greeting(""), {1}}, 0},
		"a list of names: no TLS":              {OnlyNames("www.example.com"), true, text, 0},
		"a list of names: nothing said":        {OnlyNames("www.example.com"), true, [][]byte{{}, {}}, 2},
		"a list of names: UDP":                 {OnlyNames("www.example.com"), false, noise(2, 60), 0},
		"UDP slowed":                           {SlowUDP(8000), false, noise(15, 100), 10},
		"flow frozen: TCP":                     {FrozenTCP(1000), true, noise(15, 100), 10},
		"flow frozen: UDP":                     {FrozenTCP(1000), false, noise(15, 100), 15},
		"constant bytes: there are":            {ConstantBytes(10, 16), false, constant, 9},
		"constant bytes: there are none":       {ConstantBytes(10, 16), false, noise(20, 60), 20},
		"even first packet: random":            {EvenFirstPacket(), true, noise(5, 60), 0},
		"even first packet: text":              {EvenFirstPacket(), true, text, 2},
		"even first packet: TLS":               {EvenFirstPacket(), true, [][]byte{hello, noise(1, 60)[0]}, 2},
		"even first packet: few bits":          {EvenFirstPacket(), false, [][]byte{bytes.Repeat([]byte{1}, 50)}, 1},
		"two censors: what both let pass only": {AllOf(FrozenTCP(1000), OnlyTCP(655)), true, noise(15, 100), 10},
	} {
		if got := passed(c.censor, c.tcp, c.packets...); got != c.want {
			t.Errorf("%s: %d of %d packets passed, want %d", name, got, len(c.packets), c.want)
		}
	}
}

func TestObserver(t *testing.T) {
	o := NewObserver()
	passed(o.See, true, []byte("0 ali"), []byte("ce 17.7\nmore"))
	if f := o.Flows(); len(f) != 1 || !f[0].Greets() || f[0].Random() {
		t.Errorf("the greeting of tinc: %+v", f)
	}
	o = NewObserver()
	for _, b := range noise(20, 60) {
		b[5] = 7
		passed(o.See, false, b)
	}
	f := o.Flows()
	if len(f) != 1 || len(f[0].Constant(16)) != 1 || f[0].Constant(16)[0] != 5 || f[0].Greets() || !f[0].Random() {
		t.Fatalf("datagrams with a constant byte: %+v", f)
	}
	if size, share := f[0].CommonSize(); size != 60 || share != 1 {
		t.Errorf("%v of them have %d bytes", share, size)
	}
}

// A censor sees what the hosts at both ends of a cable send, in both families.
func TestACensorAtACable(t *testing.T) {
	alice, bob, link := wired(t)
	for _, family := range []string{"ip4", "ip6"} {
		in, err := bob.ListenPacket("udp", netip.AddrPortFrom(bob.Addr(family), 0).String())
		must(t, err)
		defer in.Close()
		out, err := alice.ListenPacket("udp", netip.AddrPortFrom(alice.Addr(family), 0).String())
		must(t, err)
		defer out.Close()
		arrives := func(what string) bool {
			_, err := out.WriteTo([]byte(what), in.LocalAddr())
			must(t, err)
			must(t, in.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
			b := make([]byte, 100)
			n, _, err := in.ReadFrom(b)
			return err == nil && string(b[:n]) == what
		}
		must(t, link.Watch(func(p *Passing) bool { return p.TCP || string(p.Payload) != "secret" }))
		if !arrives("hello") || arrives("secret") {
			t.Errorf("%s: the censor does not decide", family)
		}
		must(t, link.Watch(nil))
		if !arrives("secret") {
			t.Errorf("%s: the censor does not end", family)
		}
	}
}
