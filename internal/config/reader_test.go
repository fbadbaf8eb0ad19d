package config

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func reader(lines ...string) *Reader {
	entries, _, err := Parse("f", []byte(strings.Join(lines, "\n")))
	if err != nil {
		panic(err)
	}
	return &Reader{Pool: NewPool(entries...)}
}

func TestReader(t *testing.T) {
	boolean := func(name string) func(*Reader) any { return func(r *Reader) any { return r.Bool(name) } }
	integer := func(name string) func(*Reader) any { return func(r *Reader) any { return r.Int(name) } }
	duration := func(name string) func(*Reader) any { return func(r *Reader) any { return r.Duration(name) } }
	word := func(name string) func(*Reader) any {
		return func(r *Reader) any { return mustFind(name).Words[r.choice(name)] }
	}
	for _, c := range []struct {
		name, line string
		get        func(*Reader) any
		want       any
		problem    string // whether a warning or not
	}{
		{"bool", "AutoConnect = No", boolean("AutoConnect"), false, ""},
		{"bool missing", "", boolean("AutoConnect"), true, ""},
		{"bad bool keeps the default", "AutoConnect = maybe", boolean("AutoConnect"), true, `f:1: AutoConnect = maybe: write "yes" or "no"`},
		{"int", "LogLevel = 3", integer("LogLevel"), 3, ""},
		{"what follows the digits does not vanish", "LogLevel = 3 # c", integer("LogLevel"), 0, "f:1: LogLevel = 3 # c: write a whole number"},
		{"signs", "Weight = -4", integer("Weight"), -4, ""},
		{"not a number", "LogLevel = += 3", integer("LogLevel"), 0, "f:1: LogLevel = += 3: write a whole number"},
		{"too large", "LogLevel = 99999999999", integer("LogLevel"), 0, "f:1: LogLevel = 99999999999: this number is too large"},
		{"below its limit", "MaxTimeout = 0", integer("MaxTimeout"), 900, "f:1: MaxTimeout = 0: must be 1 or more"},
		{"out of its range", "Compression = 99", integer("Compression"), 0, "f:1: Compression = 99: write a number from 0 to 12"},
		{"at its upper limit", "ReplayWindow = 65536", integer("ReplayWindow"), 65536, ""},
		{"above its limit", "ReplayWindow = 65537", integer("ReplayWindow"), 65536, "f:1: ReplayWindow = 65537: that is too much; 65536 is taken"},
		{"negative buffer", "UDPRcvBuf = -1", integer("UDPRcvBuf"), 7340032, "f:1: UDPRcvBuf = -1: must be 0 or more"},
		{"seconds", "KeyExpire = 60", duration("KeyExpire"), time.Minute, ""},
		{"seconds with their unit", "KeyExpire = 60s", duration("KeyExpire"), time.Minute, ""},
		{"minutes", "PingInterval = 1m", duration("PingInterval"), time.Minute, ""},
		{"hours", "InvitationExpire = 1h", duration("InvitationExpire"), time.Hour, ""},
		{"days", "InvitationExpire = 7d", duration("InvitationExpire"), 7 * 24 * time.Hour, ""},
		{"hours and minutes", "KeyExpire = 1h30m", duration("KeyExpire"), 90 * time.Minute, ""},
		{"a unit that is none", "KeyExpire = 1w", duration("KeyExpire"), time.Hour, "f:1: KeyExpire = 1w: write a number of seconds, or a time with units such as 90s, 5m, 1h or 7d"},
		{"a blank before the unit", "KeyExpire = 1 h", duration("KeyExpire"), time.Hour, "f:1: KeyExpire = 1 h: write a number of seconds, or a time with units such as 90s, 5m, 1h or 7d"},
		{"more seconds than there are", "KeyExpire = 99999d", duration("KeyExpire"), time.Hour, "f:1: KeyExpire = 99999d: this number is too large"},
		{"megabytes", "UDPRcvBuf = 7M", integer("UDPRcvBuf"), 7340032, ""},
		{"kilobytes", "UDPSndBuf = 512k", integer("UDPSndBuf"), 524288, ""},
		{"a size in hours", "UDPSndBuf = 5h", integer("UDPSndBuf"), 7340032, "f:1: UDPSndBuf = 5h: write a number of bytes, or a size with a unit such as 512k or 7M"},
		{"a plain number has no unit", "LogLevel = 1k", integer("LogLevel"), 0, "f:1: LogLevel = 1k: write a whole number"},
		{"word in any case", "AddressFamily = IPv4", word("AddressFamily"), "ipv4", ""},
		{"wrong word", "AddressFamily = foo", word("AddressFamily"), "any", "f:1: AddressFamily = foo: write one of any, ipv4, ipv6"},
		{"mistyped word", "Mode = swich", word("Mode"), "router", `f:1: Mode = swich: write one of router, switch, hub; did you mean "switch"?`},
		{"not supported", "DeviceType = vde", word("DeviceType"), "tun", "f:1: DeviceType = vde: Unknown device type vde; not supported: User Mode Linux and VDE switches can be reached through a tap interface in a bridge, or a raw_socket"},
		{"list skips what is wrong", "Address = a\nAddress = a b c\nAddress = b 1", func(r *Reader) any { return fmt.Sprint(List(r, "Address", ParseAddress)) }, "[a b 1]", `f:2: Address = a b c: write "HOST" or "HOST PORT"`},
		{"list that loses all", "Ifconfig = nowhere", func(r *Reader) any { return len(List(r, "Ifconfig", parseIfconfig)) }, 0, "f:1: Ifconfig = nowhere: write an address with its prefix length, such as 10.1.0.1/16"},
		{"relative path", "Ed25519PrivateKeyFile = k", func(r *Reader) any { return r.Path("Ed25519PrivateKeyFile", "/n") }, "/n/k", ""},
		{"absolute path", "Ed25519PrivateKeyFile = /k", func(r *Reader) any { return r.Path("Ed25519PrivateKeyFile", "/n") }, "/k", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reader(c.line)
			if got := c.get(r); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			problems := append(r.Pool.Wrong(), r.Warnings()...)
			if got := fmt.Sprint(problems); c.problem == "" && got != "[]" || c.problem != "" && got != "["+c.problem+"]" {
				t.Errorf("problems %v, want %q", got, c.problem)
			}
			for _, p := range problems {
				if variable, _, _ := strings.Cut(c.line, " "); p.Variable != variable {
					t.Errorf("the problem is about %q, want %q", p.Variable, variable)
				}
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"192.0.2.1", "192.0.2.1"}, {"192.0.2.1 655", "192.0.2.1 655"}, {"vpn.example  443", "vpn.example 443"},
		{"2001:db8::1 https", "2001:db8::1 https"}, {"[2001:db8::1] 1", "2001:db8::1 1"}, {"* 65535", "* 65535"},
	} {
		if a, err := ParseAddress(c.text); err != nil || a.String() != c.want {
			t.Errorf("%q: %v, %v", c.text, a, err)
		}
	}
	for _, text := range []string{"", " 1", "a b c", "a b/c", "a 99999999999999", "* 65536"} {
		if a, err := ParseAddress(text); err == nil {
			t.Errorf("%q was read as %v", text, a)
		}
	}
}

func TestParseRoute(t *testing.T) {
	for text, want := range map[string]string{
		"10.2.0.0/16":          "{10.2.0.0/16 invalid IP}",
		"10.2.0.0/16 10.1.0.1": "{10.2.0.0/16 10.1.0.1}",
		"fd00::/8 fd00::1":     "{fd00::/8 fd00::1}",
		"10.2.0.1":             "{10.2.0.1/32 invalid IP}",
	} {
		if r, err := parseRoute(text); err != nil || fmt.Sprint(r) != want {
			t.Errorf("%q: %v, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "x", "10.2.0.1/16", "10.2.0.0/16 fd00::1", "10.2.0.0/16 a", "10.0.0.0/8 10.1.0.1 x"} {
		if r, err := parseRoute(text); err == nil {
			t.Errorf("%q was read as %v", text, r)
		}
	}
}

func TestRoutesThatMustNotBe(t *testing.T) {
	for p, want := range map[string]bool{
		"10.1.0.0/16": true, "fd00:1::/32": true, "192.0.2.1/32": true, "0.0.0.0/1": false, "128.0.0.0/1": false, "2000::/3": false,
		"0.0.0.0/0": false, "::/0": false, "127.0.0.0/8": false, "224.0.0.0/4": false, "ff00::/8": false,
		"fe80::/64": false, "169.254.0.0/16": false,
	} {
		if err := Routable(netip.MustParsePrefix(p)); (err == nil) != want {
			t.Errorf("%s: %v", p, err)
		}
	}
	if Routable(netip.Prefix{}) == nil {
		t.Error("a prefix that is none may be routed")
	}
}
