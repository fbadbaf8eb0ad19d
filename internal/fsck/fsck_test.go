package fsck

import (
	"crypto/rand"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/generate"
	"tincan/internal/keys"
)

var rsaKeys = sync.OnceValue(func() (both [2]*keys.RSAPrivateKey) {
	for i := range both {
		k, err := keys.GenerateRSA(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		both[i] = k
	}
	return both
})

// tree makes the directory of a node as init does it, with the RSA key i.
func tree(t *testing.T, dir string, i int) confdir.Layout {
	t.Helper()
	l, err := confdir.Place{Conf: dir}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (generate.Node{Layout: l, Name: "alpha", Port: 655, RSA: rsaKeys()[i]}).Create(); err != nil {
		t.Fatal(err)
	}
	return l
}

// broken is a tree with a fault, and how to make one more fault in it.
type broken struct {
	t   *testing.T
	dir string
}

func (b broken) path(name string) string { return filepath.Join(b.dir, name) }

func (b broken) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b broken) write(name, text string) {
	b.must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	b.must(os.WriteFile(b.path(name), []byte(text), 0o644))
}

func (b broken) add(name, text string) {
	old, err := os.ReadFile(b.path(name))
	b.must(err)
	b.write(name, string(old)+text)
}

func (b broken) remove(name ...string) {
	for _, n := range name {
		b.must(os.RemoveAll(b.path(n)))
	}
}

func (b broken) mode(name string, m fs.FileMode) { b.must(os.Chmod(b.path(name), m)) }

// without removes lines of hosts/alpha: those of a block, or that begin so.
func (b broken) without(begin string) {
	old, err := os.ReadFile(b.path("hosts/alpha"))
	b.must(err)
	var kept strings.Builder
	inside := false
	for line := range strings.Lines(string(old)) {
		inside = inside || strings.HasPrefix(line, begin) && strings.HasPrefix(begin, "-----BEGIN")
		if !inside && !strings.HasPrefix(line, begin) {
			kept.WriteString(line)
		}
		inside = inside && !strings.HasPrefix(line, "-----END")
	}
	b.write("hosts/alpha", kept.String())
}

// steal takes the private keys of another node.
func (b broken) steal(names ...string) {
	other := b.t.TempDir()
	tree(b.t, other, 1)
	for _, n := range names {
		text, err := os.ReadFile(filepath.Join(other, n))
		b.must(err)
		b.must(os.WriteFile(b.path(n), text, 0o600))
	}
}

