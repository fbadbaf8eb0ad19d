package policy

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"tincan/internal/node"
)

func mustParse(t testing.TB, text string) *Policy {
	t.Helper()
	p, err := Parse(text)
	if err != nil {
		t.Fatalf("Parse(%q): %v", text, err)
	}
	return p
}

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, s := range texts {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}

const example = `# who may do what
allow group:admin -> *  tcp:22
allow	* -> group:web tcp:443,80 # the sites
allow bob,10.9.0.0/16 -> fd00:2::/32,web1 udp sctp:7-9,8-11,12 47
allow * -> * icmp


test bob -> web1:22 deny
test bob -> [fd00:2::1]:53/udp allow
test group:admin -> web1/icmp allow
`

const formatted = `# who may do what
allow  group:admin      ->  *                 tcp:22
allow  *                ->  group:web         tcp:80,443  # the sites
allow  bob,10.9.0.0/16  ->  fd00:2::/32,web1  udp sctp:7-12 47
allow  *                ->  *                 icmp

test  bob          ->  web1:22             deny
test  bob          ->  [fd00:2::1]:53/udp  allow
test  group:admin  ->  web1/icmp           allow
`

func TestFormat(t *testing.T) {
	got, err := Format(example)
	if err != nil || got != formatted {
		t.Errorf("%v\n%s", err, got)
	}
	if again, err := Format(got); err != nil || again != got {
		t.Errorf("formatted twice: %v\n%s", err, again)
	}
}

