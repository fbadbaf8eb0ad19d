package zone

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"tincan/internal/node"
)

func addrs(list ...string) (a []netip.Addr) {
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

// home is a network as the tests have it.
func home() *Zone {
	owners := map[netip.Addr]node.Name{}
	z := New("Home.Internal", "alice", []netip.Prefix{netip.MustParsePrefix("10.88.0.0/16"), netip.MustParsePrefix("fd00:88::/32")},
		func(a netip.Addr) (node.Name, bool) { n, ok := owners[a]; return n, ok })
	for name, list := range map[node.Name][]netip.Addr{
		"alice": addrs("10.88.0.1"), "bob": addrs("fd00:88::2", "10.88.0.2", "10.88.0.3", "10.88.0.3"), "my_pc": addrs("10.88.1.1"),
		"nobody": nil, "nemo": nil, "WPAD": addrs("10.88.5.5"), "localhost": addrs("10.88.5.6"), "far": addrs("192.0.2.7"), "Bob": addrs("10.88.6.6"), "BOB": addrs("10.88.6.7"), "thief": addrs("10.88.0.1", "10.88.0.9"),
		node.Name(strings.Repeat("x", 64)): addrs("10.88.7.7"),
	} {
		z.Set(Announced, name, list)
		for _, a := range list {
			if owners[a] != "alice" {
				owners[a] = name
			}
		}
	}
	many := make([]netip.Addr, 0, 200)
	for i := range 200 {
		many = append(many, netip.AddrFrom4([4]byte{10, 88, 9, byte(199 - i)}))
	}
	z.Set(Announced, "many", many)
	return z
}

// ask packs a query.
func ask(t testing.TB, name string, typ dnsmessage.Type, edns int) []byte {
	t.Helper()
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET}},
	}
	if edns > 0 {
		m.Additionals = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: dnsmessage.MustNewName("."), Type: dnsmessage.TypeOPT, Class: dnsmessage.Class(edns)}, Body: &dnsmessage.OPTResource{}}}
	}
	q, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// said is an answer in short: its code, flags, and records as "TYPE VALUE".
func said(t testing.TB, raw []byte) string {
	t.Helper()
	if raw == nil {
		return "nothing"
	}
	var m dnsmessage.Message
	if err := m.Unpack(raw); err != nil {
		t.Fatalf("an answer that cannot be read: %v", err)
	}
	if !m.Response || m.RecursionAvailable || m.ID != 7 {
		t.Errorf("header %+v", m.Header)
	}
	out := []string{strings.TrimPrefix(m.RCode.String(), "RCode")}
	if m.Authoritative {
		out = append(out, "aa")
	}
	if m.Truncated {
		out = append(out, "tc")
	}
	name := ""
	if len(m.Questions) > 0 {
		name = m.Questions[0].Name.String()
	}
	for _, r := range m.Answers {
		if r.Header.TTL != TTL || !strings.EqualFold(r.Header.Name.String(), name) {
			t.Errorf("answer %+v", r.Header)
		}
		switch b := r.Body.(type) {
		case *dnsmessage.AResource:
			out = append(out, netip.AddrFrom4(b.A).String())
		case *dnsmessage.AAAAResource:
			out = append(out, netip.AddrFrom16(b.AAAA).String())
		case *dnsmessage.PTRResource:
			out = append(out, b.PTR.String())
		case *dnsmessage.SOAResource:
			out = append(out, "SOA", b.NS.String(), b.MBox.String())
		case *dnsmessage.NSResource:
			out = append(out, "NS", b.NS.String())
		case *dnsmessage.CNAMEResource:
			name = b.CNAME.String()
			out = append(out, "CNAME", name)
		case *dnsmessage.SRVResource:
			out = append(out, fmt.Sprintf("SRV %d %d %d %v", b.Priority, b.Weight, b.Port, b.Target))
		}
	}
	for _, r := range m.Authorities {
		soa, ok := r.Body.(*dnsmessage.SOAResource)
		if !ok || soa.MinTTL != TTL || r.Header.TTL != TTL {
			t.Errorf("authority %+v", r)
		}
		out = append(out, "soa:"+r.Header.Name.String())
	}
	for _, r := range m.Additionals {
		out = append(out, fmt.Sprintf("opt:%d", r.Header.Class))
		if r.Header.TTL != 0 {
			out = append(out, fmt.Sprintf("upper:%d", r.Header.TTL>>24))
		}
	}
	return strings.Join(out, " ")
}

