package confdir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/config"
	"tincan/internal/fixture"
	"tincan/internal/route"
)

const someKey = "5E9PD5nFYM0+jKQpUtGCT3Q71rHiVVi7OgIXSqan2HM"

func load(t *testing.T, l Layout, options ...string) (*Network, string, error) {
	t.Helper()
	overrides, err := config.ParseOverrides(options)
	if err != nil {
		t.Fatal(err)
	}
	n, warnings, err := Load(l, overrides)
	var text []string
	for _, w := range warnings {
		text = append(text, strings.ReplaceAll(w.String(), l.ConfBase+"/", ""))
	}
	return n, strings.Join(text, "\n"), err
}

func TestLoad(t *testing.T) {
	l := tree(t,
		"tinc.conf\nName = alpha\nConnectTo = beta\nConnectTo = alpha\nIfconfig = 10.1.0.1/16\nPingTimeout = 90\n",
		"conf.d/x.conf\n\n\n\n\n\n\nConnectTo = gamma\n",
		"conf.d/.y.conf\nAutoConnect = no\n",
		"conf.d/.conf\nName = notread\n",
		"conf.d/x.off\nName = notread\n",
		"hosts/alpha\nPort = 7000\nSubnet = 10.1.0.1\nEd25519PublicKey = "+someKey+"\n",
		"hosts/beta\nAddress = 192.0.2.2\nAddress = vpn.example 443\nPort = 656\nSubnet = 10.2.0.1/24\nSubnet = 10.2.1.0/24\nEd25519PublicKey = "+someKey+"\nTCPOnly = yes\nWeight = 3\n",
		"hosts/gamma\nAddress = x\nPort\n",
		"hosts/delta\nEd25519PublicKey = short\n",
		"hosts/beta-up\nnot a host file\n",
	)
	n, warnings, err := load(t, l, "beta.PMTU=1400", "Beta.PMTU=1300")
	if err != nil {
		t.Fatal(err)
	}
	s := n.Settings
	if n.Name != "alpha" || s.Port != "7000" || s.AutoConnect || s.Broadcast != route.Tree || s.ReplayWindow != 4096 || s.PrivateKeyFile != l.PrivateKey() {
		t.Errorf("settings %+v", s)
	}
	if s.PingTimeout != time.Minute { // larger than the interval
		t.Errorf("PingTimeout %v", s.PingTimeout)
	}
	if got := fmt.Sprint(s.ConnectTo, s.Ifconfig, s.Subnets); got != "[beta gamma] [10.1.0.1/16] [10.1.0.1]" {
		t.Errorf("lists %v", got)
	}
	if n.Own.Key == nil || n.Own.Key.String() != someKey {
		t.Errorf("own host %+v", n.Own)
	}
	beta := n.Hosts["beta"]
	if got := fmt.Sprint(beta.Addresses, beta.Subnets, beta.PMTU, *beta.Weight, beta.IndirectData, beta.Key, beta.ModTime.IsZero()); got != "[192.0.2.2 656 vpn.example 443] [10.2.1.0/24] 1400 3 true "+someKey+" false" {
		t.Errorf("beta %v", got)
	}
	if delta, ok := n.Hosts["delta"]; !ok || delta.Key != nil {
		t.Errorf("delta %+v", delta)
	}
	if len(n.Hosts) != 2 {
		t.Errorf("hosts %v: gamma's file is broken and must make it unknown", n.Hosts)
	}
	for _, want := range []string{
		"tinc.conf:3: ConnectTo = alpha: that is this node itself",
		"hosts/beta:4: Subnet = 10.2.0.1/24: ",
		"hosts/gamma:2: no value for variable \"Port\"",
		"hosts/delta:1: Ed25519PublicKey = short: ",
	} {
		if strings.Count(warnings, want) != 1 {
			t.Errorf("no single warning %q in\n%s", want, warnings)
		}
	}
	if strings.Count(warnings, "\n") != 3 {
		t.Errorf("unexpected warnings:\n%s", warnings)
	}
}

