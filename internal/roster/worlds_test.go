package roster

import (
	"fmt"
	"strings"
	"testing"
)

// smallWorld is a handful of statements that several people have signed without knowing of each
// other, and who belongs to the network in the end.
type smallWorld struct {
	name      string
	threshold uint8 // of the genesis by ann and ben
	say       func(t *testing.T, network ID) [][]byte
	members   string // NAME=KEY, sorted by name
	conflicts string // their reasons
}

var smallWorlds = []smallWorld{
	{
		name: "a removal and an admission of the same key at the same time: the removal wins",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 1), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 1, &Removal{Key: pub("bob")}, "ben"),
				sign(t, network, 1, member("bob", "bob"), "ann"),
			}
		},
		members: "carl=carl",
	},
	{
		name: "whom a removed member has admitted does not belong any more, unless an owner says so",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 2), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 0, makeAdmission(network, "url", "dan", "dan", 2001), "carl"),
				sign(t, network, 1, member("dan", "dan"), "ann"),
				sign(t, network, 1, &Removal{Key: pub("carl")}, "ann"),
			}
		},
		members: "dan=dan",
	},
	{
		name: "whom a member has admitted that leaves later stays",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 1), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 1, &Removal{Key: pub("carl")}, "carl"),
			}
		},
		members: "bob=bob",
	},
	{
		name: "an invitation for one that two members have answered: the earlier one stays",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, member("dan", "dan"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 1), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 0, makeAdmission(network, "url", "eve", "eve", 2001), "dan"),
			}
		},
		members:   "bob=bob carl=carl dan=dan",
		conflicts: "invitation-used-up",
	},
	{
		name: "an invitation that was used by somebody who was removed since can not be used again",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 1), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob2", 2001), "carl"),
				sign(t, network, 1, &Removal{Key: pub("bob")}, "ann"),
			}
		},
		members:   "carl=carl",
		conflicts: "invitation-used-up",
	},
	{
		name: "a newcomer can not admit somebody before itself",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 1), "ann"),
				sign(t, network, 1, makeInvitation(network, "url2", 1), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 0, makeAdmission(network, "url2", "eve", "eve", 2000), "bob"),
				sign(t, network, 0, makeAdmission(network, "url2", "dan", "dan", 2001), "bob"),
			}
		},
		members: "bob=bob carl=carl dan=dan",
	},
	{
		name: "two newcomers that admit each other admit nobody",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, makeInvitation(network, "url", 9), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "eve"),
				sign(t, network, 0, makeAdmission(network, "url", "eve", "eve", 2001), "bob"),
				sign(t, network, 0, makeAdmission(network, "url", "eve", "eve", 1999), "bob"),
			}
		},
	},
	{
		name: "an invitation that was withdrawn admits nobody, and has admitted nobody",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 2), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 1, &Removal{Key: pub("url")}, "ann"),
				sign(t, network, 2, makeInvitation(network, "url", 3), "ben"),
			}
		},
		members: "carl=carl",
	},
	{
		name: "two owners sign different lists after the same one: the more senior decides",
		say: func(t *testing.T, network ID) [][]byte {
			byBen := &Owners{Parent: network, OwnerList: ownerList(1, "ben", "eve")}
			byAnn := &Owners{Parent: network, OwnerList: ownerList(1, "ann", "cat")}
			return [][]byte{
				sign(t, network, 9, byBen, "ben"),
				sign(t, network, 1, &Owners{Parent: byBen.List(network), OwnerList: ownerList(1, "eve")}, "eve"),
				sign(t, network, 1, byAnn, "ann"),
				sign(t, network, 1, member("bob", "bob"), "cat"),
				sign(t, network, 1, member("eve", "eve"), "eve"),
			}
		},
		members:   "bob=bob",
		conflicts: "owners-fork",
	},
	{
		name: "an owner who was removed can not come back by a longer history",
		say: func(t *testing.T, network ID) [][]byte {
			without := &Owners{Parent: network, OwnerList: ownerList(1, "ann")}
			back := &Owners{Parent: network, OwnerList: ownerList(1, "ben")}
			return [][]byte{
				sign(t, network, 1, without, "ann"),
				sign(t, network, 100, back, "ben"),
				sign(t, network, 100, &Owners{Parent: back.List(network), OwnerList: ownerList(1, "ben", "eve")}, "ben"),
				sign(t, network, 9, member("eve", "eve"), "ben"),
				sign(t, network, 1, member("bob", "bob"), "ann"),
			}
		},
		members:   "bob=bob",
		conflicts: "owners-fork",
	},
	{
		name: "recovery after the most senior key was stolen: what the thief signed is void, what others signed counts again",
		say: func(t *testing.T, network ID) [][]byte {
			stolen := &Owners{Parent: network, OwnerList: ownerList(1, "eve")}
			return [][]byte{
				sign(t, network, 1, member("bob", "bob"), "ben"),
				sign(t, network, 7, stolen, "ann"),
				sign(t, network, 1, member("eve", "evil"), "eve"),
				sign(t, network, 1, &Removal{Key: pub("bob")}, "ann"),
				sign(t, network, 1, &Recovery{Root: network, Recovery: pub("paper2"), OwnerList: ownerList(1, "ben")}, "paper"),
			}
		},
		members: "bob=bob",
	},
	{
		name: "a compromised owner: what another owner has signed anew stays, the rest is void, also what is signed later with an earlier serial",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("bob", "bob"), "ben"),
				sign(t, network, 2, member("bob", "bob"), "ann"),
				sign(t, network, 1, member("eve", "eve"), "ben"),
				sign(t, network, 3, member("bob", "eve2"), "ben"),
				sign(t, network, 1, &Owners{Parent: network, OwnerList: ownerList(1, "ann")}, "ann"),
			}
		},
		members: "bob=bob",
	},
	{
		name: "one key under two names: the statement with the higher serial has it",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("bob", "key"), "ann"),
				sign(t, network, 2, member("bert", "key"), "ben"),
				sign(t, network, 1, member("carl", "carl"), "ben"),
			}
		},
		members:   "bert=key carl=carl",
		conflicts: "key-taken",
	},
	{
		name: "a key that was replaced does not come back when the new one is removed",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("bob", "old"), "ann"),
				sign(t, network, 2, member("bob", "new"), "ben"),
				sign(t, network, 1, &Removal{Key: pub("new")}, "ann"),
			}
		},
	},
	{
		name: "two owners admit the same name with different keys: the higher serial has it",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 4, member("bob", "one"), "ann"),
				sign(t, network, 5, member("bob", "two"), "ben"),
				sign(t, network, 6, member("bob", "three"), "eve"),
			}
		},
		members: "bob=two",
	},
	{
		name:      "one owner of two that have to sign together changes nothing",
		threshold: 2,
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, &Owners{Parent: network, OwnerList: ownerList(1, "ann")}, "ann"),
				sign(t, network, 1, &Owners{Parent: network, OwnerList: ownerList(1, "ben")}, "ben"),
				sign(t, network, 1, member("bob", "bob"), "ben"),
				sign(t, network, 1, member("dan", "dan"), "ann"),
			}
		},
		members: "bob=bob dan=dan",
	},
	{
		name:      "two owners together change the list, and neither undoes it alone",
		threshold: 2,
		say: func(t *testing.T, network ID) [][]byte {
			both := &Owners{Parent: network, OwnerList: ownerList(1, "cat")}
			return [][]byte{
				sign(t, network, 1, both, "ann"),
				sign(t, network, 1, both, "ben"),
				sign(t, network, 9, &Owners{Parent: network, OwnerList: ownerList(1, "ann")}, "ann"),
				sign(t, network, 1, member("bob", "bob"), "cat"),
				sign(t, network, 1, member("dan", "dan"), "ben"),
			}
		},
		members: "bob=bob",
	},
	{
		name: "a newcomer whose name an owner gives to somebody else meanwhile does not get it",
		say: func(t *testing.T, network ID) [][]byte {
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, makeInvitation(network, "url", 1), "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 1, member("bob", "other"), "ben"),
			}
		},
		members:   "bob=other carl=carl",
		conflicts: "name-taken",
	},
	{
		name: "who needs approval is no member before an owner says so",
		say: func(t *testing.T, network ID) [][]byte {
			inv := makeInvitation(network, "url", 2)
			inv.Approval = true
			return [][]byte{
				sign(t, network, 1, member("carl", "carl"), "ann"),
				sign(t, network, 1, inv, "ann"),
				sign(t, network, 0, makeAdmission(network, "url", "bob", "bob", 2000), "carl"),
				sign(t, network, 0, makeAdmission(network, "url", "eve", "eve", 2001), "carl"),
				sign(t, network, 1, member("bob", "bob"), "ann"),
				sign(t, network, 1, &Removal{Key: pub("eve")}, "ann"),
			}
		},
		members: "bob=bob carl=carl",
	},
}

