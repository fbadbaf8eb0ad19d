//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/fixture"
)

func TestTincUsage(t *testing.T) {
	for _, c := range []struct {
		args, out, err string
		status         int
	}{
		{"--version", "tinc version 1.1", "", 0},
		{"--version foo", "tinc version 1.1", "", 0},
		{"--help", "Usage: tinc", "", 0},
		{"HELP", "Usage: tinc", "", 0},
		{"--bogus", "", "tinc: unrecognized option '--bogus'\nTry `tinc --help' for more information.\n", 1},
		{"-n", "", "tinc: option requires an argument -- 'n'\nTry `tinc --help' for more information.\n", 1},
		{"bogus", "", "Unknown command `bogus'.\nTry `tinc --help' for more information.\n", 1},
		{"version x", "", "Too many arguments!\n", 1},
		{"network a/b", "", "Invalid character in netname!\n", 1},
	} {
		got := run(t, "", "tinc", strings.Fields(c.args)...)
		if got.status != c.status || !strings.HasPrefix(got.out, c.out) || !strings.Contains(got.err, c.err) {
			t.Errorf("tinc %s: %+v", c.args, got)
		}
	}
}

func TestTincOptionForms(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	for _, args := range []string{"-c DIR get Name", "-cDIR Get name", "--config=DIR get Name", "--conf DIR -- get Name", "-b --force -c DIR config Name"} {
		if got := run(t, "", "tinc", strings.Fields(strings.ReplaceAll(args, "DIR", dir))...).must(t).out; got != "alpha\n" {
			t.Errorf("%s printed %q", args, got)
		}
	}
	// The directory wins over the network, and tinc says so.
	if got := run(t, "", "tinc", "-n", "foo", "-c", dir, "get", "Name").must(t); got.out != "alpha\n" || !strings.Contains(got.err, "using the latter") {
		t.Errorf("got %+v", got)
	}
}

func TestTincInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	tinc := func(args ...string) outcome { return run(t, "", "tinc", append([]string{"-c", dir}, args...)...) }
	tinc("init").refused(t, "No Name given!")
	tinc("init", "foo-bar").refused(t)
	tinc("init", "a", "b").refused(t, "Too many arguments!")
	if got := tinc("init", "alpha").must(t); got.out != "" {
		t.Errorf("init printed %q", got.out)
	}
	if got := read(t, dir, "tinc.conf"); got != "Name = alpha\n" {
		t.Errorf("tinc.conf: %q", got)
	}
	for path, mode := range map[string]os.FileMode{"ed25519_key.priv": 0o600, "rsa_key.priv": 0o600, "tinc-up": 0o755, "hosts/alpha": 0o644, "cache": 0o755} {
		if info, err := os.Stat(filepath.Join(dir, path)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
	tinc("init", "alpha").refused(t)

	// A directory that cannot be made is an error, which tinc forgets to say.
	fixture.Put(t, filepath.Join(dir, "file"), "")
	run(t, "", "tinc", "-c", filepath.Join(dir, "file", "x"), "init", "alpha").refused(t)
}

func TestTincKeys(t *testing.T) {
	dir := t.TempDir()
	tinc := func(args ...string) outcome { return run(t, "", "tinc", append([]string{"-c", dir}, args...)...) }
	// Without a Name the public key goes to a file of its own.
	tinc("generate-ed25519-keys").must(t)
	if got := read(t, dir, "ed25519_key.pub"); !strings.HasPrefix(got, "Ed25519PublicKey = ") {
		t.Errorf("ed25519_key.pub: %q", got)
	}
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "Port = 1\n")
	tinc("generate-ed25519-keys").must(t)
	first := read(t, dir, "hosts/alpha")
	tinc("generate-ed25519-keys").must(t)
	tinc("generate-ed25519-keys", "5").refused(t, "Too many arguments!")
	second := read(t, dir, "hosts/alpha")
	if !strings.HasPrefix(second, strings.Replace(first, "\nEd", "\n#Ed", 1)) || strings.Count(second, "\nEd25519PublicKey") != 1 {
		t.Errorf("hosts/alpha was\n%s and became\n%s", first, second)
	}
	if got := read(t, dir, "ed25519_key.priv"); strings.Count(got, "\n-----BEGIN") != 1 || strings.Count(got, "#-----BEGIN") != 2 {
		t.Errorf("private keys:\n%s", got)
	}
}