func TestAnswers(t *testing.T) {
	const (
		a, aaaa, ptr, any = dnsmessage.TypeA, dnsmessage.TypeAAAA, dnsmessage.TypePTR, dnsmessage.TypeALL
		none              = "NameError aa soa:"
		empty             = "Success aa soa:"
	)
	z := home()
	for _, c := range []struct {
		what, name string
		typ        dnsmessage.Type
		want       string
	}{
		{"an address", "bob.home.internal.", a, "Success aa 10.88.0.2 10.88.0.3"},
		{"an IPv6 address", "bob.home.internal.", aaaa, "Success aa fd00:88::2"},
		{"everything", "bob.home.internal.", any, "Success aa 10.88.0.2 10.88.0.3 fd00:88::2"},
		{"case does not count", "BoB.hOMe.inTERnal.", a, "Success aa 10.88.0.2 10.88.0.3"},
		{"an underscore", "my_pc.home.internal.", a, "Success aa 10.88.1.1"},
		{"no IPv6 address: the name exists", "alice.home.internal.", aaaa, empty + "home.internal."},
		{"another type", "alice.home.internal.", dnsmessage.TypeMX, empty + "home.internal."},
		{"a node without an address", "nobody.home.internal.", a, none + "home.internal."},
		{"no such node", "carol.home.internal.", a, none + "home.internal."},
		{"below a node", "www.bob.home.internal.", a, none + "home.internal."},
		{"a name that is too long for DNS", strings.Repeat("x", 63) + ".home.internal.", a, none + "home.internal."},
		{"a name that means something else", "wpad.home.internal.", a, none + "home.internal."},
		{"localhost", "localhost.home.internal.", a, none + "home.internal."},
		{"the domain", "home.internal.", a, empty + "home.internal."},
		{"its SOA", "home.internal.", dnsmessage.TypeSOA, "Success aa SOA alice.home.internal. hostmaster.home.internal."},
		{"its NS", "home.internal.", dnsmessage.TypeNS, "Success aa NS alice.home.internal."},
		{"above the domain", "internal.", a, "Refused"},
		{"another domain", "bob.example.com.", a, "Refused"},
		{"one that ends alike", "bob.myhome.internal.", a, "Refused"},
		{"the root", ".", dnsmessage.TypeNS, "Refused"},
		{"a transfer", "home.internal.", dnsmessage.TypeAXFR, "Refused"},
		{"an address's name", "2.0.88.10.in-addr.arpa.", ptr, "Success aa bob.home.internal."},
		{"an IPv6 address's name", "2." + strings.Repeat("0.", 23) + "8.8.0.0.0.0.d.f.ip6.arpa.", ptr, "Success aa bob.home.internal."},
		{"case in it", "2." + strings.Repeat("0.", 23) + "8.8.0.0.0.0.D.F.IP6.ARPA.", ptr, "Success aa bob.home.internal."},
		{"it has no address itself", "2.0.88.10.in-addr.arpa.", a, empty + "88.10.in-addr.arpa."},
		{"who claims what is another's", "1.0.88.10.in-addr.arpa.", ptr, "Success aa alice.home.internal."},
		{"a shadowed node", "6.6.88.10.in-addr.arpa.", ptr, none + "88.10.in-addr.arpa."},
		{"nobody's address", "4.0.88.10.in-addr.arpa.", ptr, none + "88.10.in-addr.arpa."},
		{"the beginning of addresses", "0.88.10.in-addr.arpa.", ptr, empty + "88.10.in-addr.arpa."},
		{"the domain of addresses", "88.10.in-addr.arpa.", dnsmessage.TypeSOA, "Success aa SOA alice.home.internal. hostmaster.home.internal."},
		{"no address", "x.0.88.10.in-addr.arpa.", ptr, none + "88.10.in-addr.arpa."},
		{"too much of an address", "9.2.0.88.10.in-addr.arpa.", ptr, none + "88.10.in-addr.arpa."},
		{"leading zeros", "02.0.88.10.in-addr.arpa.", ptr, none + "88.10.in-addr.arpa."},
		{"a node's address elsewhere", "7.2.0.192.in-addr.arpa.", ptr, "Success aa far.home.internal."},
		{"nothing else of that", "7.2.0.192.in-addr.arpa.", a, empty + "7.2.0.192.in-addr.arpa."},
		{"others' addresses", "8.2.0.192.in-addr.arpa.", ptr, "Refused"},
		{"others' networks", "10.in-addr.arpa.", ptr, "Refused"},
		{"an ending only", "in-addr.arpa.", ptr, "Refused"},
	} {
		if got := said(t, z.Answer(nil, ask(t, c.name, c.typ, 0), false)); got != c.want {
			t.Errorf("%s: %s %v: %s; want %s", c.what, c.name, c.typ, got, c.want)
		}
	}
}

