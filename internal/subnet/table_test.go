package subnet

import (
	"cmp"
	"fmt"
	"maps"
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
		return Entry[string]{must(t, subnet), "node " + string(owner), owner, reachable, Announced, false}
	}
	silent := func(subnet string, owner node.Name) Entry[string] {
		e := entry(subnet, owner, true)
		e.Rank = Silent
		return e
	}
	claimed := func(subnet string, owner node.Name) Entry[string] {
		e := entry(subnet, owner, true)
		e.Claimed = true
		return e
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
		{"a silent owner comes after another one of the same prefix", []Entry[string]{
			silent("10.0.0.0/8#1", "a"), entry("10.0.0.0/8#2", "b", true)}, "10.1.2.3", "10.0.0.0/8#2", "b"},
		{"a silent owner that is the only one counts", []Entry[string]{
			silent("10.0.0.0/8", "a"), entry("10.0.0.0/8", "b", false)}, "10.1.2.3", "10.0.0.0/8", "a"},
		{"a silent owner comes after one of a shorter prefix", []Entry[string]{
			silent("10.1.0.0/16", "a"), entry("10.0.0.0/8", "b", true)}, "10.1.2.3", "10.0.0.0/8", "b"},
		{"an owner that is only claimed to be there comes after another one of the same prefix", []Entry[string]{
			claimed("10.0.0.0/8#1", "a"), entry("10.0.0.0/8#2", "b", true)}, "10.1.2.3", "10.0.0.0/8#2", "b"},
		{"an owner that is only claimed to be there comes before one of a shorter prefix", []Entry[string]{
			claimed("10.1.0.0/16", "a"), entry("10.0.0.0/8", "b", true)}, "10.1.2.3", "10.1.0.0/16", "a"},
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
		{heavy, 1, "a", true, Announced, false}, {s, 2, "c", true, Announced, false}, {s, 3, "b", true, Announced, false}, {s, 4, "a", false, Announced, false},
		{must(t, "02:00:00:00:00:02"), 5, "a", false, Announced, false},
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
			entries = append(entries, Entry[int]{s, i, node.Name(fmt.Sprintf("n%d", rnd.IntN(5))), rnd.IntN(2) == 0, Announced, false})
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
		entries[i] = Entry[int]{FromPrefix(netip.PrefixFrom(a, 24)), i, node.Name(fmt.Sprint("n", i)), i%10 != 0, Rank(i % 3), false}
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

func TestClaimsThatAreOutranked(t *testing.T) {
	entry := func(subnet string, owner node.Name, rank Rank) Entry[int] {
		return Entry[int]{Subnet: must(t, subnet), OwnerName: owner, Reachable: true, Rank: rank}
	}
	gone := entry("10.0.0.2", "bob", Written)
	gone.Reachable = false
	for _, c := range []struct {
		name    string
		entries []Entry[int]
		addr    string
		owner   node.Name
	}{
		{"the same address with a better weight", []Entry[int]{
			entry("10.0.0.2", "bob", Written), entry("10.0.0.2#1", "mallory", Announced)}, "10.0.0.2", "bob"},
		{"a part of a network", []Entry[int]{
			entry("192.168.1.0/24", "bob", Written), entry("192.168.1.128/25", "mallory", Announced)}, "192.168.1.200", "bob"},
		{"a part of one's own network", []Entry[int]{
			entry("fd00:0:0:1::/64", "me", Own), entry("fd00:0:0:1::7#-5", "mallory", Announced)}, "fd00:0:0:1::7", "me"},
		{"one's own address, though another has it in writing", []Entry[int]{
			entry("10.0.0.2", "me", Own), entry("10.0.0.2#1", "bob", Written)}, "10.0.0.2", "me"},
		{"of two in writing tinc's order decides", []Entry[int]{
			entry("10.0.0.0/24", "bob", Written), entry("10.0.0.0/24#1", "carol", Written)}, "10.0.0.2", "carol"},
		{"a narrower one in writing counts", []Entry[int]{
			entry("10.0.0.0/24", "me", Own), entry("10.0.0.2", "carol", Written)}, "10.0.0.2", "carol"},
		{"a part of a part", []Entry[int]{
			entry("10.0.0.0/16", "bob", Written), entry("10.0.1.0/24", "carol", Written), entry("10.0.1.2", "mallory", Announced)}, "10.0.1.2", "carol"},
		{"an owner may announce a part of its own", []Entry[int]{
			entry("10.0.0.0/24", "bob", Written), entry("10.0.0.2", "bob", Announced)}, "10.0.0.2", "bob"},
		{"a way to the internet leaves room for others", []Entry[int]{
			entry("0.0.0.0/0", "bob", Written), entry("10.0.0.2", "carol", Announced)}, "10.0.0.2", "carol"},
		{"but not for a second one", []Entry[int]{
			entry("0.0.0.0/0", "bob", Written), entry("0.0.0.0/0#1", "carol", Announced)}, "10.0.0.2", "bob"},
		{"who is not there cannot be robbed", []Entry[int]{gone, entry("10.0.0.2#1", "carol", Announced)}, "10.0.0.2", "carol"},
		{"a broadcast is nobody's", []Entry[int]{
			entry("224.0.0.0/4", "", Announced), entry("224.0.0.0/4", "bob", Announced)}, "224.0.0.5", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if e, ok := Build(c.entries).Lookup(netip.MustParseAddr(c.addr)); !ok || e.OwnerName != c.owner {
				t.Errorf("%s belongs to %q, want %q", c.addr, e.OwnerName, c.owner)
			}
		})
	}
}

