package config

import (
	"fmt"
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
	word := func(name string) func(*Reader) any { return func(r *Reader) any { return r.Word(name) } }
	for _, c := range []struct {
		name, line   string
		get          func(*Reader) any
		want         any
		warning, err string
	}{
		{"bool", "AutoConnect = No", boolean("AutoConnect"), false, "", ""},
		{"bool missing", "", boolean("AutoConnect"), true, "", ""},
		{"bad bool keeps the default", "AutoConnect = maybe", boolean("AutoConnect"), true, `f:1: AutoConnect = maybe: write "yes" or "no"`, ""},
		{"int", "LogLevel = 3", integer("LogLevel"), 3, "", ""},
		{"only the digits count", "LogLevel = 3 # c", integer("LogLevel"), 3, "", ""},
		{"signs", "Weight = -4", integer("Weight"), -4, "", ""},
		{"not a number", "LogLevel = += 3", integer("LogLevel"), 0, "f:1: LogLevel = += 3: write a whole number", ""},
		{"too large", "LogLevel = 99999999999", integer("LogLevel"), 0, "f:1: LogLevel = 99999999999: this number is too large", ""},
		{"below its limit, fatal", "MaxTimeout = 0", integer("MaxTimeout"), 900, "", "f:1: MaxTimeout = 0: must be 1 or more"},
		{"at its upper limit", "ReplayWindow = 65536", integer("ReplayWindow"), 65536, "", ""},
		{"above its limit", "ReplayWindow = 65537", integer("ReplayWindow"), 65536, "f:1: ReplayWindow = 65537: that is too much; 65536 is taken", ""},
		{"negative buffer, fatal", "UDPRcvBuf = -1", integer("UDPRcvBuf"), 7340032, "", "f:1: UDPRcvBuf = -1: must be 0 or more"},
		{"seconds", "KeyExpire = 60", func(r *Reader) any { return r.Duration("KeyExpire") }, time.Minute, "", ""},
		{"word in any case", "AddressFamily = IPv4", word("AddressFamily"), "ipv4", "", ""},
		{"wrong word", "AddressFamily = ipv9", word("AddressFamily"), "any", "", "f:1: AddressFamily = ipv9: write one of any, ipv4, ipv6"},
		{"comment behind a word", "Mode = router # c", word("Mode"), "router", "", "f:1: Mode = router # c: write one of router, switch, hub"},
		{"not supported", "DeviceType = vde", word("DeviceType"), "tun", "", "f:1: DeviceType = vde: Unknown device type vde; not supported: User Mode Linux and VDE switches can be reached through a tap interface in a bridge, or a raw_socket"},
		{"list skips what is wrong", "Address = a\nAddress = a b c\nAddress = b 1", func(r *Reader) any { return fmt.Sprint(List(r, "Address", ParseAddress)) }, "[a b 1]", `f:2: Address = a b c: write "HOST" or "HOST PORT"`, ""},
		{"list with a fatal mistake", "Ifconfig = nowhere", func(r *Reader) any { return len(List(r, "Ifconfig", parseIfconfig)) }, 0, "", "f:1: Ifconfig = nowhere: write an address with its prefix length, such as 10.1.0.1/16"},
		{"relative path", "Ed25519PrivateKeyFile = k", func(r *Reader) any { return r.Path("Ed25519PrivateKeyFile", "/n") }, "/n/k", "", ""},
		{"absolute path", "Ed25519PrivateKeyFile = /k", func(r *Reader) any { return r.Path("Ed25519PrivateKeyFile", "/n") }, "/k", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := reader(c.line)
			if got := c.get(r); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
			if got := fmt.Sprint(r.Warnings()); c.warning == "" && got != "[]" || c.warning != "" && got != "["+c.warning+"]" {
				t.Errorf("warnings %v, want %q", got, c.warning)
			}
			if err := r.Err(); c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
		})
	}
}

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"192.0.2.1", "192.0.2.1"}, {"192.0.2.1 655", "192.0.2.1 655"}, {"vpn.example  443", "vpn.example 443"},
		{"2001:db8::1 https", "2001:db8::1 https"}, {"[2001:db8::1] 1", "2001:db8::1 1"}, {"* 70000", "* 4464"},
	} {
		if a, err := ParseAddress(c.text); err != nil || a.String() != c.want {
			t.Errorf("%q: %v, %v", c.text, a, err)
		}
	}
	for _, text := range []string{"", " 1", "a b c", "a b/c", "a 99999999999999"} {
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