func TestAnswersToOddQueries(t *testing.T) {
	z := home()
	good := ask(t, "alice.home.internal.", dnsmessage.TypeA, 0)
	edns := ask(t, "alice.home.internal.", dnsmessage.TypeA, 1232)
	change := func(q []byte, at int, b ...byte) []byte { q = slices.Clone(q); copy(q[at:], b); return q }
	for _, c := range []struct {
		what  string
		query []byte
		want  string
	}{
		{"nothing", nil, "nothing"},
		{"less than a header", good[:11], "nothing"},
		{"an answer", change(good, 2, 0x80), "nothing"},
		{"longer than any query", append(slices.Clone(good), make([]byte, MaxQuery)...), "nothing"},
		{"an update", change(good, 2, 5<<3), "NotImplemented"},
		{"no question", change(good, 4, 0, 0), "FormatError"},
		{"two questions", change(good, 4, 0, 2), "FormatError"},
		{"a question cut off", good[:20], "FormatError"},
		{"records that are not there", change(good, 6, 0, 1), "FormatError"},
		{"another class", change(good, len(good)-2, 0, 3), "Refused"},
		{"EDNS", edns, "Success aa 10.88.0.1 opt:1232"},
		{"EDNS of a later version", change(edns, len(edns)-5, 1), "Success opt:1232 upper:1"},
		{"a name in its OPT record", change(edns, len(edns)-11, 0xc0, 12), "FormatError"},
		{"two OPT records", change(append(slices.Clone(edns), edns[len(edns)-11:]...), 10, 0, 2), "FormatError opt:1232"},
	} {
		if got := said(t, z.Answer(nil, c.query, false)); got != c.want {
			t.Errorf("%s: %s; want %s", c.what, got, c.want)
		}
	}
}

func TestLargeAnswersComeOverTCP(t *testing.T) {
	z := home()
	count := func(s string) int { return strings.Count(s, "10.88.9.") }
	for _, c := range []struct {
		edns int
		tcp  bool
		tc   bool
		size int
	}{{0, false, true, 512}, {100, false, true, 512}, {512, false, true, 512}, {4096, false, true, 1232}, {0, true, false, 65535}, {512, true, false, 65535}} {
		raw := z.Answer(make([]byte, 3), ask(t, "many.home.internal.", dnsmessage.TypeA, c.edns), c.tcp)
		got := said(t, raw)
		if strings.Contains(got, " tc") != c.tc || len(raw) > c.size || !c.tc && count(got) != MaxAddrs || c.tc && count(got) != 0 || strings.Contains(got, "soa") {
			t.Errorf("%+v: %d bytes: %s", c, len(raw), got)
		}
	}
}

func TestNamesThatDifferInCase(t *testing.T) {
	z := home()
	if z.Full("Bob") != "" || z.Full("bob") != "bob.home.internal" || z.Full("nemo") != "" {
		t.Error("full names")
	}
	i := slices.IndexFunc(z.All(), func(n Named) bool { return n.Name == "bob" })
	if b := z.All()[i]; !slices.Equal(b.Shadowed, []node.Name{"BOB", "Bob"}) {
		t.Errorf("%+v", b)
	}
	for _, c := range []struct {
		gone node.Name
		next node.Name
	}{{"bob", "BOB"}, {"BOB", "Bob"}, {"nemo", "Bob"}, {"Bob", ""}} {
		z.Set(Announced, c.gone, nil)
		if got, _ := z.Node("bob.HOME.internal."); got != c.next {
			t.Errorf("after %s: %q", c.gone, got)
		}
	}
	if _, ok := z.Node("alice.home.example"); ok {
		t.Error("a name of another domain")
	}
}

func TestWhoseWordCounts(t *testing.T) {
	z := home()
	for _, c := range []struct {
		what    string
		from    Source
		addrs   []netip.Addr
		changed bool
		want    string
	}{
		{"granted, not seen yet", Granted, addrs("10.88.3.1", "10.88.3.1"), true, "Success aa 10.88.3.1"},
		{"the same again", Granted, addrs("10.88.3.1"), false, "Success aa 10.88.3.1"},
		{"what it announces counts", Announced, addrs("10.88.3.2"), true, "Success aa 10.88.3.2"},
		{"it was granted others", Granted, addrs("10.88.3.3"), true, "Success aa 10.88.3.2"},
		{"it is off", Announced, nil, true, "Success aa 10.88.3.3"},
		{"it was removed", Granted, nil, true, "NameError aa soa:home.internal."},
		{"it is not there any more", Granted, nil, false, "NameError aa soa:home.internal."},
	} {
		if got := z.Set(c.from, "carol", c.addrs); got != c.changed {
			t.Errorf("%s: changed %v", c.what, got)
		}
		if got := said(t, z.Answer(nil, ask(t, "carol.home.internal.", dnsmessage.TypeA, 0), false)); got != c.want {
			t.Errorf("%s: %s", c.what, got)
		}
		if got := slices.Contains(z.Known(Announced), "carol"); got != (c.from == Announced && c.addrs != nil || c.what == "it was granted others") {
			t.Errorf("%s: announced %v", c.what, got)
		}
	}
}

