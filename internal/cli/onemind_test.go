//go:build linux

package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/config"
	"tincan/internal/fixture"
)

// wrongValue is what no variable of a kind can have.
var wrongValue = map[config.Kind]string{
	config.Bool: "maybe", config.Int: "many", config.Seconds: "1w", config.Bytes: "7G", config.Word: "swich",
	config.NodeName: "a-b", config.SelfName: "a-b", config.Net: "10.0.0.1/24", config.Endpoint: "a b c", config.Port: "abc",
	config.PublicKey: "short", config.NetInterface: "a/b", config.InterfaceAddress: "nowhere", config.NetRoute: "10.0.0.1/8",
	config.ViaRoute: "0.0.0.0/0 bob",
	config.ProxyUse: "socks6 hunter2 1", config.CipherName: "rot13", config.DigestName: "crc32", config.DomainName: "a..b",
	config.AliasName:   "web",
	config.ServiceName: "_http bob 80",
	config.CarrierUse:  "wss://vpn.example.org/hunter2", config.CarrierPlace: "443", config.SiteUse: "http://?",
	config.CarrierList: "udp, pigeons",
}

// Whatever set and add refuse, check, a reload and the start refuse too, in the same words.
func TestAllAreOfOneMindAboutAWrongValue(t *testing.T) {
	dir, _ := network(t)
	up(t, dir)
	tincan := func(args ...string) outcome {
		t.Helper()
		return run(t, "", "tincan", append([]string{"-c", dir}, args...)...)
	}
	files := map[string]string{"tinc.conf": read(t, dir, "tinc.conf"), "hosts/alice": read(t, dir, "hosts/alice")}
	other := t.TempDir() // a node that does not run
	fixture.Put(t, filepath.Join(other, "tinc.conf"), files["tinc.conf"])
	fixture.Put(t, filepath.Join(other, "hosts/bob"), "")
	checked := 0
	for _, v := range config.Variables() {
		value, ok := wrongValue[v.Kind]
		if v.Kind == config.Text || v.Kind == config.Path || v.Effect == config.Never {
			continue // anything will do
		}
		if !ok {
			t.Errorf("%s: this test has no wrong value for its kind", v.Name)
			continue
		}
		checked++
		why := v.Check(value)
		if why == nil {
			t.Errorf("%s = %s is taken", v.Name, value)
			continue
		}
		want := v.Name + " = " + value + ": " + why.Error()
		if v.Secret() {
			want = v.Name + ": " + why.Error()
		}
		if !v.Is(config.Unlisted | config.Obsolete) {
			tincan("set", v.Name, value).refused(t, want, "hint: to write it nevertheless: tincan -c "+dir+" set --force "+v.Name)
			tincan("add", v.Name, value).refused(t, want)
			if v.Is(config.HostFile) {
				run(t, "", "tincan", "-c", other, "set", "bob."+v.Name, value).refused(t, want)
			}
		}
		for file, text := range files {
			if got := read(t, dir, file); got != text {
				t.Fatalf("%s was changed by %s:\n%s", file, v.Name, got)
			}
		}

		file := "tinc.conf"
		if !v.Is(config.Server) {
			file = "hosts/alice"
		}
		bad := v.Name + " = " + value + "\n" + files[file] // what stands first counts
		fixture.Put(t, filepath.Join(dir, file), bad)
		if got := tincan("check"); got.status != 1 || !strings.Contains(got.out+got.err, want) {
			t.Errorf("check: %+v, want %q", got, want)
		}
		tincan("reload").refused(t, want)
		fixture.Put(t, filepath.Join(dir, file), files[file])

		for f, text := range files {
			fixture.Put(t, filepath.Join(other, f), text)
		}
		fixture.Put(t, filepath.Join(other, file), bad)
		run(t, "", "tincan", "-c", other, "up", "--pidfile", filepath.Join(other, "p")).refused(t, want)
	}
	if checked < 60 {
		t.Errorf("only %d variables were checked", checked)
	}
	tincan("reload").must(t)
	tincan("set", "--force", "Mode", "swich").must(t)
	tincan("del", "Mode").must(t)
}
