package subnet

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"tincan/internal/node"
)

func must(t testing.TB, text string) Subnet {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLookup(t *testing.T) {
	entry := func(subnet string, owner node.Name, reachable bool) Entry[string] {
		return Entry[string]{must(t, subnet), "node " + string(owner), owner, reachable}
	}
	for _, c := range []struct {
		name    string
		entries []Entry[string]
		addr    string
		subnet  string // "" for no match
		owner   node.Name
	}{
		{"an empty table knows nobody", nil, "10.0.0.1", "", ""},
		{"the longest prefix wins", []Entry[string]{
			entry("10.0.0.0/8", "a", true), entry("10.1.0.0/16", "b", true)}, "10.1.2.3", "10.1.0.0/16", "b"},
		{"of equal prefixes the smaller weight wins", []Entry[string]{
			entry("10.0.0.0/8", "a", true), entry("10.0.0.0/8#5", "z", true)}, "10.1.2.3", "10.0.0.0/8#5", "z"},
		{"of equal weights the first name wins", []Entry[string]{
			entry("10.0.0.0/8", "b", true), entry("10.0.0.0/8", "a", true)}, "10.1.2.3", "10.0.0.0/8", "a"},
		{"a smaller address with host bits goes before a smaller weight", []Entry[string]{
			entry("10.0.0.2/8#1", "a", true), entry("10.0.0.1/8#9", "b", true)}, "10.1.2.3", "10.0.0.1/8#9", "b"},
		{"an unreachable owner is skipped for one of the same prefix", []Entry[string]{
			entry("10.0.0.0/8#1", "a", false), entry("10.0.0.0/8#2", "b", true)}, "10.1.2.3", "10.0.0.0/8#2", "b"},
		{"an unreachable owner is skipped for one of a shorter prefix", []Entry[string]{
			entry("10.1.0.0/16", "a", false), entry("0.0.0.0/0", "b", true)}, "10.1.2.3", "0.0.0.0/0", "b"},
		{"if nobody is reachable an unreachable owner is told", []Entry[string]{
			entry("10.1.0.0/16", "a", false)}, "10.1.2.3", "10.1.0.0/16", "a"},
		{"a broadcast subnet counts as reachable", []Entry[string]{
			entry("224.0.0.0/4", "", false), entry("0.0.0.0/0", "b", true)}, "224.0.0.5", "224.0.0.0/4", ""},
		{"IPv6", []Entry[string]{
			entry("fd00::/16", "a", true), entry("fd00:1::/32", "b", true)}, "fd00:1::5", "fd00:1::/32", "b"},
		{"an IPv4-mapped address is not IPv4", []Entry[string]{
			entry("0.0.0.0/0", "a", true)}, "::ffff:10.0.0.1", "", ""},
		{"an IPv4-mapped prefix matches IPv4-mapped addresses", []Entry[string]{
			entry("::ffff:10.0.0.0/104", "a", true)}, "::ffff:10.0.0.1", "::ffff:10.0.0.0/104", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Build(c.entries).Lookup(netip.MustParseAddr(c.addr))
			if ok != (c.subnet != "") {
				t.Fatalf("found %v: %v", ok, got)
			}
			if ok && (got.Subnet != must(t, c.subnet) || got.OwnerName != c.owner || got.Owner != "node "+string(c.owner)) {
				t.Errorf("found %v of %q (%q)", got.Subnet, got.OwnerName, got.Owner)
			}
		})
	}
}

func TestLookupMAC(t *testing.T) {
	const text = "02:00:00:00:00:01"
	s := must(t, text)
	heavy := s
	heavy.Weight = 20
	table := Build([]Entry[int]{
		{heavy, 1, "a", true}, {s, 2, "c", true}, {s, 3, "b", true}, {s, 4, "a", false},
		{must(t, "02:00:00:00:00:02"), 5, "a", false},
	})
	if e, ok := table.LookupMAC(s.MAC()); !ok || e.Owner != 3 {
		t.Errorf("found %v, %v; want the reachable owner with the smallest weight and name", e, ok)
	}
	if e, ok := table.LookupMAC([6]byte{2, 0, 0, 0, 0, 2}); !ok || e.Owner != 5 || e.Reachable {
		t.Errorf("found %v, %v; want the unreachable owner", e, ok)
	}
	if e, ok := table.LookupMAC([6]byte{2, 0, 0, 0, 0, 3}); ok {
		t.Errorf("found %v for an unknown address", e)
	}
}

// The table must give what a walk over all entries in tinc's order gives.
func TestLookupEqualsWalk(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var entries []Entry[int]
		for i := range rnd.IntN(40) {
			a := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(3)), byte(rnd.IntN(3)), byte(rnd.IntN(3))})
			s := FromPrefix(netip.PrefixFrom(a, rnd.IntN(33)))
			s.Weight = rnd.IntN(3)
			entries = append(entries, Entry[int]{s, i, node.Name(fmt.Sprintf("n%d", rnd.IntN(5))), rnd.IntN(2) == 0})
		}
		table := Build(entries)
		slices.SortStableFunc(entries, func(a, b Entry[int]) int {
			return cmp.Or(Compare(a.Subnet, b.Subnet), cmp.Compare(a.OwnerName, b.OwnerName))
		})
		for range 50 {
			addr := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(3)), byte(rnd.IntN(3)), byte(rnd.IntN(4))})
			matches := slices.DeleteFunc(slices.Clone(entries), func(e Entry[int]) bool { return !e.Subnet.Prefix().Contains(addr) })
			got, ok := table.Lookup(addr)
			if ok != (len(matches) > 0) {
				t.Fatalf("%v: found %v, %d entries match", addr, ok, len(matches))
			}
			if i := slices.IndexFunc(matches, func(e Entry[int]) bool { return e.Reachable }); i >= 0 && got != matches[i] {
				t.Fatalf("%v: found %v, the walk %v", addr, got, matches[i])
			} else if i < 0 && ok && got.Reachable {
				t.Fatalf("%v: found %v although no owner is reachable", addr, got)
			}
		}
	}
}

func many(n int) []Entry[int] {
	entries := make([]Entry[int], n)
	for i := range entries {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0})
		entries[i] = Entry[int]{FromPrefix(netip.PrefixFrom(a, 24)), i, node.Name(fmt.Sprint("n", i)), i%10 != 0}
	}
	return entries
}

func TestLookupDoesNotAllocate(t *testing.T) {
	table := Build(many(1000))
	addrs := []netip.Addr{netip.MustParseAddr("10.0.7.7"), netip.MustParseAddr("10.0.0.7"), netip.MustParseAddr("fd00::1")}
	if n := testing.AllocsPerRun(100, func() {
		for _, a := range addrs {
			table.Lookup(a)
		}
		table.LookupMAC([6]byte{})
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkBuild10000(b *testing.B) {
	entries := many(10000)
	b.ReportAllocs()
	for b.Loop() {
		Build(entries)
	}
}

func BenchmarkLookup(b *testing.B) {
	table := Build(many(10000))
	addr := netip.MustParseAddr("10.9.9.9")
	b.ReportAllocs()
	for b.Loop() {
		table.Lookup(addr)
	}
}