func TestParse(t *testing.T) {
	p := mustParse(t, "\r\nallow bob,group:web-1,10.0.0.0/8,* -> 10.0.0.1 tcp:5,1-3,4 icmp\r\n")
	want := []Rule{{
		Line: 2,
		From: []Selector{{Name: "bob"}, {Group: "web-1"}, {Prefix: netip.MustParsePrefix("10.0.0.0/8")}, {Any: true}},
		To:   []Selector{{Prefix: netip.MustParsePrefix("10.0.0.1/32")}},
		Services: []Service{
			{Protocol: TCP, Ports: []Ports{{1, 5}}},
			{Protocol: ICMP},
		},
	}}
	if !reflect.DeepEqual(p.Rules, want) {
		t.Errorf("%+v", p.Rules)
	}
	for text, want := range map[string]Service{
		"tcp:*": {Protocol: TCP}, "tcp:0-65535": {Protocol: TCP}, "6": {Protocol: TCP}, "17:53": {Protocol: UDP, Ports: []Ports{{53, 53}}},
		"1": {Protocol: ICMP}, "58": {Protocol: ICMP}, "255": {Protocol: 255}, "*": {Protocol: AnyProtocol}, "132": {Protocol: SCTP},
	} {
		if p := mustParse(t, "allow * -> * "+text); !reflect.DeepEqual(p.Rules[0].Services, []Service{want}) {
			t.Errorf("%s: %+v", text, p.Rules[0].Services)
		}
	}
	if p := mustParse(t, ""); len(p.Rules) != 0 {
		t.Error("an empty text has rules")
	}
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"deny bob -> * tcp", `line 1, column 1: "deny"; a line begins with allow, test or #`},
		{"# x\n  alow bob -> * tcp", `line 2, column 3: "alow"; a line begins with allow, test or # (did you mean allow?)`},
		{"allow", `line 1, column 6: the line ends where who may connect`},
		{"allow bob", `line 1, column 10: the line ends where -> is expected`},
		{"allow bob -> # web", `line 1, column 13: the line ends where to whom`},
		{"allow bob -> web", `line 1, column 17: the line ends where a protocol, such as tcp:22 or *, is expected`},
		{"allow bob => web tcp", `line 1, column 11: "=>"; -> is expected, with a blank on either side`},
		{"allow a, b -> web tcp", `column 9: an empty item`},
		{"allow a ,b -> web tcp", `column 9: ",b"; -> is expected, with a blank on either side (lists have commas without blanks)`},
		{"allow b-b -> web tcp", `column 7: "b-b"; allowed are a name, group:NAME`},
		{"allow a,b/8 -> web tcp", `column 9: "b/8" is neither an address nor a prefix`},
		{"allow group: -> web tcp", `column 7: "group:": a group has a name`},
		{"allow group:a.b -> web tcp", `column 7: "group:a.b": a group has a name`},
		{"allow 10.1.0.0/8 -> * tcp", `column 7: "10.1.0.0/8" has bits set after its 8 bits; the prefix is 10.0.0.0/8`},
		{"allow ::ffff:10.1.0.0/112 -> * tcp", `column 7: "::ffff:10.1.0.0/112": write an IPv4 address as 10.1.0.0`},
		{"allow fe80::1%eth0 -> * tcp", `column 7: "fe80::1%eth0" is neither`},
		{"allow * -> * tpc:22", `column 14: "tpc" is no protocol; allowed are tcp, udp and sctp, each alone or with ports (tcp:22, udp:53,5000-5100), ` +
			`icmp, the number of a protocol, and * (did you mean tcp?)`},
		{"allow * -> * 256", `column 14: "256" is no protocol`},
		{"allow * -> * 06", `column 14: "06" is no protocol`},
		{"allow * -> * icmp:8", `column 18: "icmp:8": only tcp, udp and sctp have ports`},
		{"allow * -> * tcp:22,", `column 21: "" is no port; allowed are numbers from 0 to 65535 and ranges`},
		{"allow * -> * tcp:22,65536", `column 21: "65536" is no port`},
		{"allow * -> * tcp:22 udp:9-7", `column 25: "9-7" is an empty range; write 7-9`},
		{"test * -> a:1 allow", `column 6: "*": a test is about a name, an address or a group:NAME`},
		{"test 10.0.0.0/8 -> a:1 allow", `column 6: "10.0.0.0/8": a test is about`},
		{"test a -> b allow", `column 11: "b": there is no port; allowed are HOST:PORT (TCP)`},
		{"test a -> group:b allow", `column 11: "group:b": there is no port`},
		{"test a -> fd00::1:22 allow", `column 11: "fd00::1:22": an IPv6 address before a port stands in brackets`},
		{"test a -> [fd00::1:22 allow", `column 11: "[fd00::1:22": an IPv6 address before a port stands in brackets`},
		{"test a -> b:22/* allow", `column 11: "b:22/*": "*" is no protocol`},
		{"test a -> b:22/icmp allow", `column 11: "b:22/icmp": `},
		{"test a -> b:22 dney", `column 16: "dney"; a test ends with allow or deny (did you mean deny?)`},
		{"test a -> b:22 deny now", `column 21: "now" after the end of the test`},
		{"allow a\x00 -> b tcp", `column 7: "a\x00"; allowed are`},
		{strings.Repeat("#", MaxText+1), `line 1, column 1: the policy has 3073 bytes; at most 3072 are allowed`},
	} {
		_, err := Parse(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60q:\n got %v\nwant %s", c.text, err, c.want)
		}
		if _, err2 := Format(c.text); err2 == nil || err2.Error() != err.Error() {
			t.Errorf("%.60q: Format says %v", c.text, err2)
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, err := Parse("allow a/ -> b:: tcp:x,y\nallow\n\nallow a,b.,c. -> b tcp:x,y udp:z\ntest a. -> b deny\nallow a -> b tcp")
	var list Errors
	if !errors.As(err, &list) {
		t.Fatal(err)
	}
	var at []string
	for _, e := range list {
		at = append(at, fmt.Sprintf("%d:%d", e.Line, e.Column))
	}
	// After a bad list of hosts the rest of the line is not guessed at.
	if got := strings.Join(at, " "); got != "1:7 2:6 4:9 4:12 5:6 5:12" {
		t.Errorf("%s\n%v", got, err)
	}
	if _, err := Parse(strings.Repeat("x\n", 200)); strings.Count(err.Error(), "\n") != maxErrors-1 {
		t.Error("the number of errors has no bound")
	}
}

func TestBoundOfRules(t *testing.T) {
	text := strings.Repeat("allow a -> b *\n", MaxRules)
	if p, _, err := parse(text); err != nil || len(p.Rules) != MaxRules {
		t.Fatal(err)
	}
	if _, _, err := parse(text + "allow a -> b *\n"); err == nil || !strings.Contains(err.Error(), "line 501, column 1: this is one rule more") {
		t.Error(err)
	}
}

// village is a network with what matters in the tests.
func village() *Members {
	return NewMembers([]Member{
		{"alice", []string{"admin"}, prefixes("10.0.0.0/24", "fd00:1::/32")},
		{"bob", nil, prefixes("10.1.0.0/24")},
		{"web1", []string{"web"}, prefixes("10.2.0.0/24", "fd00:2::/32")},
		{"web2", []string{"web", "admin"}, prefixes("10.3.0.0/24")},
		{"phone", nil, nil},
		{"exit", nil, prefixes("0.0.0.0/0", "10.4.0.0/24")},
	})
}

func TestTry(t *testing.T) {
	p := mustParse(t, `allow group:admin -> * tcp:22
allow * -> group:web tcp:80,443
allow bob -> 10.2.0.128/25 udp:53
allow bob -> exit tcp:25
allow 10.1.0.0/25 -> alice tcp:5000-6000
allow phone,bob -> alice 47
allow * -> * icmp`)
	m := village()
	for _, c := range []struct{ from, to, want string }{
		{"alice", "bob:22", "alice -> bob tcp:22: allowed by line 1"},
		{"web2", "bob:22", "web2 -> bob tcp:22: allowed by line 1"},
		{"bob", "alice:22", "bob -> alice tcp:22: refused, no line allows it"},
		{"group:admin", "bob:22", "alice -> bob tcp:22: allowed by line 1"},
		{"group:web", "bob:22", "web2 -> bob tcp:22: allowed by line 1; web1 -> bob tcp:22: refused, no line allows it"},
		{"bob", "group:web:443", "bob -> web1 tcp:443: allowed by line 2"},
		{"bob", "web1:443/udp", "bob -> web1 udp:443: refused, no line allows it"},
		{"bob", "web1:53/udp", "bob (10.1.0.0) -> web1 (10.2.0.128) udp:53: allowed by line 3; bob (10.1.0.0) -> web1 (10.2.0.0) udp:53: refused, no line allows it"},
		{"bob", "10.2.0.130:53/udp", "bob -> web1 udp:53: allowed by line 3"},
		{"bob", "10.2.0.13:53/udp", "bob -> web1 udp:53: refused, no line allows it"},
		{"bob", "192.0.2.1:25", "bob -> exit tcp:25: allowed by line 4"},
		{"bob", "[2001:db8::1]:25", "bob -> 2001:db8::1 tcp:25: refused, no line allows it"},
		{"10.1.0.1", "alice:5500", "bob -> alice tcp:5500: allowed by line 5"},
		{"10.1.0.200", "alice:5500", "bob -> alice tcp:5500: refused, no line allows it"},
		{"phone", "alice/47", "phone -> alice 47: allowed by line 6"},
		{"phone", "web1:80", "phone -> web1 tcp:80: allowed by line 2"},
		{"fd00:1::1", "bob/icmp", "alice -> bob icmp: allowed by line 7"},
		{"bob", "exit:26", "bob -> exit tcp:26: refused, no line allows it"},
	} {
		target, err := ParseTarget(c.to)
		if err != nil {
			t.Fatal(err)
		}
		if target.String() != c.to {
			t.Errorf("%s is written as %s", c.to, target)
		}
		a, err := p.Try(m, c.from, target)
		if err != nil || a.String() != c.want {
			t.Errorf("%s -> %s: %v\n got %v\nwant %s", c.from, c.to, err, a, c.want)
		}
	}
	for from, want := range map[string]string{"nobody": "there is no member nobody", "group:x": "there is no member in the group x"} {
		if _, err := p.Try(m, from, Target{Host: "bob", Protocol: ICMP}); err == nil || err.Error() != want {
			t.Error(err)
		}
	}
}

func TestTests(t *testing.T) {
	p := mustParse(t, `allow * -> group:web tcp:443
allow bob -> 10.2.0.128/25 udp:53
test bob -> web1:443 allow
test bob -> alice:443 deny
test bob -> alice:443 allow
test bob -> web1:443 deny
test bob -> web1:53/udp allow
test bob -> web1:53/udp deny
test bob -> carol:1 deny`)
	var got []string
	for _, r := range p.Check(village()) {
		got = append(got, r.String())
	}
	want := []string{
		"line 3: test bob -> web1:443 allow passes: bob -> web1 tcp:443: allowed by line 1",
		"line 4: test bob -> alice:443 deny passes: bob -> alice tcp:443: refused, no line allows it",
		"line 5: test bob -> alice:443 allow fails: bob -> alice tcp:443: refused, no line allows it",
		"line 6: test bob -> web1:443 deny fails: bob -> web1 tcp:443: allowed by line 1",
		"line 7: test bob -> web1:53/udp allow fails: bob (10.1.0.0) -> web1 (10.2.0.128) udp:53: allowed by line 2; bob (10.1.0.0) -> web1 (10.2.0.0) udp:53: refused, no line allows it",
		"line 8: test bob -> web1:53/udp deny fails: bob (10.1.0.0) -> web1 (10.2.0.128) udp:53: allowed by line 2; bob (10.1.0.0) -> web1 (10.2.0.0) udp:53: refused, no line allows it",
		"line 9: test bob -> carol:1 deny fails: there is no member carol",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A group is all of its members, also those without addresses.
func TestAMemberWithoutAddressesIsTried(t *testing.T) {
	m := NewMembers([]Member{
		{Name: "a", Groups: []string{"web"}, Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}},
		{Name: "b", Groups: []string{"web"}},
		{Name: "c", Subnets: []netip.Prefix{netip.MustParsePrefix("10.0.0.3/32")}},
	})
	p := mustParse(t, "allow a -> c tcp:22")
	a, err := p.Try(m, "group:web", Target{Host: "c", Protocol: TCP, Port: 22})
	if err != nil || a.Allowed == nil || a.Allowed.From != "a" || a.Refused == nil || a.Refused.From != "b" {
		t.Errorf("%v, %v", a, err)
	}
}

func TestWhatIsAllowedBetweenTwo(t *testing.T) {
	p := mustParse(t, "allow bob -> * tcp:22\nallow alice -> web1 *\nallow * -> group:web udp\nallow bob -> 10.2.0.128/25 icmp\nallow bob -> 10.9.0.0/16 icmp")
	rules, err := p.Between(village(), "bob", "web1")
	var lines []int
	for _, r := range rules {
		lines = append(lines, r.Line)
	}
	if err != nil || !slices.Equal(lines, []int{1, 3, 4}) {
		t.Errorf("lines %v, %v", lines, err)
	}
	if _, err := p.Between(village(), "bob", "nobody"); err == nil {
		t.Error("there is somebody called nobody")
	}
}

func TestWhoIsUnknown(t *testing.T) {
	p := mustParse(t, "allow bob,carol,carol -> group:web,group:db *\ntest 10.0.0.1 -> dave:22 deny")
	want := []Unknown{{1, "carol"}, {1, "group:db"}, {2, "dave"}}
	if got := p.Unknown(village()); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// random makes small policies and networks, in which everything meets everything.
type random struct{ *rand.Rand }

func (r random) of(words ...string) string { return words[r.IntN(len(words))] }

func (r random) selectors(names, groups int) string {
	var list []string
	for range 1 + r.IntN(3) {
		switch r.IntN(5) {
		case 0:
			list = append(list, r.of("*", "10.0.0.0/8", "fd00::/16", "::/0", "0.0.0.0/0"))
		case 1:
			list = append(list, fmt.Sprint("n", r.IntN(names)))
		case 2:
			list = append(list, fmt.Sprint("group:g", r.IntN(groups)))
		case 3:
			bits := 26 + r.IntN(7)
			list = append(list, netip.PrefixFrom(r.addr4(), bits).Masked().String())
		default:
			bits := 122 + r.IntN(7)
			list = append(list, netip.PrefixFrom(r.addr6(), bits).Masked().String())
		}
	}
	return strings.Join(list, ",")
}

// Addresses lie close together, so that prefixes meet.
func (r random) addr4() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(r.IntN(64))}) }
func (r random) addr6() netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(r.IntN(64))})
}

