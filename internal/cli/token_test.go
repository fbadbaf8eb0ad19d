//go:build linux

package cli_test

import (
	"bufio"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/members"
)

// In a signed network a token is an invitation with many uses, at every member that is told it.
func TestATokenMakesMembers(t *testing.T) {
	tmp := t.TempDir()
	tincan := func(name string, args ...string) outcome {
		t.Helper()
		return run(t, "", "tincan", append([]string{"-c", filepath.Join(tmp, name)}, args...)...)
	}
	// serve runs a boot node and returns its address.
	serve := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(filepath.Join(bin, "tincan"), append([]string{"-c", filepath.Join(tmp, name), "bootnode", "--binding", "127.0.0.1:0"}, args...)...)
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		lines, text := bufio.NewScanner(said), ""
		for lines.Scan() {
			if text += lines.Text() + "\n"; strings.Contains(lines.Text(), "up --join ") {
				_, url, _ := strings.Cut(text, "up --join ")
				go io.Copy(io.Discard, said)
				return strings.Trim(strings.Fields(url)[0], "'")
			}
		}
		t.Fatalf("%s does not serve: %s", name, text)
		return ""
	}
	join := func(name, token, url string) outcome {
		return tincan(name, "gen", "--name", name, "--token", token, "--port", freePort(), "--timeout", "10s", url)
	}
	look := func() members.View { return into[members.View](t, tincan("alice", "members", "--json").must(t)) }

	port := freePort()
	tincan("alice", "gen", "--standalone", "--name", "alice", "--port", port, "-a", "127.0.0.1", "--prefix", "10.9.0.0/16").must(t)
	tincan("alice", "set", "DeviceType", "dummy").must(t)
	up(t, filepath.Join(tmp, "alice"))
	one := strings.TrimSpace(tincan("alice", "token", "new", "--uses", "2", "--label", "two").must(t).out)
	many := strings.TrimSpace(tincan("alice", "token", "new", "--uses", "-1", "--expires", "0").must(t).out)
	url := serve("alice", "--token", "of a person")
	for _, name := range []string{"bob", "carol"} {
		join(name, one, url).must(t)
		m := memberNamed(t, look(), name)
		if m.By != "alice" || m.Invitation == "" || len(m.Subnets) != 1 || !strings.HasPrefix(m.Subnets[0], "10.9.") {
			t.Errorf("%+v", m)
		}
		if conf := read(t, tmp, name, "tinc.conf"); !strings.Contains(conf, "NetworkID = "+look().Network+"\n") {
			t.Errorf("%s: %s", name, conf)
		}
	}
	join("dave", one, url).refused(t, "used up")
	join("dave", "wrong", url).refused(t, "the token is not accepted")
	join("dave", "of a person", url).must(t)
	memberNamed(t, look(), "dave")

	// Another member serves with the same token, and without an owner's key.
	tincan("bob", "set", "DeviceType", "dummy").must(t)
	up(t, filepath.Join(tmp, "bob"))
	eventually(t, "bob has stored the roster", func() bool { return tincan("bob", "roster", "show").status == 0 })
	tincan("bob", "token", "new").refused(t, "this node may not make a token", "hint: on a machine with an owner's key")
	at := serve("bob", "--token", many)
	join("eve", many, at).must(t)
	eventually(t, "alice has heard of eve", func() bool {
		for _, m := range look().Members {
			if m.Name == "eve" {
				return m.By == "bob"
			}
		}
		return false
	})

	// Tokens do not end by themselves, and that is not said as a time of the year 1.
	if o := tincan("alice", "dump", "invitations", "--json").must(t).out; strings.Contains(o, `"expires"`) || !strings.Contains(o, `"expired"`) {
		t.Errorf("%s", o)
	}

	// Whoever is removed does not come back with a token, and a token that is withdrawn is void everywhere.
	tincan("alice", "remove", "carol").must(t)
	eventually(t, "bob has stored that", func() bool { return strings.Contains(tincan("bob", "roster", "log").out, "removed: carol") })
	tincan("carol", "gen", "--force", "--name", "carol", "--token", many, "--port", freePort(), at).refused(t, "removed from the network")
	for _, i := range look().Invitations {
		if i.Uses > 2 && i.Used == 1 && i.By == "alice" {
			tincan("alice", "remove", i.Fingerprint).must(t)
			eventually(t, "bob has stored that", func() bool { return !strings.Contains(tincan("bob", "dump", "invitations").out, i.Fingerprint) })
		}
	}
	join("frank", many, at).refused(t, "the token was withdrawn")
	memberNamed(t, look(), "eve") // stays
	if got := tincan("alice", "token", "revoke", "two").must(t).err; !strings.HasPrefix(got, "revoked") {
		t.Error(got)
	}
}
