package command

import (
	"slices"
	"testing"

	"tincan/internal/bootnode"
	"tincan/internal/command/ownership"
	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/roster"
	"tincan/internal/subnet"
)

// A device is not there all the time, so nobody may announce its address at the moment. It is taken all the same.
func TestABootNodeGivesNobodyTheAddressOfADevice(t *testing.T) {
	owner := keys.FromSeed([32]byte{1})
	genesis, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: owner.Public(), Rights: roster.AllRights, Name: "olga"}},
	}}, owner)
	if err != nil {
		t.Fatal(err)
	}
	r := roster.New(id)
	r.Merge([][]byte{genesis})
	addr, err := subnet.ParseLocal("10.0.0.9")
	if err != nil {
		t.Fatal(err)
	}
	phone := roster.Device{Name: "phone", Key: roster.WireGuardKey{1}, Subnets: []subnet.Subnet{addr}}
	raw, err := phone.Sign(r, owner)
	if err != nil {
		t.Fatal(err)
	}
	r.Merge([][]byte{raw})
	m := bootMembers{network: &ownership.Network{Layout: confdir.Layout{ConfBase: t.TempDir()}, Roster: r}}
	if got, want := m.Granted(), []bootnode.Owned{{Subnet: addr, Owner: "phone"}}; !slices.Equal(got, want) {
		t.Errorf("taken are %v, want %v", got, want)
	}
}
