//go:build linux

package cli_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/fixture"
)

// TestSignAndVerify follows the samples of tinc 1.1.
func TestSignAndVerify(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "")
	run(t, "", "tinc", "-c", dir, "generate-ed25519-keys").must(t)
	signed := run(t, "hello\nworld", "tinc", "-c", dir, "sign").must(t).out
	head, data, _ := strings.Cut(signed, "\n")
	if words := strings.Fields(head); len(words) != 5 || words[0] != "Signature" || words[2] != "alpha" || len(words[4]) != 86 || data != "hello\nworld" {
		t.Fatalf("signed: %q", signed)
	}
	file, plain, forged, foreign := filepath.Join(dir, "f.sig"), filepath.Join(dir, "f"), filepath.Join(dir, "f3.sig"), filepath.Join(dir, "f4.sig")
	fixture.Put(t, file, signed)
	fixture.Put(t, plain, data)
	fixture.Put(t, forged, signed+"!")
	fixture.Put(t, foreign, strings.Replace(signed, "alpha", "gamma", 1))
	for _, c := range []struct {
		args   string
		refuse string // "" if it is good
	}{
		{"verify . f.sig", ""},
		{"verify alpha f.sig", ""},
		{"verify * f.sig", ""},
		{"verify beta f.sig", "Signature is not made by beta\n"},
		{"verify . f4.sig", "Signature is not made by alpha\n"},
		{"verify a-b f.sig", "Invalid node name\n"},
		{"verify", "Not enough arguments!\n"},
		{"verify . a b", "Too many arguments!\n"},
		{"verify . nofile", "Could not open DIR/nofile: No such file or directory\n"},
		{"verify . f", "Invalid input\n"},
		{"verify . f3.sig", "Invalid signature\n"},
		{"verify * f4.sig", "Could not open DIR/hosts/gamma: No such file or directory\n"},
		{"sign nofile", "Could not open DIR/nofile: No such file or directory\n"},
		{"sign a b", "Too many arguments!\n"},
	} {
		words := strings.Fields(c.args)
		if len(words) > 1 && !strings.Contains(c.args, " a b") {
			words[len(words)-1] = filepath.Join(dir, words[len(words)-1])
		}
		got := run(t, "", "tinc", append([]string{"-c", dir}, words...)...)
		if c.refuse == "" {
			if got.status != 0 || got.out != data || got.err != "" {
				t.Errorf("%s: %+v", c.args, got)
			}
			continue
		}
		if want := strings.ReplaceAll(c.refuse, "DIR", dir); got.status != 1 || got.out != "" || got.err != want {
			t.Errorf("%s: %+v, want %q", c.args, got, want)
		}
	}
	// From a pipe, and at the top level.
	if got := run(t, signed, "tinc", "-c", dir, "verify", ".").must(t).out; got != data {
		t.Errorf("verify printed %q", got)
	}
	if got := run(t, run(t, data, "tincan", "-c", dir, "sign").must(t).out, "tincan", "-c", dir, "verify", "alpha").must(t); got.out != data || !strings.Contains(got.err, "signed by alpha at 2") {
		t.Errorf("tincan verify: %+v", got)
	}
	run(t, signed, "tincan", "-c", dir, "verify", "beta").refused(t, "another node: alpha made it")
	run(t, data, "tincan", "-c", dir, "verify", "alpha").refused(t, "there is no signature")

	// Keys that cannot be used.
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "Port = 1\n")
	run(t, signed, "tinc", "-c", dir, "verify", ".").refused(t, "Could not read public key from "+dir+"/hosts/alpha")
	fixture.Put(t, filepath.Join(dir, "ed25519_key.priv"), "")
	run(t, data, "tinc", "-c", dir, "sign").refused(t, "Could not read private key from "+dir+"/ed25519_key.priv")
}