func (r random) service() string {
	p := r.of("tcp", "udp", "sctp", "icmp", "*", "47", "50")
	if p == "tcp" || p == "udp" || p == "sctp" {
		switch r.IntN(4) {
		case 0:
			a, b := r.IntN(20), r.IntN(20)
			return fmt.Sprintf("%s:%d-%d,65535", p, min(a, b), max(a, b))
		case 1, 2:
			return fmt.Sprintf("%s:%d", p, r.IntN(20))
		}
	}
	return p
}

func (r random) policy(t testing.TB, rules, names, groups int, service func() string) *Policy {
	var text strings.Builder
	for range rules {
		fmt.Fprintf(&text, "allow %s -> %s %s", r.selectors(names, groups), r.selectors(names, groups), service())
		if r.IntN(4) == 0 {
			text.WriteString(" " + service())
		}
		text.WriteByte('\n')
	}
	p, _, err := parse(text.String())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (r random) members(names, groups int) []Member {
	var list []Member
	for i := range names {
		m := Member{Name: node.Name(fmt.Sprint("n", i))}
		for g := range groups {
			if r.IntN(3) == 0 {
				m.Groups = append(m.Groups, fmt.Sprint("g", g))
			}
		}
		for range r.IntN(3) {
			m.Subnets = append(m.Subnets, netip.PrefixFrom(r.addr4(), 27+r.IntN(6)).Masked())
		}
		for range r.IntN(2) {
			m.Subnets = append(m.Subnets, netip.PrefixFrom(r.addr6(), 123+r.IntN(6)).Masked())
		}
		list = append(list, m)
	}
	return list
}

func TestCompiledDecidesAsTheRulesAreWritten(t *testing.T) {
	allowed := 0
	for seed := range uint64(60) {
		r := random{rand.New(rand.NewPCG(seed, 1))}
		p := r.policy(t, r.IntN(140), 6, 4, r.service)
		m := NewMembers(r.members(5, 4)) // the rules name one that is none
		c := p.Compile(m, nil)
		for range 400 {
			from, to := node.Name(fmt.Sprint("n", r.IntN(7))), node.Name(fmt.Sprint("n", r.IntN(7)))
			src, dst := r.addr4(), r.addr4()
			if r.IntN(2) == 0 {
				src, dst = r.addr6(), r.addr6()
			}
			proto := []Protocol{TCP, UDP, SCTP, ICMP, 47, 50, 51, AnyProtocol}[r.IntN(8)]
			port := uint16(0)
			if proto.HasPorts() {
				port = []uint16{uint16(r.IntN(22)), 65534, 65535}[r.IntN(3)]
			}
			want := p.decide(m.get(from), m.get(to), src, dst, proto, port)
			got := c.Decide(c.Sides(from), c.Sides(to), AddrOf(src), AddrOf(dst), proto, port)
			if got.Line() != want || got.Allowed() != (want > 0) {
				t.Fatalf("seed %d: %s (%v) -> %s (%v) %v:%d: compiled says line %d, the rules %d", seed, from, src, to, dst, proto, port, got.Line(), want)
			}
			if got.Allowed() {
				allowed++
				if any := c.Decide(c.Sides(from), c.Anybody(), AddrOf(src), AddrOf(dst), proto, port); !any.Allowed() {
					t.Fatalf("seed %d: what may go to %s may not go to anybody", seed, to)
				}
			}
		}
	}
	if allowed < 1000 || allowed > 60*400-1000 {
		t.Errorf("%d of the flows were allowed: the test says little", allowed)
	}
}

// TestTryMeansAllAddresses compares Try with all addresses of two members, one after the other.
func TestTryMeansAllAddresses(t *testing.T) {
	mixed := 0
	for seed := range uint64(150) {
		r := random{rand.New(rand.NewPCG(seed, 2))}
		p := r.policy(t, 1+r.IntN(6), 6, 9, func() string { return "tcp" })
		m := NewMembers(r.members(4, 1))
		target := Target{Host: "n1", Protocol: TCP, Port: uint16(r.IntN(20))}
		got, err := p.Try(m, "n0", target)
		if err != nil {
			t.Fatal(err)
		}
		all := func(name node.Name) (list []netip.Addr) {
			for i := range 64 {
				for _, a := range []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), netip.AddrFrom16([16]byte{0: 0xfd, 15: byte(i)})} {
					if m.owner(a).Name == name {
						list = append(list, a)
					}
				}
			}
			return list
		}
		allowed, refused := false, false
		for _, src := range all("n0") {
			for _, dst := range all("n1") {
				if src.Is4() != dst.Is4() {
					continue
				}
				if p.decide(m.get("n0"), m.get("n1"), src, dst, TCP, target.Port) > 0 {
					allowed = true
				} else {
					refused = true
				}
			}
		}
		if !allowed && !refused { // no addresses
			allowed = p.decide(m.get("n0"), m.get("n1"), netip.Addr{}, netip.Addr{}, TCP, target.Port) > 0
			refused = !allowed
		}
		if (got.Allowed != nil) != allowed || (got.Refused != nil) != refused {
			t.Errorf("seed %d: allowed %v, refused %v; Try says %v", seed, allowed, refused, got)
		}
		if allowed && refused {
			mixed++
		}
	}
	if mixed < 5 {
		t.Errorf("in only %d networks it depended on the address", mixed)
	}
}