// TestSmallWorldsInEveryOrder: all permutations of the statements of each small world, the genesis
// among them, end with the members that are written there.
func TestSmallWorldsInEveryOrder(t *testing.T) {
	for _, w := range smallWorlds {
		t.Run(w.name, func(t *testing.T) {
			g, network := genesis(t, max(w.threshold, 1), "ann", "ben")
			raws := append([][]byte{g}, w.say(t, network)...)
			want := New(network)
			want.Merge(raws)
			if got := pairs(want.State()); got != w.members {
				t.Fatalf("members: %q, want %q\n%s", got, w.members, dump(want))
			}
			if got := reasons(want.State()); got != w.conflicts {
				t.Fatalf("conflicts: %q, want %q", got, w.conflicts)
			}
			if got := model(network, raws); got != dump(want) {
				t.Fatalf("the model says otherwise:\n%s\n\nit is:\n%s", got, dump(want))
			}
			checkOrders(t, network, raws, dump(want), fmt.Sprint(want.IDs()))
		})
	}
}

// checkOrders adds statements in every order. Their signatures are checked once: that does not depend
// on the order.
func checkOrders(t *testing.T, network ID, raws [][]byte, state, ids string) {
	entries := make([]*entry, len(raws))
	for i, raw := range raws {
		s, err := Parse(raw)
		if err != nil || s.Verify() != nil {
			t.Fatal("a statement of the world is wrong")
		}
		entries[i] = newEntry(s, raw)
		entries[i].raw = raw
	}
	permute(len(raws), func(order []int) {
		r := New(network)
		for _, i := range order {
			if old := r.slots[entries[i].slot]; old != nil && newer(old, entries[i]) < 0 {
				continue
			}
			e := *entries[i]
			r.insert(&e)
			r.settle()
		}
		if dump(r) != state || fmt.Sprint(r.IDs()) != ids {
			t.Fatalf("in the order %v:\n%s\n\nwant:\n%s", order, dump(r), state)
		}
	})
}

// permute calls f with every order of the numbers below n.
func permute(n int, f func(order []int)) {
	order := make([]int, 0, n)
	used := make([]bool, n)
	var next func()
	next = func() {
		if len(order) == n {
			f(order)
			return
		}
		for i := range n {
			if !used[i] {
				used[i] = true
				order = append(order, i)
				next()
				order = order[:len(order)-1]
				used[i] = false
			}
		}
	}
	next()
}

// pairs lists the members with the names of their keys.
func pairs(s *State) string {
	var list []string
	for _, m := range s.Members {
		keyName := "?"
		for _, name := range []string{"ann", "ben", "bob", "bob2", "carl", "dan", "eve", "evil", "eve2", "key", "old", "new", "one", "two", "three", "other"} {
			if pub(name) == m.Key {
				keyName = name
			}
		}
		list = append(list, fmt.Sprintf("%s=%s", m.Name, keyName))
	}
	return strings.Join(list, " ")
}

func reasons(s *State) string {
	var list []string
	for _, c := range s.Conflicts {
		list = append(list, c.Reason.String())
	}
	return strings.Join(list, " ")
}
