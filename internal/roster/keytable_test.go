package roster

import (
	"testing"

	"pgregory.net/rapid"
)

// TestKeyTableIsAMap compares it with a map.
func TestKeyTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var table keyTable
		want := map[[32]byte]*Membership{}
		for range rapid.IntRange(0, 300).Draw(t, "n") {
			m := &Membership{Key: [32]byte{byte(rapid.IntRange(0, 80).Draw(t, "key")), 1}, RSA: [32]byte{byte(rapid.IntRange(0, 80).Draw(t, "rsa"))}}
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				table.remove(m.Key)
				delete(want, m.Key)
			case 1:
				if rapid.IntRange(0, 9).Draw(t, "clear") == 0 {
					table.clear()
					clear(want)
				}
			default:
				for key := range m.identities {
					if fresh := table.put(key, m); fresh != (want[key] == nil) {
						t.Fatalf("put: %v, want %v", fresh, !fresh)
					}
					want[key] = m
				}
			}
			for i := range 81 {
				for _, key := range [][32]byte{{byte(i), 1}, {byte(i)}} {
					if got := table.get(key); got != want[key] {
						t.Fatalf("key %x: %v, want %v", key[:2], got, want[key])
					}
				}
			}
		}
	})
}
