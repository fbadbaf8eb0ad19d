package roster

import (
	"bytes"
	"testing"

	"tincan/internal/subnet"
)

// samples are statements of every kind, as they are signed.
func samples(t testing.TB) map[string][]byte {
	g, network := genesis(t, 1, "ann", "ben")
	grant := Grant{
		Subnets: subnets(t, "10.0.0.0/24", "fd00::/64#5"), Pool: subnets(t, "10.1.0.0/16"),
		Groups: []string{"admin", "web"}, Capabilities: CapInvite | CapRelay,
	}
	inv := makeInvitation(network, "url", 3)
	inv.Name, inv.Grant, inv.Choose, inv.Approval = "web*", grant, subnets(t, "10.0.0.0/8"), true
	adm := makeAdmission(network, "url", "web1", "web1", 2000)
	adm.Subnets = subnets(t, "10.0.0.7")
	m := member("carl", "carl")
	m.Grant, m.RSA = grant, [32]byte{1}
	return map[string][]byte{
		"genesis":    g,
		"owners":     sign(t, network, 1, &Owners{Parent: network, OwnerList: ownerList(2, "ann", "ben", "cat")}, "ann"),
		"recovery":   sign(t, network, 1, &Recovery{Root: network, Recovery: pub("paper2"), OwnerList: ownerList(1, "cat")}, "paper"),
		"member":     sign(t, network, 7, m, "ann"),
		"invitation": sign(t, network, 1, inv, "ann"),
		"admission":  sign(t, network, 0, adm, "carl"),
		"removal":    sign(t, network, 1, &Removal{Key: pub("carl"), RSA: m.RSA, Name: "carl", Reason: "laptop lost"}, "ben"),
		"policy":     sign(t, network, 2, &Policy{Text: "allow * -> *\n"}, "ann"),
		"names":      sign(t, network, 2, &Names{Text: "Alias = web bob\n"}, "ann"),
		"device":     sign(t, network, 3, sampleDevice(t, "phone", "10.0.0.9"), "ann"),
		"door":       sign(t, network, 3, sampleDoor(t, network, "carl"), "ann"),
		"unknown":    sign(t, network, 2, &Unknown{Type: 200, Subject: []byte("x"), Body: []byte("y")}, "ann"),
	}
}

func TestStatementsAreReadAsTheyWereWritten(t *testing.T) {
	for name, raw := range samples(t) {
		s, err := Parse(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if again := s.Append(nil); !bytes.Equal(again, raw) {
			t.Errorf("%s: written %x, read and written %x", name, raw, again)
		}
		if err := s.Verify(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamagedStatementsAreRefused(t *testing.T) {
	for name, raw := range samples(t) {
		for n := range raw {
			if _, err := Parse(raw[:n]); err == nil {
				t.Errorf("%s: the first %d of %d bytes were read as a statement", name, n, len(raw))
			}
			flipped := bytes.Clone(raw)
			flipped[n] ^= 1 << (n % 8)
			if s, err := Parse(flipped); err == nil && s.Verify() == nil {
				t.Errorf("%s: verified with byte %d changed", name, n)
			}
		}
		if _, err := Parse(append(bytes.Clone(raw), 0)); err == nil {
			t.Errorf("%s: read with a byte more", name)
		}
	}
}

func FuzzStatement(f *testing.F) {
	for _, raw := range samples(f) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := Parse(b)
		if err != nil {
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) {
			t.Fatalf("%x was read, and written as %x", b, again)
		}
		_ = s.Verify()
	})
}

func TestContentWithTwoFormsIsRefused(t *testing.T) {
	network := ID{1}
	unsorted := subnets(t, "10.0.0.0/24", "10.0.0.0/16")
	unsorted[0], unsorted[1] = unsorted[1], unsorted[0]
	hostBits, err := subnet.Parse("10.0.0.1/24")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Content{
		"no key":             &Member{Name: "a"},
		"no name":            &Member{Key: pub("a")},
		"a bad name":         &Member{Name: "a-b", Key: pub("a")},
		"unsorted groups":    &Member{Name: "a", Key: pub("a"), Grant: Grant{Groups: []string{"b", "a"}}},
		"a group twice":      &Member{Name: "a", Key: pub("a"), Grant: Grant{Groups: []string{"a", "a"}}},
		"a bad group":        &Member{Name: "a", Key: pub("a"), Grant: Grant{Groups: []string{"a b"}}},
		"unsorted subnets":   &Member{Name: "a", Key: pub("a"), Grant: Grant{Subnets: unsorted}},
		"host bits":          &Member{Name: "a", Key: pub("a"), Grant: Grant{Subnets: []subnet.Subnet{hostBits}}},
		"a capability more":  &Member{Name: "a", Key: pub("a"), Grant: Grant{Capabilities: 16}},
		"no uses":            &Invitation{Key: pub("a")},
		"a bad pattern":      &Invitation{Key: pub("a"), Uses: 1, Name: "*"},
		"a threshold of 0":   &Owners{OwnerList: ownerList(0, "a")},
		"a threshold of 2":   &Owners{OwnerList: ownerList(2, "a")},
		"no owners":          &Owners{},
		"an owner twice":     &Owners{OwnerList: ownerList(1, "a", "a")},
		"too long a reason":  &Removal{Reason: string(make([]byte, 201))},
		"no key at all":      &Device{Name: "a", Subnets: subnets(t, "10.0.0.9")},
		"no address":         &Device{Name: "a", Key: WireGuardKey{1}},
		"a range":            &Device{Name: "a", Key: WireGuardKey{1}, Subnets: subnets(t, "10.0.0.0/24")},
		"no door key":        &Door{Ephemeral: pub("a")},
		"a reader twice":     &Door{Key: WireGuardKey{1}, Ephemeral: pub("a"), Sealed: []Sealed{{To: pub("a")}, {To: pub("a")}}},
		"a reason of escape": &Removal{Reason: "\x1b[2J"},
	} {
		s := &Statement{Network: network, Content: c}
		if err := s.Check(); err == nil {
			t.Errorf("a statement with %s was taken", name)
		}
	}
}
