package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/mesh"
	"tincan/internal/node"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// BenchmarkOneStatementMore10000 is all that a node among 10,000 members, of which it knows all, does with one statement more:
// it is verified, who belongs to the network is worked out, the neighbours are to be told, and the protocol core follows.
func BenchmarkOneStatementMore10000(b *testing.B) {
	owner := keys.FromSeed([32]byte{1})
	genesis, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "owner"}},
	}}, owner)
	if err != nil {
		b.Fatal(err)
	}
	w := New(1)
	h := w.Add("self")
	member := func(name node.Name, key keys.PublicKey, serial uint64, at int) []byte {
		address := netip.AddrFrom4([4]byte{10, 1, byte(at >> 8), byte(at)})
		m := &roster.Member{Name: name, Key: key, Grant: roster.Grant{Subnets: []subnet.Subnet{subnet.FromPrefix(netip.PrefixFrom(address, 32))}}}
		raw, err := roster.Sign(id, serial, 0, m, owner)
		if err != nil {
			b.Fatal(err)
		}
		return raw
	}
	raws := [][]byte{genesis, member(h.Name, h.Key.Public(), 1, 0)}
	for i := 1; i < 10_000; i++ {
		seed := [32]byte{2}
		binary.BigEndian.PutUint32(seed[1:], uint32(i))
		key := keys.FromSeed(seed).Public()
		name := node.Name(fmt.Sprintf("n%05d", i))
		raws = append(raws, member(name, key, 1, i))
		h.known[name] = mesh.Host{Key: &key}
	}
	r := roster.New(id)
	r.Merge(raws)
	h.Keep(r)
	h.Start()
	key := keys.FromSeed([32]byte{3}).Public()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		raw := member("n00007", key, uint64(2+i), 7)
		b.StartTimer()
		if result := h.Submit(raw)[0]; result.Outcome != roster.Added {
			b.Fatal(result.Err())
		}
	}
}
