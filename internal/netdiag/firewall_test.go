package netdiag

import (
	"fmt"
	"strings"
	"testing"
)

const (
	in       = `{"chain":{"family":"inet","table":"f","name":"in","type":"filter","hook":"input","policy":%q}}`
	sub      = `{"chain":{"family":"inet","table":"f","name":"sub"}}`
	iif      = `{"match":{"op":"==","left":{"meta":{"key":"iifname"}},"right":%s}}`
	notIif   = `{"match":{"op":"!=","left":{"meta":{"key":"iifname"}},"right":"home"}}`
	ct       = `{"match":{"op":"in","left":{"ct":{"key":"state"}},"right":["established","related"]}}`
	accept   = `{"accept":null}`
	drop     = `{"drop":null}`
	jump     = `{"jump":{"target":"sub"}}`
	outDrops = `{"chain":{"family":"ip","table":"filter","name":"OUTPUT","type":"filter","hook":"output","policy":"drop"}}`
)

func rules(chain string, list ...string) string {
	var out []string
	for _, r := range list {
		out = append(out, fmt.Sprintf(`{"rule":{"family":"inet","table":"f","chain":%q,"expr":[%s]}}`, chain, r))
	}
	return strings.Join(out, ",")
}

// nftables is what nft -j prints of chains and rules.
func nftables(list []string) []byte {
	return []byte(`{"nftables":[` + strings.Join(list, ",") + `]}`)
}

// checkCodes checks the codes of what was found, and that each finding says what is wrong and what would help.
func checkCodes(t *testing.T, name string, list []Finding, want string) {
	t.Helper()
	var codes []string
	for _, f := range list {
		codes = append(codes, f.Code)
		if f.Change == "" || f.Text == "" {
			t.Errorf("%s: %+v", name, f)
		}
	}
	if got := strings.Join(codes, " "); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

func TestWhatAFirewallDrops(t *testing.T) {
	drops, accepts := fmt.Sprintf(in, "drop"), fmt.Sprintf(in, "accept")
	home := fmt.Sprintf(iif, `"home"`)
	for _, c := range []struct {
		name  string
		rules []string
		want  string // codes
	}{
		{"nothing", nil, ""},
		{"accepts", []string{accepts}, ""},
		{"drops all", []string{drops}, "firewall-drops"},
		{"drops all but established", []string{drops, rules("in", ct+","+accept)}, "firewall-may-drop"},
		{"accepts ours", []string{drops, rules("in", home+","+accept)}, ""},
		{"accepts ours by a pattern", []string{drops, rules("in", fmt.Sprintf(iif, `"ho*"`)+","+accept)}, ""},
		{"accepts ours in a set", []string{drops, rules("in", fmt.Sprintf(iif, `{"set":["eth0","home"]}`)+","+accept)}, ""},
		{"accepts another", []string{drops, rules("in", fmt.Sprintf(iif, `"lo"`)+","+accept)}, "firewall-drops"},
		{"drops ours", []string{accepts, rules("in", home+","+drop)}, "firewall-drops"},
		{"drops all others", []string{accepts, rules("in", notIif+","+drop)}, ""},
		{"drops some of it", []string{accepts, rules("in", home+","+ct+","+drop)}, ""},
		{"accepts in a chain of its own", []string{drops, sub, rules("in", jump), rules("sub", home+","+accept)}, ""},
		{"drops in a chain of its own", []string{accepts, sub, rules("in", home+","+jump), rules("sub", `{"reject":null}`)}, "firewall-drops"},
		{"a chain that leads to itself", []string{drops, sub, rules("in", jump), rules("sub", jump)}, "firewall-drops"},
		{"the other direction", []string{accepts, outDrops}, "firewall-drops"},
		{"no rules of nft", []string{`{"rule":5}`}, ""},
	} {
		checkCodes(t, c.name, judge(nftables(c.rules), "home"), c.want)
	}
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte(`{"nftables":[` + fmt.Sprintf(in, "drop") + "," + sub + "," + rules("in", ct+","+jump) + `]}`))
	f.Fuzz(func(_ *testing.T, b []byte) { judge(b, "home") })
}

func TestWhatAFirewallDropsOfWhatIsForwarded(t *testing.T) {
	const policy = `{"chain":{"family":"inet","table":"f","name":"in","type":"filter","hook":"forward","policy":%q}}`
	drops, accepts := fmt.Sprintf(policy, "drop"), fmt.Sprintf(policy, "accept")
	oif := `{"match":{"op":"==","left":{"meta":{"key":"oifname"}},"right":"lan0"}}`
	home := fmt.Sprintf(iif, `"home"`)
	back := fmt.Sprintf(iif, `"lan0"`)
	for _, c := range []struct {
		name  string
		rules []string
		want  string // codes
	}{
		{"nothing", nil, ""},
		{"accepts", []string{accepts}, ""},
		{"drops all", []string{drops}, "firewall-drops firewall-drops"},
		{"accepts one direction", []string{drops, rules("in", home+","+oif+","+accept)}, "firewall-drops"},
		{"accepts one direction, and its answers", []string{drops, rules("in", ct+","+accept, home+","+oif+","+accept)}, ""},
		{"accepts both", []string{drops, rules("in", home+","+accept, back+","+accept)}, ""},
		{"drops what leaves for the LAN", []string{accepts, rules("in", oif+","+drop)}, "firewall-drops"},
		{"is about what comes in only", []string{fmt.Sprintf(in, "drop")}, ""},
	} {
		checkCodes(t, c.name, judgeForward(nftables(c.rules), "home", "lan0"), c.want)
	}
}