// TestTincRSAKeys follows what tinc 1.1 did with the same commands.
func TestTincRSAKeys(t *testing.T) {
	dir := t.TempDir()
	tinc := func(args ...string) outcome { return run(t, "", "tinc", append([]string{"-c", dir}, args...)...) }
	for _, c := range []struct{ bits, said string }{
		{"1023", "Invalid key size 1016 specified! It should be between 1024 and 8192 bits.\n"},
		{"1000", "Invalid key size 1000 specified!"},
		{"9000", "Invalid key size 9000 specified!"},
		{"foo", "Invalid key size 0 specified!"},
	} {
		tinc("generate-rsa-keys", c.bits).refused(t, c.said)
		tinc("generate-keys", c.bits).refused(t, c.said)
	}
	tinc("generate-rsa-keys", "1024", "2").refused(t, "Too many arguments!")

	// Without a Name the public key goes to a file of its own.
	got := tinc("generate-keys").must(t)
	if got.out != "" || !strings.Contains(got.err, "Generating 2048 bits keys:\n") || !strings.Contains(got.err, "Done.\nGenerating Ed25519 key pair:\nDone.\n") {
		t.Errorf("generate-keys: %+v", got)
	}
	for path, begin := range map[string]string{
		"rsa_key.priv":     "-----BEGIN RSA PRIVATE KEY-----\n",
		"rsa_key.pub":      "-----BEGIN RSA PUBLIC KEY-----\n",
		"ed25519_key.priv": "-----BEGIN ED25519 PRIVATE KEY-----\n",
		"ed25519_key.pub":  "Ed25519PublicKey = ",
	} {
		if got := read(t, dir, path); !strings.HasPrefix(got, begin) {
			t.Errorf("%s: %q", path, got)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "rsa_key.priv")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("rsa_key.priv: %v, %v", info.Mode(), err)
	}

	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "PublicKey = ABCD\nPort = 1\n"+read(t, dir, "rsa_key.pub")+"Subnet = 10.0.0.1")
	got = tinc("generate-rsa-keys", "1031").must(t)
	if !strings.Contains(got.err, "WARNING: generating a weak 1024 bits RSA key! 2048 or more bits are recommended.\n") ||
		strings.Count(got.err, "old key(s) found and disabled") != 2 {
		t.Errorf("generate-rsa-keys: %+v", got)
	}
	lines := strings.Split(read(t, dir, "hosts/alpha"), "\n")
	if lines[0] != "#PublicKey = ABCD" || lines[1] != "Port = 1" || lines[2] != "#-----BEGIN RSA PUBLIC KEY-----" || lines[9] != "#-----END RSA PUBLIC KEY-----" ||
		lines[10] != "Subnet = 10.0.0.1" || lines[11] != "-----BEGIN RSA PUBLIC KEY-----" || lines[15] != "-----END RSA PUBLIC KEY-----" {
		t.Errorf("hosts/alpha: %q", lines)
	}
	// What was written is what a node finds.
	l, _ := confdir.Place{Conf: dir}.Layout()
	n, _, err := confdir.Load(l, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := n.RSAPrivateKey()
	if err != nil || n.Own.RSAKey == nil || !n.Own.RSAKey.Equal(key.Public()) || key.Public().Bits() != 1024 {
		t.Errorf("the new key: %v", err)
	}
}