func TestFramesWithoutAPacket(t *testing.T) {
	p := mustParse(t, "allow alice -> bob icmp tcp\nallow 0.0.0.0/0,::/0 -> ::/0,0.0.0.0/0 *\nallow group:admin -> bob *")
	c := p.Compile(village(), nil)
	if d := c.DecideFrame(c.Sides("alice"), c.Sides("bob")); d.Line() != 3 {
		t.Errorf("decided by line %d", d.Line())
	}
	if d := c.DecideFrame(c.Sides("bob"), c.Sides("alice")); d.Allowed() {
		t.Errorf("allowed by line %d", d.Line())
	}
}

func TestWhatIsCountedGoesOn(t *testing.T) {
	p := mustParse(t, "allow a -> b tcp\nallow b -> a tcp")
	m := NewMembers(nil)
	c := p.Compile(m, nil)
	decide := func(c *Compiled, from, to node.Name) {
		c.Decide(c.Sides(from), c.Sides(to), Addr{}, Addr{}, TCP, 1).Count()
	}
	decide(c, "a", "b")
	decide(c, "b", "a")
	decide(c, "b", "a")
	decide(c, "a", "a")
	next := p.Compile(village(), c)
	decide(next, "b", "a")
	if got := next.Uses(); !slices.Equal(got, []Use{{1, 1}, {2, 3}}) {
		t.Error(got)
	}
	if got := mustParse(t, "allow a -> b tcp").Compile(m, next).Uses(); !slices.Equal(got, []Use{{1, 0}}) {
		t.Error(got)
	}
}

