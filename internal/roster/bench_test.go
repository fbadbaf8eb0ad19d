package roster

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

const large = 10_000

// largeNetwork is the file of a network of 10,000 members, a tenth of them admitted under an
// invitation.
func largeNetwork() []byte {
	g, network, err := NewGenesis(Genesis{OwnerList: ownerList(1, "ann")}, key("ann"))
	if err != nil {
		panic(err)
	}
	r := New(network)
	unchecked := func(serial uint64, c Content, signer *keys.PrivateKey) {
		s := &Statement{Network: network, Serial: serial, Content: c}
		s.sign(signer)
		raw := s.Append(nil)
		e := newEntry(s, raw)
		e.raw = raw
		r.insert(e)
	}
	if _, err := r.Add(g); err != nil {
		panic(err)
	}
	inv := makeInvitation(network, "url", large)
	unchecked(1, inv, key("ann"))
	for i := range large {
		name := node.Name(fmt.Sprintf("member%05d", i))
		k := keys.FromSeed(sha256.Sum256([]byte(name))).Public()
		if i%10 == 9 {
			q := Request{Name: name, Key: k, Invitation: inv.Key}
			unchecked(0, &Admission{Name: name, Key: k, Invitation: inv.Key, Time: 2000 + int64(i), Proof: q.Sign(network, key("url"))}, key("bob"))
			continue
		}
		if i == 0 {
			k = pub("bob")
		}
		address := subnet.FromPrefix(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), 32))
		unchecked(1, &Member{Name: name, Key: k, RSA: sha256.Sum256(k[:]), Grant: Grant{Subnets: []subnet.Subnet{address}, Groups: []string{"staff"}}}, key("ann"))
	}
	r.settle()
	return r.Encode(nil)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkStart10000 reads the file of a large network: each signature verified, and who belongs to it.
func BenchmarkStart10000(b *testing.B) {
	file := largeNetwork()
	b.ReportAllocs()
	before := heap()
	for b.Loop() {
		r, bad, err := Decode(file)
		if err != nil || bad > 0 || len(r.State().Members) != large {
			b.Fatal(err, bad, len(r.State().Members))
		}
		b.StopTimer()
		b.ReportMetric(float64(heap()-before)/(1<<20), "MiB/roster")
		runtime.KeepAlive(r)
		b.StartTimer()
	}
}

// BenchmarkOneMore10000 adds one statement to a large network, and asks who belongs to it then.
func BenchmarkOneMore10000(b *testing.B) {
	r, _, err := Decode(largeNetwork())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		raw, err := Sign(r.Network(), uint64(2+i), 0, &Member{Name: "member00007", Key: pub("seven")}, key("ann"))
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := r.Add(raw); err != nil {
			b.Fatal(err)
		}
		if r.State().Member("member00007").Serial != uint64(2+i) {
			b.Fatal("not taken")
		}
	}
}