// TestEdit follows the samples of tinc 1.1, but for its two defects: a failing
// editor is an error, and an editor may have arguments.
func TestEdit(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	edit := func(visual, editor string, args ...string) outcome {
		t.Setenv("VISUAL", visual)
		t.Setenv("EDITOR", editor)
		return run(t, "", "tinc", append([]string{"-c", dir, "edit"}, args...)...)
	}
	for name, path := range map[string]string{
		"tinc.conf": "tinc.conf", "tinc-up": "tinc-up", "host-down": "host-down", "alpha": "hosts/alpha", "hosts/alpha": "hosts/alpha",
		"alpha-up": "hosts/alpha-up", "hosts/alpha-down": "hosts/alpha-down", "a.b": "hosts/a.b",
	} {
		if got := edit("", "echo EDIT:", name).must(t); got.out != "EDIT: "+filepath.Join(dir, path)+"\n" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	for _, name := range []string{"alpha-foo", "invitation-created", "../x", "hosts/../x", ".x", "hosts/", ""} {
		edit("", "echo", name).refused(t, "Invalid configuration filename.\n")
	}
	edit("", "echo").refused(t, "Invalid number of arguments.\n")
	edit("false", "echo", "tinc.conf").refused(t, "the editor (false) failed")
	if got := edit("printf '%s+' -x", "false", "tinc.conf").must(t); got.out != "-x+"+dir+"/tinc.conf+" {
		t.Errorf("printed %q", got.out)
	}
	if got := run(t, "", "tincan", "-c", dir, "edit", "tinc-up").must(t); got.out != "-x+"+dir+"/tinc-up+" {
		t.Errorf("tincan edit printed %q", got.out)
	}
	run(t, "", "tincan", "-c", dir, "edit", "a-b").refused(t, "not a file of a network", "hint: tinc.conf")
}

func TestEditRefusesWhatStopsTheNextStart(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tinc.conf")
	fixture.Put(t, file, "Name = alpha\n")
	t.Setenv("VISUAL", "")
	edit := func(editor string, options ...string) outcome {
		t.Setenv("EDITOR", editor)
		return run(t, "", "tincan", append([]string{"-c", dir, "edit", "tinc.conf"}, options...)...)
	}
	adding := func(line string) string { return `sh -c 'echo "` + line + `" >>"$1"' x` }
	got := edit(adding("Mode = swich"))
	got.refused(t, "tinc.conf:2: Mode = swich: write one of router, switch, hub", "stays as it was", "hint: what you wrote is in ")
	_, kept, _ := strings.Cut(got.err, "what you wrote is in ")
	kept, _, _ = strings.Cut(kept, ";")
	if text, err := os.ReadFile(kept); err != nil || string(text) != "Name = alpha\nMode = swich\n" {
		t.Errorf("%s has %q, %v", kept, text, err)
	}
	os.RemoveAll(filepath.Dir(kept))
	if text := read(t, dir, "tinc.conf"); text != "Name = alpha\n" {
		t.Errorf("tinc.conf is %q", text)
	}
	edit(adding("Mode = switch")).must(t)
	edit(adding("Compression = 99"), "--force").must(t)
	if text := read(t, dir, "tinc.conf"); text != "Name = alpha\nMode = switch\nCompression = 99\n" {
		t.Errorf("tinc.conf is %q", text)
	}
}

// TestShell follows the samples of tinc 1.1.
func TestShell(t *testing.T) {
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), "Port = 1\n")
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	shell := func(stdin string) outcome { return run(t, stdin, "tinc", "-c", dir) }
	for _, c := range []struct {
		in, out, err string
		status       int
	}{
		{"get Name\n", "alpha\n", "", 0},
		{"get Name", "alpha\n", "", 0},
		{"  get   Name\nCONFIG get name\n", "alpha\nalpha\n", "", 0},
		{"", "", "", 0},
		{"\n\n \nexit\nget Name\n", "", "", 0},
		{"QUIT\nget Name\n", "", "", 0},
		{"# get Name\nget Name\n", "alpha\n", "", 0},
		{" # x\n", "", "Unknown command `#'.\n", 1},
		{"version # x\n", "", "Too many arguments!\n", 1},
		{"foo\nget Name\nexit\n", "alpha\n", "Unknown command `foo'.\n", 1},
		{"  pid\n", "", "Could not open pid file " + dir + "/pid: No such file or directory\n", 1},
		{"dump invitations\n", "", "No outstanding invitations.\n", 0},
		{"set Mode hub\nget Mode\ndel Mode\n", "hub\n", "", 0},
		{"network a/b\n", "", "Invalid character in netname!\n", 1},
		{"import\nName = beta\nPort = 2\n", "", "Imported 1 host configuration files.\n", 0}, // it reads on
	} {
		if got := shell(c.in); got.out != c.out || got.err != c.err || got.status != c.status {
			t.Errorf("%q: %+v", c.in, got)
		}
	}
	// A network that the shell turns to is that of the following commands.
	if got := run(t, "network nosuch\nget Name\n", "tinc", "-c", dir); got.out != "" || !strings.Contains(got.err, "/etc/tinc/nosuch/tinc.conf") {
		t.Errorf("%+v", got)
	}
}