func TestAddresses(t *testing.T) {
	for _, s := range []string{"0.0.0.0", "10.1.2.3", "255.255.255.255", "::", "fd00::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"} {
		a := netip.MustParseAddr(s)
		if got := AddrOf(a).Netip(); got != a {
			t.Errorf("%v became %v", a, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(example)
	f.Add("allow a -> b tcp:1-2,3 # x\r\ntest a -> [::1]:1/udp deny\n\n\nallow * -> * *")
	m := village()
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Parse(text)
		out, err2 := Format(text)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("Parse says %v, Format %v", err, err2)
		}
		if err != nil {
			var list Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("%T", err)
			}
			return
		}
		again, _, err := parse(out)
		if err != nil {
			t.Fatalf("%q was formatted as %q: %v", text, out, err)
		}
		if out2, _ := Format(out); len(out) <= MaxText && out2 != out {
			t.Fatalf("%q was formatted as %q, then as %q", text, out, out2)
		}
		without := func(p *Policy) Policy {
			q := Policy{slices.Clone(p.Rules), slices.Clone(p.Tests)}
			for i := range q.Rules {
				q.Rules[i].Line = 0
			}
			for i := range q.Tests {
				q.Tests[i].Line = 0
			}
			return q
		}
		if !reflect.DeepEqual(without(p), without(again)) {
			t.Fatalf("%q means something else as %q", text, out)
		}
		p.Check(m)
		p.Unknown(m)
		c := p.Compile(m, nil)
		src, dst := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.200")
		for _, proto := range []Protocol{TCP, ICMP, 47, AnyProtocol} {
			want := p.decide(m.get("bob"), m.get("web1"), src, dst, proto, 53)
			if got := c.Decide(c.Sides("bob"), c.Sides("web1"), AddrOf(src), AddrOf(dst), proto, 53); got.Line() != want {
				t.Fatalf("compiled says line %d, the rules %d", got.Line(), want)
			}
		}
	})
}