func TestSources(t *testing.T) {
	entry := func(subnet string, owner node.Name, rank Rank) Entry[int] {
		return Entry[int]{Subnet: must(t, subnet), OwnerName: owner, Reachable: true, Rank: rank}
	}
	table := Build([]Entry[int]{
		entry("10.0.0.1", "me", Own), entry("10.0.0.2", "bob", Written), entry("10.0.0.3", "carol", Announced),
		entry("10.0.0.2", "mallory", Announced), entry("10.0.0.3#50", "mallory", Announced), entry("10.0.0.4", "mallory", Announced),
		entry("192.168.0.0/24#1", "bob", Announced), entry("192.168.0.0/24", "carol", Announced),
		entry("0.0.0.0/0", "exit", Written),
	})
	for _, c := range []struct {
		owner node.Name
		addr  string
		ok    bool
		other node.Name
	}{
		{"bob", "10.0.0.2", true, "bob"},
		{"carol", "10.0.0.2", false, "bob"},
		{"mallory", "10.0.0.2", false, "bob"},
		{"mallory", "10.0.0.3", true, "carol"}, // nothing here says whose it is
		{"mallory", "10.0.0.1", false, "me"},
		{"mallory", "10.0.0.4", true, "mallory"},
		{"carol", "192.168.0.7", true, "bob"}, // the second gateway of that network
		{"exit", "1.2.3.4", true, "exit"},
		{"exit", "10.0.0.2", false, "bob"},
		{"bob", "1.2.3.4", false, "exit"},
		{"bob", "fd00::1", false, ""},
	} {
		if ok, other := table.MaySend(c.owner, netip.MustParseAddr(c.addr)); ok != c.ok || other.OwnerName != c.other {
			t.Errorf("%s sends from %s: %v (%s), want %v (%s)", c.owner, c.addr, ok, other.OwnerName, c.ok, c.other)
		}
	}
}

// A table that was changed step by step is the same as one that was made at once, and the steps before it stay as they are.
func TestChangedTableEqualsBuiltOne(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	random := func() Entry[int] {
		a := netip.AddrFrom4([4]byte{10, byte(rnd.IntN(2)), 0, byte(rnd.IntN(4))})
		s := FromPrefix(netip.PrefixFrom(a, 14+rnd.IntN(19)))
		if rnd.IntN(5) == 0 {
			s = FromMAC([6]byte{2, 0, 0, 0, 0, byte(rnd.IntN(4))})
		}
		s.Weight = rnd.IntN(2)
		return Entry[int]{s, 0, node.Name(fmt.Sprintf("n%d", rnd.IntN(4))), rnd.IntN(3) > 0, Rank(rnd.IntN(4)) + Silent, rnd.IntN(3) == 0}
	}
	type key struct {
		s Subnet
		o node.Name
	}
	look := func(t *Table[int]) (out []string) {
		for i := range 8 {
			e, ok := t.Lookup(netip.AddrFrom4([4]byte{10, byte(i / 4), 0, byte(i % 4)}))
			m, okM := t.LookupMAC([6]byte{2, 0, 0, 0, 0, byte(i)})
			out = append(out, fmt.Sprint(e, ok, m, okM))
		}
		return append(out, fmt.Sprint(t.Len()))
	}
	for range 50 {
		have := map[key]Entry[int]{}
		table := Build[int](nil)
		for range 30 {
			var set, gone []Entry[int]
			touched := map[key]bool{}
			for range rnd.IntN(4) {
				e := random()
				k := key{e.Subnet, e.OwnerName}
				if touched[k] {
					continue
				}
				touched[k] = true
				if _, ok := have[k]; ok && rnd.IntN(2) == 0 {
					gone = append(gone, e)
					delete(have, k)
				} else {
					set = append(set, e)
					have[k] = e
				}
			}
			old := look(table)
			next := table.Change(set, gone)
			if !slices.Equal(look(table), old) {
				t.Fatal("the table before the change has changed as well")
			}
			table = next
			if want := look(Build(slices.Collect(maps.Values(have)))); !slices.Equal(look(table), want) {
				t.Fatalf("got  %v\nwant %v", look(table), want)
			}
		}
	}
}

func BenchmarkChangeOneOf60000(b *testing.B) {
	entries := many(60000)
	table := Build(entries)
	b.ReportAllocs()
	for b.Loop() {
		table.Change(nil, entries[7:8]).Change(entries[7:8], nil)
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

// On processors where the prefix tables allocate, answers are remembered. They are those of the table, also after a change.
func TestRememberedAnswersAreThoseOfTheTable(t *testing.T) {
	plain := Build(many(300))
	remembering := *plain
	remembering.answers = newAnswers[int](true)
	gone := []Entry[int]{many(300)[7]}
	for _, tables := range [][2]*Table[int]{{plain, &remembering}, {plain.Change(nil, gone), remembering.Change(nil, gone)}} {
		for range 2 {
			for i := range 1200 {
				a := netip.AddrFrom4([4]byte{10, byte(i >> 9), byte(i >> 1), 7})
				e, ok := tables[0].Lookup(a)
				if got, found := tables[1].Lookup(a); got != e || found != ok {
					t.Fatalf("%s: %v, want %v", a, got, e)
				}
				mac := [6]byte{10, byte(i >> 9), byte(i >> 1)}
				if _, found := tables[1].LookupMAC(mac); found {
					t.Fatalf("%x is an owner's", mac)
				}
			}
		}
	}
	if tables := remembering.Change(nil, gone); tables.answers == remembering.answers {
		t.Error("a changed table answers as the one before")
	}
	a := netip.MustParseAddr("10.0.7.7")
	remembering.Lookup(a)
	again := func(netip.Addr) *Entry[int] { t.Fatal("asked again"); return nil }
	if n := testing.AllocsPerRun(100, func() { remembering.answers.get(a, false, again) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