// TestExchange is what people do to make two nodes known to each other.
func TestExchange(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	for dir, name := range map[string]string{a: "alpha", b: "beta"} {
		fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = "+name+"\n")
		fixture.Put(t, filepath.Join(dir, "hosts", name), "Port = 1\n")
	}
	for _, program := range [][2]string{{"tinc", "tinc"}, {"tinc", "tincan"}} {
		os.Remove(filepath.Join(a, "hosts/beta"))
		os.Remove(filepath.Join(b, "hosts/alpha"))
		left := exec.Command(filepath.Join(bin, program[0]), "-c", a, "exchange")
		right := exec.Command(filepath.Join(bin, program[1]), "-c", b, "exchange")
		var err error
		if right.Stdin, err = left.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		if left.Stdin, err = right.StdoutPipe(); err != nil {
			t.Fatal(err)
		}
		for _, cmd := range []*exec.Cmd{left, right} {
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill()
		}
		for _, cmd := range []*exec.Cmd{left, right} {
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
		if read(t, a, "hosts/beta") != "Port = 1\n" || read(t, b, "hosts/alpha") != "Port = 1\n" {
			t.Errorf("%v did not exchange their files", program)
		}
	}
	fixture.Put(t, filepath.Join(a, "hosts/gamma"), "Port = 3\n")
	if got := run(t, "Name = delta\nPort = 4\n", "tinc", "-c", a, "exchange-all").must(t); strings.Count(got.out, "Name = ") != 3 {
		t.Errorf("exchange-all printed %s", got.out)
	}
	if got := run(t, "Name = epsilon\nPort = 5\n", "tincan", "-c", a, "exchange", "--all").must(t); strings.Count(got.out, "Name = ") != 4 {
		t.Errorf("exchange --all printed %s", got.out)
	}
	// What cannot be exported is not imported either.
	os.Remove(filepath.Join(a, "hosts/alpha"))
	run(t, "Name = zeta\n", "tinc", "-c", a, "exchange").refused(t, "Could not open configuration file "+a+"/hosts/alpha: No such file or directory")
	if _, err := os.Stat(filepath.Join(a, "hosts/zeta")); err == nil {
		t.Error("it was imported all the same")
	}
}

func TestFsckOfTinc(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "net")
	run(t, "", "tinc", "-c", dir, "fsck").refused(t, "No tinc configuration found. Create a new one with:\n\ntinc -c "+dir+" init\n", "ERROR: tinc cannot run without a valid Name.\n")
	run(t, "", "tinc", "-c", dir, "init", "alpha").must(t)
	if got := run(t, "", "tinc", "-c", dir, "fsck").must(t); got.out+got.err != "" {
		t.Errorf("said %+v", got)
	}
	run(t, "", "tinc", "-c", dir, "fsck", "x").refused(t, "Too many arguments!\n")
	if err := os.Chmod(filepath.Join(dir, "rsa_key.priv"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := run(t, "", "tinc", "-c", dir, "fsck").must(t); !strings.Contains(got.err, "WARNING: unsafe file permissions on "+dir+"/rsa_key.priv.\n") {
		t.Errorf("said %q", got.err)
	}
	if got := run(t, "", "tincan", "-c", dir, "check", "--fix").must(t); !strings.Contains(got.err, "Fixed permissions of "+dir+"/rsa_key.priv.\n") || strings.Contains(got.out, "Nothing was changed") {
		t.Errorf("check --fix: %+v", got)
	}
	if got := run(t, "", "tinc", "-c", dir, "fsck").must(t); got.err != "" {
		t.Errorf("it was not fixed: %q", got.err)
	}
}