func FuzzTarget(f *testing.F) {
	f.Add("[fd00::1]:22/udp")
	f.Add("group:a:1")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseTarget(text)
		if err != nil {
			return
		}
		if b, err := ParseTarget(a.String()); err != nil || a != b {
			t.Fatalf("%q is %+v, written as %q: %+v, %v", text, a, a, b, err)
		}
	})
}

// large is 500 rules and 1,000 members, with many prefixes and groups.
func large(t testing.TB) (*Policy, *Members) {
	r := random{rand.New(rand.NewPCG(1, 3))}
	return r.policy(t, MaxRules, 1000, 40, r.service), NewMembers(r.members(1000, 40))
}

func TestDecideDoesNotAllocate(t *testing.T) {
	p, m := large(t)
	c := p.Compile(m, nil)
	src, dst := AddrOf(netip.MustParseAddr("10.0.0.9")), AddrOf(netip.MustParseAddr("10.0.0.60"))
	if n := testing.AllocsPerRun(100, func() { c.Decide(c.Sides("n7"), c.Sides("n900"), src, dst, TCP, 7).Count() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecide(b *testing.B) {
	p, m := large(b)
	c := p.Compile(m, nil)
	// More rules about addresses than fit into a policy's text, and the flow is refused.
	var bad strings.Builder
	for i := range MaxRules {
		fmt.Fprintf(&bad, "allow 10.0.%d.%d -> 10.0.0.0/8 tcp:22\n", i/250, i%250)
	}
	worst, _, err := parse(bad.String())
	if err != nil {
		b.Fatal(err)
	}
	for _, bench := range []struct {
		name string
		c    *Compiled
		src  string
	}{{"mixed", c, "10.0.0.9"}, {"500 prefixes and none matches", worst.Compile(m, nil), "10.3.0.1"}} {
		b.Run(bench.name, func(b *testing.B) {
			src, dst := AddrOf(netip.MustParseAddr(bench.src)), AddrOf(netip.MustParseAddr("10.0.0.60"))
			names := make([]node.Name, 1000)
			for i := range names {
				names[i] = node.Name(fmt.Sprint("n", i))
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				bench.c.Decide(bench.c.Sides(names[i*7%1000]), bench.c.Sides(names[i%1000]), src, dst, TCP, 22)
			}
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	p, m := large(b)
	b.ReportAllocs()
	for b.Loop() {
		p.Compile(m, nil)
	}
}
