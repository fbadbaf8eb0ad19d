package reconcile

import (
	"bytes"
	"crypto/sha256"
	"math/rand/v2"
	"slices"
	"testing"
)

// closeIDs returns ids of which many have long prefixes in common.
func closeIDs(random *rand.Rand, n int) []ID {
	ids := make([]ID, 0, n)
	seen := map[ID]bool{}
	for len(ids) < n {
		var id ID
		if len(ids) > 0 && random.IntN(2) == 0 {
			id = ids[random.IntN(len(ids))]
			for i := random.IntN(len(id)); i < len(id); i++ {
				id[i] = byte(random.Uint32())
			}
		} else {
			id = sha256.Sum256([]byte{byte(random.Uint32()), byte(random.Uint32()), byte(random.Uint32())})
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids
}

func treeOf(ids []ID) *tree {
	t := &tree{}
	for _, id := range ids {
		t.insert(entry{id, 1})
	}
	return t
}

func TestTheHashesDependOnNothingButTheSet(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		ids := closeIDs(random, random.IntN(400))
		some := slices.Clone(ids[:random.IntN(len(ids)+1)])
		want := treeOf(some).root.sum()
		keep := map[ID]bool{}
		for _, id := range some {
			keep[id] = true
		}

		random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		got := &tree{}
		for _, id := range ids {
			got.insert(entry{id, 1})
			got.root.sum() // so that hashes are kept and must be worked out anew
		}
		for _, id := range ids {
			if !keep[id] && !got.remove(&id) {
				t.Fatal("an id is not there")
			}
		}
		if got.root.sum() != want {
			t.Fatal("the same set has two hashes")
		}
		for _, id := range ids {
			if _, ok := got.find(&id); ok != keep[id] {
				t.Fatal("find is wrong")
			}
			if got.insert(entry{id, 1}) == keep[id] || !got.remove(&id) || got.remove(&id) {
				t.Fatal("insert or remove is wrong")
			}
		}
	}
}

func TestSetsThatDifferHaveOtherHashes(t *testing.T) {
	random := rand.New(rand.NewPCG(2, 2))
	ids := closeIDs(random, 200)
	tr := treeOf(ids)
	all := tr.root.sum()
	seen := map[fingerprint]bool{all.print: true}
	for _, id := range ids {
		tr.remove(&id)
		if s := tr.root.sum(); seen[s.print] || s.count != len(ids)-1 {
			t.Fatal("a set without an item has the hash of another one")
		} else {
			seen[s.print] = true
		}
		tr.insert(entry{id, 1})
	}
	if tr.root.sum() != all {
		t.Fatal("the hash is not the same again")
	}
}

// TestBelow compares what is below a prefix with what begins with it.
func TestBelow(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	for range 20 {
		ids := closeIDs(random, random.IntN(300))
		tr := treeOf(ids)
		for range 100 {
			var p prefix
			if len(ids) > 0 {
				id := ids[random.IntN(len(ids))]
				for i := range random.IntN(12) {
					p = p.child(id.nibble(i))
				}
			}
			if random.IntN(4) == 0 {
				p = p.child(random.IntN(16))
			}
			var want, got []ID
			for _, id := range ids {
				if p.covers(&id) {
					want = append(want, id)
				}
			}
			b := tr.below(p)
			b.each(func(e entry) { got = append(got, e.id) })
			slices.SortFunc(want, func(a, b ID) int { return bytes.Compare(a[:], b[:]) })
			if !slices.Equal(got, want) || b.sum().count != len(want) {
				t.Fatalf("below %v are %d ids, not %d", p, len(got), len(want))
			}
			if len(want) <= leafMax && b.sum() != treeOf(want).root.sum() {
				t.Fatal("the hash of a part of a leaf is not that of its set")
			}
		}
	}
}

func benchmarkTree(n int) (*tree, []ID) {
	random := rand.New(rand.NewPCG(4, 4))
	ids := make([]ID, n)
	for i := range ids {
		for j := 0; j < len(ID{}); j++ {
			ids[i][j] = byte(random.Uint32())
		}
	}
	return treeOf(ids), ids
}

func BenchmarkBuild10000(b *testing.B) {
	_, ids := benchmarkTree(10000)
	b.ReportAllocs()
	for b.Loop() {
		treeOf(ids).root.sum()
	}
}

func BenchmarkOneOf10000Changes(b *testing.B) {
	tr, ids := benchmarkTree(10000)
	tr.root.sum()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		id := ids[i%len(ids)]
		tr.remove(&id)
		tr.root.sum()
		tr.insert(entry{id, 1})
		tr.root.sum()
	}
}