func TestDomains(t *testing.T) {
	for s, ok := range map[string]bool{
		"home.internal": true, "a": true, "My_Net-2.internal": true, "": false, ".": false, "a..b": false, "a.": false, "-a": false, "a-.b": false,
		"ü.internal": false, "a b": false, "10.in-addr.arpa": false, "arpa": false, "home.ARPA": false, strings.Repeat("x", 64): false,
		strings.Repeat("x.", 94) + "x": true, strings.Repeat("x.", 95) + "x": false,
	} {
		if err := CheckDomain(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
	// The longest name of a node in the longest domain is still a name.
	z := New(strings.Repeat("x.", 94)+"x", "a", nil, nil)
	long := node.Name(strings.Repeat("n", 63))
	z.Set(Announced, long, addrs("10.0.0.1"))
	if got := said(t, z.Answer(nil, ask(t, z.Full(long)+".", dnsmessage.TypeA, 0), false)); got != "Success aa 10.0.0.1" {
		t.Error(got)
	}
}

func TestDomainsOfAddresses(t *testing.T) {
	for p, want := range map[string]string{
		"10.88.0.0/16": "88.10.in-addr.arpa", "10.88.5.6/16": "88.10.in-addr.arpa", "10.0.0.0/8": "10.in-addr.arpa", "10.88.0.1/32": "1.0.88.10.in-addr.arpa",
		"10.88.0.0/15": "88.10.in-addr.arpa 89.10.in-addr.arpa", "172.16.0.0/12": "", "10.88.0.128/26": "", "10.88.0.248/30": "",
		"10.88.0.8/29":   "8.0.88.10.in-addr.arpa 9.0.88.10.in-addr.arpa 10.0.88.10.in-addr.arpa 11.0.88.10.in-addr.arpa 12.0.88.10.in-addr.arpa 13.0.88.10.in-addr.arpa 14.0.88.10.in-addr.arpa 15.0.88.10.in-addr.arpa",
		"fd12:3456::/32": "6.5.4.3.2.1.d.f.ip6.arpa", "fd12:3456::/31": "6.5.4.3.2.1.d.f.ip6.arpa 7.5.4.3.2.1.d.f.ip6.arpa", "0.0.0.0/0": "in-addr.arpa",
	} {
		if p == "10.88.0.248/30" {
			want = "248.0.88.10.in-addr.arpa 249.0.88.10.in-addr.arpa 250.0.88.10.in-addr.arpa 251.0.88.10.in-addr.arpa"
		}
		if got := strings.Join(Reverse(netip.MustParsePrefix(p)), " "); got != want {
			t.Errorf("%s: %s; want %s", p, got, want)
		}
	}
}

// TestAskingDoesNotWait is for the race detector.
func TestAskingDoesNotWait(t *testing.T) {
	z := home()
	query := ask(t, "bob.home.internal.", dnsmessage.TypeA, 0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			z.Set(Announced, "bob", []netip.Addr{netip.AddrFrom4([4]byte{10, 88, 0, byte(i)})})
			z.Set(Announced, "Bob", nil)
			z.Set(Granted, "Bob", addrs("10.0.0.9"))
			z.Set(Granted, "Bob", nil)
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
			if got := said(t, z.Answer(nil, query, false)); !strings.HasPrefix(got, "Success aa 10.88.0.") {
				t.Fatal(got)
			}
		}
	}
}

func FuzzAnswer(f *testing.F) {
	z := home()
	for _, name := range []string{"bob.home.internal.", "home.internal.", "many.home.internal.", "2.0.88.10.in-addr.arpa.", "x.d.f.ip6.arpa.", "example.com."} {
		f.Add(ask(f, name, dnsmessage.TypeA, 1232), false)
		f.Add(ask(f, name, dnsmessage.TypePTR, 0), true)
	}
	f.Fuzz(func(t *testing.T, query []byte, tcp bool) {
		out := z.Answer(nil, query, tcp)
		if out == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(out); err != nil {
			t.Fatalf("%v: %x", err, out)
		}
		if !m.Response || m.ID != uint16(query[0])<<8|uint16(query[1]) || !tcp && len(out) > maxUDP {
			t.Errorf("%d bytes, %+v", len(out), m.Header)
		}
	})
}
