package limit

import (
	"net/netip"
	"testing"
	"time"

	"tincan/internal/rate"
)

var (
	start = time.Unix(1000, 0)
	addr  = netip.MustParseAddr("192.0.2.1")
)

// flood is the nth of very many addresses.
func flood(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func TestBucketsHaveABurstAndFillUpAgain(t *testing.T) {
	b := Buckets{Limit: rate.Limit{Burst: 20, Every: time.Second}, Most: 100}
	taken := 0
	for b.Left(addr, start) {
		if !b.Take(addr, start) {
			t.Fatal("what is left cannot be taken")
		}
		taken++
	}
	if taken != b.Burst || b.Take(addr, start) {
		t.Errorf("%d at once", taken)
	}
	later := start.Add(b.Every)
	if !b.Left(addr, later) || !b.Take(addr, later) || b.Take(addr, later) {
		t.Error("not one more after a while")
	}
	later = later.Add(time.Hour)
	for taken = 0; b.Take(addr, later); taken++ {
	}
	if taken != b.Burst {
		t.Errorf("%d at once after a long time", taken)
	}
	if b.Take(addr, start) {
		t.Error("a clock that goes back fills it")
	}
}

func TestWhatCountsAsOneAddress(t *testing.T) {
	for _, c := range []struct {
		what, a, b string
		same       bool
	}{
		{"mapped IPv4", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"neighbours with IPv4", "192.0.2.1", "192.0.2.2", false},
		{"the same /64", "2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{"another /64", "2001:db8::1", "2001:db8:0:1::1", false},
		{"zones", "fe80::1%eth0", "fe80::1%eth1", true},
	} {
		b := Buckets{Limit: rate.Limit{Burst: 1, Every: time.Second}, Most: 100}
		b.Take(netip.MustParseAddr(c.a), start)
		other := netip.MustParseAddr(c.b)
		if left, taken := b.Left(other, start), b.Take(other, start); left == c.same || taken == c.same {
			t.Errorf("%s: left %v, taken %v", c.what, left, taken)
		}
	}
}

func TestPeersAsTheCallerCountsThem(t *testing.T) {
	single := func(a netip.Addr) netip.Prefix { p, _ := a.Prefix(a.BitLen()); return p }
	b := Buckets{Limit: rate.Limit{Burst: 1, Every: time.Second}, Most: 100, Peer: single}
	one, other := netip.MustParseAddr("fd00::1"), netip.MustParseAddr("fd00::2")
	if !b.Take(one, start) || !b.Left(other, start) || !b.Take(other, start) || b.Left(one, start) {
		t.Error("two addresses of a /64 count as one")
	}
}

func TestBucketsOfVeryManyAddresses(t *testing.T) {
	b := Buckets{Limit: rate.Limit{Burst: 2, Every: time.Second}, Most: 100}
	for i := range 3 * b.Most {
		b.Take(flood(i), start)
		if len(b.seen) > b.Most {
			t.Fatalf("%d addresses are remembered", len(b.seen))
		}
	}
	for i := range 3 * b.Most {
		b.Left(flood(i), start)
	}
	if len(b.seen) > b.Most {
		t.Errorf("%d addresses are remembered by looking", len(b.seen))
	}
}

// Who has used up what he may is remembered longer than who has not come for a while.
func TestAFloodIsNoFreshStartWhileThereIsRoom(t *testing.T) {
	b := Buckets{Limit: rate.Limit{Burst: 2, Every: time.Second}, Most: 100}
	for i := range b.Most - 1 {
		b.Take(flood(i), start)
	}
	later := start.Add(2 * b.Every)
	for b.Take(addr, later) {
	}
	b.Take(flood(b.Most), later)
	if b.Left(addr, later) {
		t.Error("a new address makes others forget one that has nothing left")
	}
	if len(b.seen) != 2 {
		t.Errorf("%d addresses are remembered, want those that are not as good as new", len(b.seen))
	}
	for i := range b.Most - 2 { // full; then one that is known comes again
		b.Take(flood(i), later)
	}
	if b.Take(addr, later) || len(b.seen) != b.Most {
		t.Errorf("a known address takes room: %d are remembered", len(b.seen))
	}
}
