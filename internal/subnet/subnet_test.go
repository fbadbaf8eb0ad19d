package subnet

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"tincan/internal/node"
)

type vectors struct {
	Parse []struct {
		Text         string
		OK           bool
		Type         string
		Address      string
		Prefix       int
		Weight       int
		Canonical    string
		HostBitsZero bool `json:"host_bits_zero"`
	}
	Order struct {
		Sorted []struct {
			Subnet string
			Owner  node.Name
		}
	}
}

func load(t testing.TB) (v vectors) {
	t.Helper()
	data, err := os.ReadFile("testdata/tinc11-subnet.json")
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestParseAgreesWithTinc(t *testing.T) {
	for _, c := range load(t).Parse {
		s, err := Parse(c.Text)
		if (err == nil) != c.OK {
			t.Errorf("%q: error %v, tinc accepts it: %v", c.Text, err, c.OK)
			continue
		}
		if !c.OK {
			continue
		}
		n := map[Kind]int{MAC: 6, IPv4: 4, IPv6: 16}[s.Kind()]
		if got := hex.EncodeToString(s.addr[:n]); got != c.Address {
			t.Errorf("%q: address %s, want %s", c.Text, got, c.Address)
		}
		if got := strings.ToLower(s.Kind().String()); got != c.Type {
			t.Errorf("%q: kind %s, want %s", c.Text, got, c.Type)
		}
		if s.Kind() != MAC && s.Prefix().Bits() != c.Prefix {
			t.Errorf("%q: prefix length %d, want %d", c.Text, s.Prefix().Bits(), c.Prefix)
		}
		if s.Weight != c.Weight || s.String() != c.Canonical || s.HostBitsZero() != c.HostBitsZero {
			t.Errorf("%q: weight %d, text %q, host bits zero %v; want %d, %q, %v",
				c.Text, s.Weight, s, s.HostBitsZero(), c.Weight, c.Canonical, c.HostBitsZero)
		}
		if _, err := ParseLocal(c.Text); (err == nil) != c.HostBitsZero {
			t.Errorf("%q: as local configuration: %v", c.Text, err)
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Errorf("%q: the canonical text %q reads as %v, %v", c.Text, s, again, err)
		}
	}
}

func TestOrderAgreesWithTinc(t *testing.T) {
	type owned struct {
		s     Subnet
		owner node.Name
	}
	var want []owned
	for _, c := range load(t).Order.Sorted {
		s, err := Parse(c.Subnet)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, owned{s, c.Owner})
	}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, func(a, b owned) int {
		if c := Compare(a.s, b.s); c != 0 {
			return c
		}
		return strings.Compare(string(a.owner), string(b.owner))
	})
	if !slices.Equal(got, want) {
		t.Errorf("sorted as\n%v, want\n%v", got, want)
	}
}

func TestAccessors(t *testing.T) {
	p := netip.MustParsePrefix("::ffff:1.2.0.0/112")
	if s := FromPrefix(p); s.Kind() != IPv6 || s.Prefix() != p || s.Weight != DefaultWeight {
		t.Errorf("an IPv4-mapped prefix became %v of kind %v", s, s.Kind())
	}
	if s := FromPrefix(netip.Prefix{}); s.IsValid() || s.Prefix().IsValid() {
		t.Errorf("the zero prefix became %v", s)
	}
	mac := [6]byte{2, 0, 0, 0, 0, 1}
	if s := FromMAC(mac); s.MAC() != mac || s.Prefix().IsValid() || !s.HostBitsZero() {
		t.Errorf("MAC became %v", s)
	}
	for _, s := range broadcasts() {
		if again, err := Parse(s.String()); err != nil || again != s || !s.HostBitsZero() {
			t.Errorf("broadcast subnet %v reads back as %v, %v", s, again, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range load(f).Parse {
		f.Add(c.Text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Errorf("%q is %v, which reads as %v, %v", text, s, again, err)
		}
	})
}

// broadcasts returns the subnets that every tinc node treats as broadcast.
func broadcasts() []Subnet {
	return []Subnet{
		FromMAC([6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}),
		FromPrefix(netip.MustParsePrefix("255.255.255.255/32")),
		FromPrefix(netip.MustParsePrefix("224.0.0.0/4")),
		FromPrefix(netip.MustParsePrefix("ff00::/8")),
	}
}