func TestLoadRefuses(t *testing.T) {
	const conf = "tinc.conf\nName = alpha\n"
	for _, c := range []struct {
		name    string
		files   []string
		options []string
		want    string
	}{
		{"no tinc.conf", []string{"x\n"}, nil, "tinc.conf: no such file"},
		{"a broken tinc.conf", []string{conf + "Mode\n"}, nil, "tinc.conf:2: no value"},
		{"a broken part", []string{conf, "conf.d/.x.conf\nLogLevel\n"}, nil, "conf.d/.x.conf:1: no value"},
		{"a directory as part", []string{conf, "conf.d/x.conf/y\n"}, nil, "is a directory"},
		{"no name", []string{"tinc.conf\n#\n"}, nil, "tinc.conf: there is no Name"},
		{"a bad name", []string{"tinc.conf\nName = a-b\n"}, nil, "tinc.conf:1: Name = a-b: "},
		{"a name from nowhere", []string{"tinc.conf\nName = $TINCAN_NO_SUCH\n"}, nil, "no environment variable TINCAN_NO_SUCH"},
		{"a device that is not supported", []string{conf + "DeviceType = uml\n"}, nil, "tinc.conf:2: DeviceType = uml: Unknown device type uml; not supported: "},
		{"a bad ConnectTo", []string{conf + "ConnectTo = a-b\n"}, nil, "tinc.conf:2: ConnectTo = a-b: "},
		{"a bad own subnet", []string{conf, "hosts/alpha\nSubnet = 10.0.0.1/24\n"}, nil, "hosts/alpha:1: Subnet = 10.0.0.1/24: "},
		{"a bad option", []string{conf}, []string{"Port=1", "MaxTimeout=0"}, "command line option 2: MaxTimeout = 0: "},
		{"a port that this machine does not know", []string{conf, "hosts/alpha\nPort = no-such-service\n"}, nil, "hosts/alpha:1: Port = no-such-service: unknown service"},
		{"two mistakes are told at once", []string{conf + "Mode = x\nMaxTimeout = 0\n"}, nil, "tinc.conf:3: MaxTimeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, _, err := load(t, tree(t, c.files...), c.options...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestAFileWithoutEndIsNotReadToItsEnd(t *testing.T) {
	l := tree(t)
	if err := os.Symlink("/dev/zero", l.TincConf()); err != nil {
		t.Skip(err)
	}
	if _, _, err := load(t, l); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v", err)
	}
}

func TestOwnNameForms(t *testing.T) {
	host, _ := os.Hostname()
	t.Setenv("HOST", "")
	t.Setenv("FULL", "my-host.example")
	t.Setenv("NAMEX", "a-b.c")
	hostname = func() (string, error) { return "my-host.example", nil }
	if n, _, err := load(t, tree(t, "tinc.conf\nName = $HOST\n")); err != nil || n.Name != "my_host_example" {
		t.Errorf("of my-host.example tinc makes my_host_example, we %v, %v", n, err)
	}
	hostname = os.Hostname
	for _, c := range []struct{ option, want string }{
		{"Name=beta", "beta"},
		{"Name=$NAMEX", "a_b_c"},
		{"Name=$HOST", strings.NewReplacer("-", "_", ".", "_").Replace(host)},
		{"Name=$FULL", "my_host_example"},
	} {
		n, _, err := load(t, tree(t, "tinc.conf\nName = alpha\n"), c.option)
		if err != nil || string(n.Name) != c.want {
			t.Errorf("%s: %v, %v", c.option, n, err)
		}
	}
}

func TestOwnHostFileMayBeBroken(t *testing.T) {
	n, warnings, err := load(t, tree(t, "tinc.conf\nName = alpha\n", "hosts/alpha\nPort = 7\nMode\nWeight = 3\n"))
	if err != nil || n.Settings.Port != "7" || n.Settings.Weight != nil || !strings.HasPrefix(warnings, "hosts/alpha:2: ") {
		t.Errorf("%+v, %v, %v", n, warnings, err)
	}
	n, warnings, err = load(t, tree(t, "tinc.conf\nName = alpha\n", "hosts/x\n"))
	if err != nil || n.Settings.Port != "655" || !strings.HasPrefix(warnings, "hosts/alpha: no such file") {
		t.Errorf("%+v, %v, %v", n, warnings, err)
	}
}

func TestOptionsForOneHost(t *testing.T) {
	for _, c := range []struct {
		options []string
		want    string
	}{
		{[]string{"alpha.Port=7003"}, "7003"},
		{[]string{"Alpha.Port=7003"}, "7002"},
		{[]string{"alpha.port=7003", "Port=7004"}, "7003"},
		{[]string{"Port=7004", "alpha.port=7003"}, "7004"},
	} {
		n, _, err := load(t, tree(t, "tinc.conf\nName = alpha\n", "hosts/alpha\nPort = 7002\n"), c.options...)
		if err != nil || n.Settings.Port != c.want {
			t.Errorf("%v: %v, %v", c.options, n, err)
		}
	}
}

func TestLoadHost(t *testing.T) {
	l := tree(t, "hosts/beta\nSubnet = x\n-----BEGIN ED25519 PUBLIC KEY-----\n"+someKey+"\n-----END ED25519 PUBLIC KEY-----\n")
	h, _, err := LoadHost(l, "beta", nil)
	if err != nil || h.Key == nil || h.Key.String() != someKey {
		t.Errorf("%+v, %v", h, err)
	}
	if _, _, err := LoadHost(l, "gamma", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

func TestPrivateKey(t *testing.T) {
	l := tree(t, "tinc.conf\nName = alpha\n", "hosts/x\n", "ed25519_key.priv\n"+`-----BEGIN ED25519 PRIVATE KEY-----
4WSMeBZuiF8Xklw2MkBWyEZZa+P0/ttT80mrTAjAJ/lXDs960eZ7UHCM6TmmKg3e
LlWMeklTgKQ90SDrtVhKZgpYAWP1Vzdf4WSvbLRU4pzcwVeFlpOloomphCfxlA9B
-----END ED25519 PRIVATE KEY-----
`)
	n, _, err := load(t, l)
	if err != nil {
		t.Fatal(err)
	}
	k, warnings, err := n.PrivateKey()
	if err != nil || k.Public().String() != "YKGg1Td1c3Hul072SEFe6MHclXRZqTJKqZaowXcJQfA" || len(warnings) != 1 || !warnings[0].OpenKey {
		t.Errorf("%v, %v, %v", k, warnings, err)
	}
	if err := os.Chmod(l.PrivateKey(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, warnings, _ := n.PrivateKey(); len(warnings) != 0 {
		t.Errorf("a private file is called %v", warnings)
	}
	fixture.Put(t, l.PrivateKey(), "garbage")
	if _, _, err := n.PrivateKey(); err == nil || !strings.Contains(err.Error(), filepath.Base(l.PrivateKey())) {
		t.Errorf("garbage: %v", err)
	}
}

func TestInvalidNamesAreNoHosts(t *testing.T) {
	n, _, err := load(t, tree(t, "tinc.conf\nName = alpha\n", "hosts/alpha\n", "hosts/beta~\nX\n", "hosts/.beta\nX\n", "hosts/b.tmp\nX\n", "hosts/ok\nPort = 1\n"))
	if err != nil || len(n.Hosts) != 1 || !slices.Contains([]string{"ok"}, string(n.Hosts["ok"].Name)) {
		t.Errorf("%v, %v", n, err)
	}
}