// TestFaults follows the samples of the real fsck: the same faults, and of the
// lines that it printed those that begin with ERROR, WARNING and so on. left is
// true where something stays an error. Where we find more than tinc does, more
// says what.
func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		spoil    func(broken)
		lines    []string // in any order; DIR is the directory
		more     []string
		left     bool
		fixed    []string // what --force says in addition
		mendable bool     // by --force
	}{
		"clean":   {func(broken) {}, nil, nil, false, nil, true},
		"no Name": {func(b broken) { b.write("tinc.conf", "") }, []string{"Could not find Name in DIR/tinc.conf.", "ERROR: tinc cannot run without a valid Name."}, nil, true, nil, false},
		"bad Name": {func(b broken) { b.write("tinc.conf", "Name = a-b\n") },
			[]string{"Invalid name for myself", "ERROR: tinc cannot run without a valid Name."}, nil, true, nil, false},
		"no tinc.conf": {func(b broken) { b.remove("tinc.conf") },
			[]string{"ERROR: cannot read DIR/tinc.conf: No such file or directory", "No tinc configuration found. Create a new one with:\n\ntinc init", "ERROR: tinc cannot run without a valid Name."}, nil, true, nil, false},
		"valueless variable": {func(b broken) { b.add("tinc.conf", "Mode\n") },
			[]string{"No value for variable `Mode' on line 2 while reading config file DIR/tinc.conf"}, nil, true, nil, false},
		"no host file": {func(b broken) { b.remove("hosts/alpha") },
			[]string{"Cannot open config file DIR/hosts/alpha: No such file or directory"},
			[]string{"WARNING: No (usable) public RSA key found.", "WARNING: No (usable) public Ed25519 key found."}, true, nil, false},
		"no RSA private key": {func(b broken) { b.remove("rsa_key.priv") },
			[]string{"Error reading RSA private key file `DIR/rsa_key.priv': No such file or directory", "Create an RSA key pair with `tinc generate-rsa-keys'.", "WARNING: A public RSA key was found but no private key is known."}, nil, false, nil, true},
		"no Ed25519 private key": {func(b broken) { b.remove("ed25519_key.priv") },
			[]string{"Error reading Ed25519 private key file `DIR/ed25519_key.priv': No such file or directory", "Create an Ed25519 key pair with `tinc generate-ed25519-keys'.", "WARNING: A public Ed25519 key was found but no private key is known."}, nil, false, nil, true},
		"no private key": {func(b broken) { b.remove("rsa_key.priv", "ed25519_key.priv") },
			[]string{"Error reading Ed25519 private key file", "Error reading RSA private key file", "ERROR: Neither RSA or Ed25519 private key found.", "tinc generate-keys"}, nil, true, nil, false},
		"no Ed25519 public key": {func(b broken) { b.without("Ed25519PublicKey") },
			[]string{"WARNING: No (usable) public Ed25519 key found."}, nil, false, []string{"Wrote Ed25519 public key to DIR/hosts/alpha."}, true},
		"no RSA key at all": {func(b broken) { b.remove("rsa_key.priv"); b.without("-----BEGIN") }, nil, nil, false, nil, true},
		"no RSA key where it should be": {func(b broken) {
			b.remove("rsa_key.priv")
			b.without("-----BEGIN")
			b.add("tinc.conf", "PrivateKeyFile = rsa_key.priv\n")
		}, []string{"Error reading RSA private key file `DIR/rsa_key.priv': No such file or directory"}, nil, false, nil, true},
		"no RSA public key": {func(b broken) { b.without("-----BEGIN") },
			[]string{"WARNING: No (usable) public RSA key found."}, nil, false, []string{"Wrote RSA public key to DIR/hosts/alpha."}, true},
		"no public keys": {func(b broken) { b.write("hosts/alpha", "") },
			[]string{"WARNING: No (usable) public RSA key found.", "WARNING: No (usable) public Ed25519 key found."}, nil, false, []string{"Wrote RSA public key to DIR/hosts/alpha.", "Wrote Ed25519 public key to DIR/hosts/alpha."}, true},
		"another Ed25519 key": {func(b broken) { b.steal("ed25519_key.priv") },
			[]string{"ERROR: public and private Ed25519 keys do not match."}, nil, true, []string{"old key(s) found and disabled.", "Wrote Ed25519 public key to DIR/hosts/alpha."}, true},
		"another RSA key": {func(b broken) { b.steal("rsa_key.priv") },
			[]string{"ERROR: public and private RSA keys do not match."}, nil, true, []string{"old key(s) found and disabled.", "Wrote RSA public key to DIR/hosts/alpha."}, true},
		"others may read the keys": {func(b broken) { b.mode("ed25519_key.priv", 0o644); b.mode("rsa_key.priv", 0o640) },
			[]string{"WARNING: unsafe file permissions on DIR/ed25519_key.priv.", "WARNING: unsafe file permissions on DIR/rsa_key.priv."}, nil, false,
			[]string{"Fixed permissions of DIR/ed25519_key.priv.", "Fixed permissions of DIR/rsa_key.priv."}, true},
		"junk for an Ed25519 key": {func(b broken) { b.write("ed25519_key.priv", "junk\n"); b.mode("ed25519_key.priv", 0o600) },
			[]string{"Reading Ed25519 private key file `DIR/ed25519_key.priv' failed", "WARNING: A public Ed25519 key was found but no private key is known."}, nil, false, nil, true},
		"junk for an RSA key": {func(b broken) { b.write("rsa_key.priv", "junk\n"); b.mode("rsa_key.priv", 0o600) },
			[]string{"Reading RSA private key file `DIR/rsa_key.priv' failed", "WARNING: A public RSA key was found but no private key is known."}, nil, false, nil, true},
		"a script that is not executable": {func(b broken) { b.mode("tinc-up", 0o644) },
			[]string{"WARNING: cannot read and execute DIR/tinc-up: Permission denied"}, nil, false, nil, true},
		"unknown scripts": {func(b broken) {
			for _, s := range []string{"foo-up", "bar-down", "subnet-up", "invitation-up", "hosts/alpha-up", "hosts/zeta-down"} {
				b.write(s, "")
			}
		}, []string{"WARNING: Unknown script DIR/foo-up found.", "WARNING: Unknown script DIR/bar-down found.", "WARNING: Unknown script DIR/invitation-up found.", "The only scripts in DIR executed by tinc are:\n",
			"WARNING: cannot read and execute DIR/subnet-up: Permission denied", "WARNING: cannot read and execute DIR/hosts/alpha-up: Permission denied", "WARNING: cannot read and execute DIR/hosts/zeta-down: Permission denied"}, nil, false, nil, false},
		"variables out of place": {func(b broken) {
			b.add("tinc.conf", "Subnet = 10.0.0.0/8\nPort = 5\nGraphDumpFile = /x\nUnknown = 4\nMode = router\nMode = router\nConnectTo = a\nConnectTo = b\nCompression = 3\n")
			b.without("-----BEGIN")
			b.without("Ed25519")
			b.add("hosts/alpha", "Mode = hub\nPort = 5\nPort = 6\nBogus = 1\n")
			b.write("hosts/beta", "Device = x\nPort = 1\nPort = 2\n")
			b.write("hosts/not-a-name", "Device = x\n")
		}, []string{
			"WARNING: obsolete variable GraphDumpFile in DIR/tinc.conf line 4",
			"WARNING: host variable Port found in server config DIR/tinc.conf line 3",
			"WARNING: host variable Subnet found in server config DIR/tinc.conf line 2",
			"WARNING: multiple instances of variable Mode in tinc.conf",
			"WARNING: server variable Device found in host config DIR/hosts/beta line 1",
			"WARNING: multiple instances of variable Port in beta",
			"WARNING: server variable Mode found in host config DIR/hosts/alpha line ",
			"WARNING: multiple instances of variable Port in alpha",
		}, []string{"WARNING: unknown variable Unknown in DIR/tinc.conf line 5", "WARNING: unknown variable Bogus in DIR/hosts/alpha line "}, false, nil, false},
		"bad values": {func(b broken) { b.add("tinc.conf", "Mode = x\nPingTimeout = y\n") },
			nil, []string{"ERROR: DIR/tinc.conf:2: Mode = x: write one of", "ERROR: DIR/tinc.conf:3: PingTimeout = y: "}, true, nil, false},
		"the same in conf.d": {func(b broken) { b.write("conf.d/a.conf", "Mode = router\n"); b.add("tinc.conf", "Mode = router\n") },
			[]string{"WARNING: multiple instances of variable Mode in tinc.conf"}, nil, false, nil, false},
		"no hosts": {func(b broken) { b.remove("hosts") },
			[]string{"Cannot open config file DIR/hosts/alpha: No such file or directory", "ERROR: cannot read directory DIR/hosts: No such file or directory"}, nil, true, nil, false},
		"another host file is broken": {func(b broken) { b.write("hosts/beta", "Port\n") },
			[]string{"No value for variable `Port' on line 1 while reading config file DIR/hosts/beta"}, nil, false, nil, false},
		"a key that no file can fix": {func(b broken) {
			b.without("Ed25519")
			b.add("tinc.conf", "Ed25519PublicKey = "+keys.FromSeed([32]byte{7}).Public().String()+"\n")
		}, []string{"ERROR: public and private Ed25519 keys do not match."}, nil, true, []string{"ERROR: the node still does not use that key"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := broken{t, t.TempDir()}
			l := tree(t, b.dir, 0)
			b.mode("tinc-up", 0o755)
			c.spoil(b)

			before := contents(t, b.dir)
			said, good := run(l, false)
			if good == c.left {
				t.Errorf("returned %v after:\n%s", good, said)
			}
			want := slices.Concat(c.lines, c.more)
			for _, line := range want {
				if !strings.Contains(said, strings.ReplaceAll(line, "DIR", b.dir)) {
					t.Errorf("%q is missing in:\n%s", line, said)
				}
			}
			if len(want) == 0 && said != "" {
				t.Errorf("found %s", said)
			}
			if after := contents(t, b.dir); after != before {
				t.Errorf("the files were changed without being asked:\n%s\n%s", before, after)
			}

			forced, good := run(l, true)
			for _, line := range slices.Concat(want, c.fixed) {
				if !strings.Contains(forced, strings.ReplaceAll(line, "DIR", b.dir)) {
					t.Errorf("with force %q is missing in:\n%s", line, forced)
				}
			}
			if good != c.mendable && c.left {
				t.Errorf("with force: returned %v after:\n%s", good, forced)
			}
			if len(c.fixed) > 0 && c.mendable {
				if again, good := run(l, false); !good || again != "" {
					t.Errorf("it was not fixed:\n%s", again)
				}
			}
		})
	}
}

func run(l confdir.Layout, fix bool) (said string, good bool) {
	var b strings.Builder
	c := Checker{
		Layout: l, Say: func(line string) { b.WriteString(line + "\n") }, Fix: func() bool { return fix },
		Command: func(name string) string { return "tinc " + name },
	}
	good = c.Run()
	return b.String(), good
}

// contents are the names, modes and texts below dir.
func contents(t *testing.T, dir string) string {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		b.WriteString(path + " " + info.Mode().String() + "\n")
		if e.Type().IsRegular() {
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
