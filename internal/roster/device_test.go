package roster

import (
	"fmt"
	"slices"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/node"
)

func sampleDevice(t testing.TB, name, addr string) *Device {
	return &Device{Name: node.Name(name), Key: WireGuardKey(pub("wg " + name)), Subnets: subnets(t, addr), Groups: []string{"home"}}
}

var doorSecret = DoorSecret{1, 2, 3}

func sampleDoor(t testing.TB, network ID, readers ...string) *Door {
	var to []keys.PublicKey
	for _, name := range readers {
		to = append(to, pub(name))
	}
	d, err := doorSecret.Seal(network, to, [32]byte{9})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestADoorKeyIsForItsReadersOnly(t *testing.T) {
	network := ID{1}
	d := sampleDoor(t, network, "carl", "dora", "ann")
	raw := sign(t, network, 1, d, "ann")
	s, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	d = s.Content.(*Door)
	for _, name := range []string{"carl", "dora", "ann"} {
		if got, ok := d.Open(network, key(name)); !ok || got != doorSecret {
			t.Errorf("%s: opened %v", name, ok)
		}
	}
	if _, ok := d.Open(network, key("eve")); ok {
		t.Error("eve has the secret")
	}
	if _, ok := d.Open(ID{2}, key("carl")); ok {
		t.Error("a box of another network was opened")
	}
	forged := *d
	forged.Key[0] ^= 1 // another door's public key over the same boxes
	if _, ok := forged.Open(network, key("carl")); ok {
		t.Error("a secret was taken that does not belong to the key")
	}
	if text := fmt.Sprintf("%v %+v %#v %x %s", doorSecret, doorSecret, doorSecret, doorSecret, doorSecret); text != "[redacted] [redacted] [redacted] [redacted] [redacted]" {
		t.Errorf("printed: %s", text)
	}
}

func TestAFullDoorStatementFits(t *testing.T) {
	network := ID{1}
	var readers []string
	for i := range MaxSealed {
		readers = append(readers, fmt.Sprint("door", i))
	}
	sign(t, network, 1, sampleDoor(t, network, readers...), "ann")
	var to []keys.PublicKey
	for _, name := range append(readers, "onemore") {
		to = append(to, pub(name))
	}
	if _, err := doorSecret.Seal(network, to, [32]byte{9}); err == nil {
		t.Error("sealed for more than a statement can hold")
	}
}

// deviceNames are the devices of a roster.
func deviceNames(r *Roster) (names []string) {
	for _, d := range r.State().Devices {
		names = append(names, string(d.Name))
	}
	return names
}

func merge(t *testing.T, r *Roster, raws ...[]byte) {
	t.Helper()
	for _, result := range r.Merge(raws) {
		if err := result.Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func is(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("devices %v, want %v", got, want)
	}
}

func TestDevicesAreOfOwnersAndRemovedForEver(t *testing.T) {
	g, network := genesis(t, 1, "ann", "ben")
	r := New(network)
	phone := sampleDevice(t, "phone", "10.0.0.9")
	merge(t, r, g,
		sign(t, network, 1, member("carl", "carl"), "ann"),
		sign(t, network, 1, phone, "ann"),
		sign(t, network, 1, sampleDevice(t, "router", "10.0.0.8"), "ben"),
	)
	is(t, deviceNames(r), []string{"phone", "router"})
	// A member's word counts for nothing.
	r.Merge([][]byte{sign(t, network, 1, sampleDevice(t, "tablet", "10.0.0.7"), "carl")})
	is(t, deviceNames(r), []string{"phone", "router"})

	raw, err := r.SignRemoval(phone.Key, "lost", key("ben"))
	if err != nil {
		t.Fatal(err)
	}
	merge(t, r, raw...)
	is(t, deviceNames(r), []string{"router"})
	if x := r.State().Removed(phone.Key); x == nil || x.Name != "phone" {
		t.Errorf("removal: %+v", x)
	}
	// The same key does not come back, be it by a newer statement or under another name.
	merge(t, r, sign(t, network, 9, phone, "ann"))
	again := *phone
	again.Name = "phone2"
	merge(t, r, sign(t, network, 9, &again, "ann"))
	is(t, deviceNames(r), []string{"router"})
	if _, err := again.Sign(r, key("ann")); err == nil {
		t.Error("a removed key was signed")
	}
}

func TestADeviceTakesNothingFromAMember(t *testing.T) {
	g, network := genesis(t, 1, "ann")
	carl := member("carl", "carl")
	carl.Grant = Grant{Subnets: subnets(t, "10.0.0.7")}
	r := New(network)
	merge(t, r, g, sign(t, network, 1, carl, "ann"), sign(t, network, 1, sampleDevice(t, "carl", "10.0.0.9"), "ann"))
	is(t, deviceNames(r), nil)
	if c := r.State().Conflicts; len(c) != 1 || c[0].Reason != ReasonNameTaken {
		t.Errorf("conflicts: %+v", c)
	}
	for _, d := range []*Device{sampleDevice(t, "carl", "10.0.0.9"), sampleDevice(t, "phone", "10.0.0.7")} {
		if _, err := d.Sign(r, key("ann")); err == nil {
			t.Errorf("%s %v was signed", d.Name, d.Subnets)
		}
	}
	// Nor has a newcomer what is a device's.
	merge(t, r, sign(t, network, 1, sampleDevice(t, "phone", "10.0.0.9"), "ann"))
	inv := makeInvitation(network, "url", 3)
	inv.Choose = subnets(t, "10.0.0.0/8")
	merge(t, r, sign(t, network, 1, inv, "ann"))
	phone := makeAdmission(network, "url", "phone", "web1", 2000)
	web := makeAdmission(network, "url", "web2", "web2", 2001)
	web.Subnets = subnets(t, "10.0.0.9")
	merge(t, r, sign(t, network, 0, phone, "carl"), sign(t, network, 0, web, "carl"))
	if r.State().Member("phone") != nil {
		t.Error("a newcomer has the name of a device")
	}
	if m := r.State().Member("web2"); m == nil || len(m.Subnets) != 0 {
		t.Errorf("a newcomer has the address of a device: %+v", m)
	}
}

func TestDevicesStayWhenTheirOwnerGoes(t *testing.T) {
	g, network := genesis(t, 1, "ann", "ben")
	r := New(network)
	merge(t, r, g, sign(t, network, 1, sampleDevice(t, "phone", "10.0.0.9"), "ben"), sign(t, network, 1, sampleDoor(t, network, "ann"), "ben"))
	raws, err := r.SignOwners(Change{Owners: ownerList(1, "ann")}, key("ann"))
	if err != nil {
		t.Fatal(err)
	}
	merge(t, r, raws...)
	is(t, deviceNames(r), []string{"phone"})
	if d := r.State().Door; d == nil || d.By != pub("ann") {
		t.Errorf("the doors' key: %+v", d)
	}
	if d := r.State().Device("phone"); d == nil || d.By != pub("ann") {
		t.Errorf("phone: %+v", d)
	}
}

func TestDevicesAreTheSameInEveryOrder(t *testing.T) {
	g, network := genesis(t, 1, "ann", "ben")
	sameKey := sampleDevice(t, "phone", "10.0.0.1")
	sameKey.Name = "aaa"
	list := [][]byte{
		g,
		sign(t, network, 1, sampleDevice(t, "phone", "10.0.0.9"), "ann"),
		sign(t, network, 2, sampleDevice(t, "phone", "10.0.0.5"), "ben"),
		sign(t, network, 1, sameKey, "ann"),
		sign(t, network, 1, sampleDevice(t, "tv", "10.0.0.1"), "ben"),
		sign(t, network, 1, member("tv", "tv"), "ann"),
	}
	want := ""
	permute(len(list), func(order []int) {
		r := New(network)
		for _, i := range order {
			if err := r.Offer(list[i]); err != nil {
				t.Fatal(err)
			}
		}
		got := ""
		for _, d := range r.State().Devices {
			got += fmt.Sprint(d.Name, d.Subnets, d.Statement, " ")
		}
		if got += fmt.Sprint(r.State().Conflicts); want == "" {
			want = got
		} else if got != want {
			t.Fatalf("devices %s\nin another order %s", got, want)
		}
	})
}
