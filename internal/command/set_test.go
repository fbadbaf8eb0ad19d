package command

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/confdir"
)

// Each case is a conversation with the real program: commands, one after the
// other on the same network, and what they print or leave in the files.
func TestConversation(t *testing.T) {
	base := t.TempDir()
	l, err := confdir.Place{Conf: base}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{"tinc.conf": "Name = alpha\n", "hosts/alpha": "", "hosts/beta": "Port = 1"} {
		path = filepath.Join(base, path)
		os.MkdirAll(filepath.Dir(path), 0o755)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	verbs := map[string]Verb{"get": Get, "set": Set, "add": Add, "del": Del}
	for _, c := range []struct{ command, out, warning, err string }{
		{"get Name", "alpha", "", ""},
		{"get name", "alpha", "", ""},
		{"get", "", "", "no variable given"},
		{"get Subnet", "", "", "has no Subnet"},
		{"add Subnet 10.1.0.0/16", "", "", ""},
		{"add subnet 10.1.0.0/16", "", "", ""},
		{"add subnet 10.2.0.0/16#5", "", "", ""},
		{"get subnet", "10.1.0.0/16 10.2.0.0/16#5", "", ""},
		{"add Subnet 10.1.0.1/16", "", "", "has host bits set"},
		{"add Subnet foo", "", "", `subnet "foo"`},
		{"add Subnet", "", "", "no value for Subnet"},
		{"set Subnet 10.9.0.0/16", "", "removing Subnet = 10.1.0.0/16,removing Subnet = 10.2.0.0/16#5", ""},
		{"get Subnet", "10.9.0.0/16", "", ""},
		{"add Mode switch", "", "", ""},
		{"add Mode router", "", "removing Mode = switch", ""},
		{"set Mode hub", "", "", ""},
		{"get Mode", "hub", "", ""},
		{"get Nonexistent", "", "Nonexistent is not a known", "has no Nonexistent"},
		{"set Nonexistent 1", "", "", "--force"},
		{"set AutoConect no", "", "", "did you mean AutoConnect?"},
		{"set Mode swich", "", "", "Mode = swich: write one of router, switch, hub; did you mean \"switch\"?; use --force"},
		{"add KeyExpire 1w", "", "", "90s, 5m, 1h or 7d"},
		{"set Proxy socks5 p hunter2! bob hunter2", "", "", "Proxy: the port of the proxy"},
		{"!set Nonexistent 1", "", "Nonexistent is not a known", ""},
		{"del Nonexistent", "", "Nonexistent is not a known", ""},
		{"del Nonexistent", "", "Nonexistent is not a known", "has no such Nonexistent"},
		{"set PrivateKey abc", "", "", "obsolete variable; use --force"},
		{"!set PrivateKey abc", "", "obsolete", ""},
		{"del PrivateKey", "", "", ""},
		{"set alpha.Mode switch", "", "", "not a host configuration variable; use --force"},
		{"!set alpha.Mode switch", "", "not a host configuration variable", ""},
		{"del alpha.mode", "", "", ""},
		{"set gamma.Port 656", "", "", "no such file"},
		{"get gamma.Port", "", "", "no such file"},
		{"set Port=657", "", "", ""},
		{"set Port = 658", "", "", ""},
		{"get Port", "658", "", ""},
		{"get alpha.Port", "658", "", ""},
		{"get Port 659", "", "", ""},
		{"get Port", "659", "", ""},
		{"add ConnectTo beta", "", "", ""},
		{"set ConnectTo gamma delta", "", "", "ConnectTo = gamma delta: node name"},
		{"!set ConnectTo gamma delta", "", "ConnectTo = gamma delta: node name", ""},
		{"get ConnectTo", "gamma delta", "", ""},
		{"add ConnectTo beta", "", "", ""},
		{"add ConnectTo BETA", "", "", ""},
		{"del ConnectTo BETA", "", "", ""},
		{"get ConnectTo", "gamma delta", "", ""},
		{"set foo/bar.Port 1", "", "", "invalid name for node"},
		{"set .Port 1", "", "", "invalid name for node"},
		{"set alpha. 1", "", "", "no variable given"},
		{"set =1", "", "", "no variable given"},
		{"add Address 192.0.2.1 655", "", "", ""},
		{"set Cipher aes-128-cbc", "", "", ""},
		{"set alpha.Cipher none", "", "", ""},
		{"get Cipher", "aes-128-cbc", "", ""},
		{"get alpha.Cipher", "none", "", ""},
		{"set IFFoneQueue yes", "", "", ""},
		{"set DisableBuggyPeers yes", "", "", "--force"},
		{"set MinTimeout 5", "", "", "--force"},
		{"set beta.Port 2", "", "", ""},
	} {
		command, force := strings.CutPrefix(c.command, "!")
		verb, rest, _ := strings.Cut(command, " ")
		r, err := ParseSetting(verbs[verb], strings.Fields(rest))
		r.Force = force
		var res SettingResult
		if err == nil {
			res, err = r.Do(l)
		}
		if got := strings.Join(res.Values, " "); got != c.out {
			t.Errorf("%s: printed %q, want %q", c.command, got, c.out)
		}
		if got := strings.Join(res.Warnings, ","); c.warning == "" && got != "" || !strings.Contains(got, c.warning) {
			t.Errorf("%s: warnings %q, want %q", c.command, got, c.warning)
		}
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
			t.Errorf("%s: error %v, want %q", c.command, err, c.err)
		}
		if strings.Contains(c.err, "--force") && !errors.Is(err, ErrUnforced) {
			t.Errorf("%s: %v is no ErrUnforced", c.command, err)
		}
	}
	for path, want := range map[string]string{
		"tinc.conf":   "Name = alpha\nMode = hub\nConnectTo = gamma delta\nCipher = aes-128-cbc\nIffOneQueue = yes\n",
		"hosts/alpha": "Subnet = 10.9.0.0/16\nPort = 659\nAddress = 192.0.2.1 655\nCipher = none\n",
		"hosts/beta":  "Port = 2\n",
	} {
		if got, _ := os.ReadFile(filepath.Join(base, path)); string(got) != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

func TestNothingTwiceIsNoChange(t *testing.T) {
	l, _ := confdir.Place{Conf: t.TempDir()}.Layout()
	if err := os.WriteFile(l.TincConf(), []byte("Name = alpha\nMode = hub\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r, _ := ParseSetting(Set, []string{"Mode", "hub"})
	if res, err := r.Do(l); err != nil || res.Changed {
		t.Errorf("%+v, %v", res, err)
	}
	r, _ = ParseSetting(Set, []string{"Mode", "switch"})
	if res, err := r.Do(l); err != nil || !res.Changed {
		t.Errorf("%+v, %v", res, err)
	}
}