func TestTincExportAndImport(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "Port = 1\n")
	tinc := func(stdin string, args ...string) outcome {
		return run(t, stdin, "tinc", append([]string{"-c", dir}, args...)...)
	}
	if got := tinc("", "export").must(t).out; got != "Name = alpha\nPort = 1\n" {
		t.Errorf("export printed %q", got)
	}
	tinc("", "import").refused(t, "No host configuration files imported.")
	tinc("junk\nName = beta\nPort = 2\nName=gamma\n", "import").must(t)
	if got := read(t, dir, "hosts/beta"); got != "Port = 2\n" {
		t.Errorf("beta: %q", got)
	}
	tinc("Name = beta\nPort = 3\n", "import").refused(t, "skipping")
	tinc("Name = beta\nPort = 3\n", "--force", "import").must(t)
	tinc("Name = delta\nName = ../x\n", "import").refused(t)
	if _, err := os.Stat(filepath.Join(dir, "hosts/delta")); err != nil {
		t.Error("what stood before the bad name was not imported")
	}
	if got := tinc("", "export-all").must(t).out; strings.Count(got, "Name = ") != 4 || strings.Count(got, "\n\n#-----") != 3 {
		t.Errorf("export-all printed %s", got)
	}
}

func TestTincStartAndStop(t *testing.T) {
	dir, _ := network(t)
	tinc := func(args ...string) outcome { return run(t, "", "tinc", append([]string{"-c", dir}, args...)...) }
	if got := tinc("-b", "--force", "start", "-d1").must(t); !strings.Contains(got.err, "NOTICE  Ready\n") || got.out != "" {
		t.Errorf("start: %+v", got)
	}
	pid := strings.TrimSpace(tinc("pid").must(t).out)
	if got := tinc("start").must(t); !strings.Contains(got.err, "A tincd is already running with pid "+pid+".") {
		t.Errorf("second start: %+v", got)
	}
	if got := tinc("debug", "3").must(t); got.err != "Old level 1, new level 3.\n" {
		t.Errorf("debug: %+v", got)
	}
	tinc("reload").must(t)
	tinc("purge").must(t)
	tinc("restart").must(t)
	if again := strings.TrimSpace(tinc("pid").must(t).out); again == pid {
		t.Error("restart did not start a new daemon")
	}
	tinc("stop").must(t)
	tinc("stop").refused(t, "Could not open pid file "+dir+"/pid: No such file or directory\n")

	tinc("start", "--bogus").refused(t, "tincd: unrecognized option '--bogus'\n", "Error starting tincd\n")
	tinc("start", "-o", "Mode=x").refused(t, "Mode = x: ", "Error starting tincd\n")
}

func TestTincInviteAndJoin(t *testing.T) {
	alice, _ := network(t)
	up(t, alice)
	run(t, "", "tinc", "-c", alice, "invite").refused(t, "Not enough arguments!")
	run(t, "", "tinc", "-c", alice, "invite", "a-b").refused(t)
	run(t, "", "tinc", "-c", alice, "invite", "alice").refused(t)
	fixture.Put(t, filepath.Join(alice, "invitation-created"), "#!/bin/sh\necho \"$NODE $NAME\"\necho \"$INVITATION_URL\" > \"$INVITATION_FILE.seen\"\n")
	os.Chmod(filepath.Join(alice, "invitation-created"), 0o755)
	url := run(t, "", "tinc", "-c", alice, "invite", "bob").must(t)
	if strings.Count(url.out, "\n") != 1 || !strings.Contains(url.err, "bob alice\n") {
		t.Fatalf("invite: %+v", url)
	}
	bob := filepath.Join(t.TempDir(), "bob")
	got := run(t, url.out, "tinc", "-c", bob, "join").must(t)
	if got.out != "" || !strings.Contains(got.err, "Configuration stored in: "+bob+"\n") {
		t.Errorf("join: %+v", got)
	}
	// As with tinc, there is an RSA key too.
	if private := read(t, bob, "rsa_key.priv"); !strings.HasPrefix(private, "-----BEGIN RSA PRIVATE KEY-----\n") || !strings.Contains(read(t, bob, "hosts/bob"), "-----BEGIN RSA PUBLIC KEY-----\n") {
		t.Errorf("there is no RSA key in %s", bob)
	}
	run(t, "", "tinc", "-c", bob, "join", "x", "y").refused(t, "Too many arguments!")
}
