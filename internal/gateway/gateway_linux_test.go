package gateway

import (
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"tincan/internal/fixture"
)

func TestTheKernelTakesTheRules(t *testing.T) {
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("SKIP: there is no nft command")
	}
	fixture.InNamespace(t, func() {
		rules := func() string {
			out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
			if err != nil {
				t.Skipf("SKIP: %s", out)
			}
			return string(out)
		}
		if out := rules(); out != "" {
			t.Fatalf("there are rules already: %s", out)
		}
		forwards := func() string {
			b, _ := os.ReadFile(forwarding["ip"])
			c, _ := os.ReadFile(forwarding["ip6"])
			return strings.TrimSpace(string(b)) + strings.TrimSpace(string(c))
		}
		was := forwards()
		for _, private := range []bool{false, true} {
			for _, rate := range []int{0, 1000, 10 << 20} {
				cfg := Config{Interface: "vpn0", Private: private, Rate: rate, Connections: 7, Own: []netip.Prefix{netip.MustParsePrefix("10.7.0.5/16"), netip.MustParsePrefix("10.7.5.0/24"), netip.MustParsePrefix("fd07::/64")}}
				g, notes, err := Up(cfg)
				if err != nil {
					t.Fatalf("%+v: %v", cfg, err)
				}
				t.Log(notes)
				out := rules()
				for _, want := range []string{"table inet tincan-exit-vpn0", "masquerade", "ct count over 7", "10.7.0.0/16"} {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in %s", want, out)
					}
				}
				if err := g.SetResolvers([]netip.Addr{netip.MustParseAddr("9.9.9.9"), netip.MustParseAddr("2001:db8::53")}); err != nil {
					t.Fatal(err)
				}
				if out := rules(); !strings.Contains(out, "dnat ip to 9.9.9.9") || !strings.Contains(out, "dnat ip6 to 2001:db8::53") {
					t.Errorf("no redirection: %s", out)
				}
				for range 2 { // what was refused is not taken for what is in force
					if err := g.SetResolvers([]netip.Addr{netip.MustParseAddr("fe80::1%nowhere")}); err == nil {
						t.Error("an address that cannot be in a rule was taken")
					}
				}
				if was == "00" && forwards() != "11" {
					t.Errorf("forwarding is %s", forwards())
				}
				// This process is killed, and the next one takes over, and ends.
				next, _, err := Up(cfg)
				if err != nil {
					t.Fatal(err)
				}
				if err := next.Close(); err != nil {
					t.Error(err)
				}
				if out := rules(); out != "" || forwards() != was {
					t.Errorf("left behind: %s, forwarding %s", out, forwards())
				}
			}
		}
		if err := Clear("vpn0"); err != nil {
			t.Errorf("nothing is there to be cleared: %v", err)
		}
	})
}

func TestResolversOfOthers(t *testing.T) {
	const conf = "# x\nnameserver 127.0.0.53\nnameserver\nsearch example.org\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver ::1\nnameserver 2001:db8::53\nnameserver x\n"
	got := Resolvers(strings.NewReader(conf))
	if len(got) != 2 || got[0].String() != "192.0.2.53" || got[1].String() != "2001:db8::53" {
		t.Errorf("%v", got)
	}
}

func FuzzResolvers(f *testing.F) {
	f.Add("nameserver 192.0.2.53\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, a := range Resolvers(strings.NewReader(s)) {
			if a.IsLoopback() || !a.IsValid() {
				t.Errorf("%v", a)
			}
		}
	})
}
