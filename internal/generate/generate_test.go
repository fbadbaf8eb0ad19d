package generate

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
)

func layout(t *testing.T) confdir.Layout {
	t.Helper()
	l, err := confdir.Place{Conf: filepath.Join(t.TempDir(), "tinc", "vpn")}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCreate(t *testing.T) {
	l := layout(t)
	n := Node{Layout: l, Name: "alpha", Port: 7000, VPN: netip.MustParsePrefix("10.7.0.1/16"), Public: []config.Address{{Host: "vpn.example", Port: "443"}}}
	if port, err := n.Create(); err != nil || port != 7000 {
		t.Fatal(port, err)
	}
	if got := read(t, l.TincConf()); got != "Name = alpha\nIfconfig = 10.7.0.1/16\nNames = auto\n" {
		t.Errorf("tinc.conf: %q", got)
	}
	// What was made is a network that loads without a word.
	network, warnings, err := confdir.Load(l, nil)
	if err != nil || len(warnings) > 0 {
		t.Fatal(warnings, err)
	}
	key, warnings, err := network.PrivateKey()
	if err != nil || len(warnings) > 0 || *network.Own.Key != key.Public() {
		t.Error("the keys do not fit", warnings, err)
	}
	if got := network.Own.Addresses; !slices.Equal(got, n.Public) {
		t.Errorf("addresses %v", got)
	}
	if s := network.Settings; s.Port != "7000" || len(s.Subnets) != 1 || s.Subnets[0].String() != "10.7.0.1" {
		t.Errorf("settings %+v", s)
	}
	if _, err := os.Stat(l.Script("tinc-up")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("there is a tinc-up, which would take the place of Ifconfig")
	}

	if _, err := n.Create(); !errors.Is(err, ErrExists) {
		t.Errorf("second time: %v", err)
	}
}

func TestCreateWithoutAddress(t *testing.T) {
	l := layout(t)
	if _, err := (Node{Layout: l, Name: "alpha", Port: DefaultPort}).Create(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l.Host("alpha")); !strings.HasPrefix(got, "Ed25519PublicKey = ") || strings.Count(got, "\n") != 1 {
		t.Errorf("host file %q", got)
	}
	info, err := os.Stat(l.Script("tinc-up"))
	if err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("tinc-up: %v, %v", info, err)
	}
}

func TestCreateDisablesOldKeys(t *testing.T) {
	l := layout(t)
	if err := MakeDirs(l); err != nil {
		t.Fatal(err)
	}
	const old = "Ed25519PublicKey = 5E9PD5nFYM0+jKQpUtGCT3Q71rHiVVi7OgIXSqan2HM\n"
	if err := confdir.WriteFile(l.Host("alpha"), []byte(old+"Cipher = none"), confdir.FileMode); err != nil {
		t.Fatal(err)
	}
	if _, err := (Node{Layout: l, Name: "alpha", Port: 7000}).Create(); err != nil {
		t.Fatal(err)
	}
	if got := read(t, l.Host("alpha")); !strings.HasPrefix(got, "#"+old+"Cipher = none\nPort = 7000\nEd25519PublicKey = ") {
		t.Errorf("host file %q", got)
	}
}

func TestStoreKeyTwice(t *testing.T) {
	dir := t.TempDir()
	private, public := filepath.Join(dir, "k"), filepath.Join(dir, "k.pub")
	for i, want := range []int{0, 2} {
		key := keys.FromSeed([32]byte{byte(i)})
		replaced, err := StoreKey(key, private, public)
		if err != nil || len(replaced) != want {
			t.Fatalf("%v, %v", replaced, err)
		}
		again, err := keys.ParsePrivatePEM([]byte(read(t, private)))
		if err != nil || again.Public() != key.Public() {
			t.Errorf("the new private key is not the one that counts: %v", err)
		}
		if got := config.Values([]byte(read(t, public)), "Ed25519PublicKey"); !slices.Equal(got, []string{key.Public().String()}) {
			t.Errorf("public keys %v", got)
		}
	}
	if info, _ := os.Stat(private); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
}

func TestInRange(t *testing.T) {
	for _, c := range []struct{ network, addr, want string }{
		{"10.7.0.0/16", "10.7.3.4", "10.7.3.4/16"},
		{"fd00::/64", "fd00::1", "fd00::1/64"},
		{"10.7.0.0/16", "10.8.0.1", ""},
		{"10.7.0.0/16", "10.7.0.0", ""},
		{"10.7.0.0/16", "10.7.255.255", ""},
		{"10.7.0.1/16", "10.7.0.1", ""},
		{"10.7.0.0/31", "10.7.0.1", ""},
		{"10.7.0.0/16", "fd00::1", ""},
	} {
		got, err := InRange(netip.MustParsePrefix(c.network), netip.MustParseAddr(c.addr))
		if (err != nil) != (c.want == "") || err == nil && got.String() != c.want {
			t.Errorf("%s in %s: %v, %v", c.addr, c.network, got, err)
		}
	}
	if got, err := FirstAddress(netip.MustParsePrefix("10.7.0.0/16")); err != nil || got.String() != "10.7.0.1/16" {
		t.Errorf("first: %v, %v", got, err)
	}
}

func TestARangeOverlapsWithNothingThatIsHere(t *testing.T) {
	for _, c := range []struct {
		name, avoid, want string // want: where the range lies
		bits              int
	}{
		{"nothing is here", "", "10.0.0.0/8", 16},
		{"a default route", "0.0.0.0/0", "10.0.0.0/8", 16},
		{"half of 10", "10.0.0.0/9", "10.128.0.0/9", 16},
		{"a small network", "10.7.3.0/24", "10.0.0.0/8", 16},
		{"all of 10", "10.0.0.0/8", "172.16.0.0/12", 16},
		{"all of 10 and 172", "10.0.0.0/8 172.16.0.0/12", "192.168.0.0/16", 24},
		{"all of them", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16", "100.64.0.0/10", 16},
		{"everything", "0.0.0.0/1 128.0.0.0/1", "10.0.0.0/8", 16},
	} {
		var avoid []netip.Prefix
		for _, p := range strings.Fields(c.avoid) {
			avoid = append(avoid, netip.MustParsePrefix(p))
		}
		for range 20 {
			got := randomRange(avoid)
			if !netip.MustParsePrefix(c.want).Contains(got.Addr()) || got.Bits() != c.bits || got != got.Masked() {
				t.Errorf("%s: %v", c.name, got)
			}
			for _, p := range avoid {
				if c.name != "everything" && p.Bits() > 0 && p.Overlaps(got) {
					t.Errorf("%s: %v overlaps with %v", c.name, got, p)
				}
			}
		}
	}
}

func TestRandomRange(t *testing.T) {
	if got := RandomRange(); got.Bits() != 16 || got.Addr().As4()[0] != 10 || got != got.Masked() {
		t.Errorf("got %v", got)
	}
}

func TestPortFree(t *testing.T) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if PortFree(l.Addr().(*net.TCPAddr).Port) {
		t.Error("a port in use is called free")
	}
	port, err := FreePort()
	if err != nil || port < 4096 || port > 36863 {
		t.Errorf("%d, %v", port, err)
	}
}
