package check

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
	"tincan/internal/keys"
)

var rsaKeys = sync.OnceValue(func() map[int]*keys.RSAPrivateKey {
	m := make(map[int]*keys.RSAPrivateKey)
	for _, bits := range []int{1024, 2048} {
		k, err := keys.GenerateRSA(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		m[bits] = k
	}
	return m
})

func privatePEM(t *testing.T, bits int) string {
	t.Helper()
	text, err := rsaKeys()[bits].MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func publicPEM(bits int) string { return string(rsaKeys()[bits].Public().MarshalPEM()) }

var ed = keys.FromSeed([32]byte{1})

// files are those of a network; what ends with .priv is kept secret, and scripts
// are executable.
type files map[string]string

func (f files) with(more files) files {
	all := files{}
	for _, m := range []files{f, more} {
		for name, text := range m {
			all[name] = text
		}
	}
	return all
}

func (f files) directory(t *testing.T) confdir.Layout {
	t.Helper()
	dir := t.TempDir()
	for name, text := range f {
		if text == "" {
			continue
		}
		mode := fs.FileMode(0o644)
		switch {
		case strings.HasSuffix(name, ".priv"):
			mode = 0o600
		case strings.HasPrefix(text, "#!"):
			mode = 0o755
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	l, err := confdir.Place{Conf: dir}.Layout()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// old is a directory of tinc 1.0.
func old(t *testing.T) files {
	return files{
		"tinc.conf":    "Name = alpha\nConnectTo = beta\n",
		"hosts/alpha":  "Subnet = 10.0.0.1\n" + publicPEM(2048),
		"hosts/beta":   "Address = 192.0.2.2\n" + publicPEM(2048),
		"rsa_key.priv": privatePEM(t, 2048),
		"tinc-up":      "#!/bin/sh\nip addr add 10.0.0.1/24 dev $INTERFACE\n",
	}
}

func TestWhatBecomesOfADirectory(t *testing.T) {
	modern := files{
		"ed25519_key.priv": string(keys.MarshalPrivatePEM(ed)),
		"hosts/alpha":      "Ed25519PublicKey = " + ed.Public().String() + "\n",
		"hosts/beta":       "Ed25519PublicKey = " + keys.FromSeed([32]byte{2}).Public().String() + "\n" + publicPEM(2048),
	}
	for name, c := range map[string]struct {
		files  files
		level  Level  // of the finding that has want
		want   string // "where: text"
		breaks int
		speaks string
		peers  Peers
	}{
		"a node of tinc 1.0":         {nil, Note, "ed25519_key.priv: there is no Ed25519 key", 0, "1.0", Peers{Legacy: 1}},
		"AutoConnect is new":         {nil, Note, "tincan, as tinc 1.1, keeps about three connections", 0, "1.0", Peers{Legacy: 1}},
		"settings that stay":         {nil, OK, "these work as they are: ConnectTo, Name, Subnet", 0, "1.0", Peers{Legacy: 1}},
		"scripts":                    {nil, OK, "these are run as before, with the same variables: tinc-up", 0, "1.0", Peers{Legacy: 1}},
		"a peer":                     {nil, OK, "beta is reached by the protocol of tinc 1.0", 0, "1.0", Peers{Legacy: 1}},
		"a node of tinc 1.1":         {modern, OK, "beta is reached by the protocol of tinc 1.1", 0, "1.1 1.0", Peers{Modern: 1}},
		"a modern node, no RSA key":  {modern.with(files{"rsa_key.priv": ""}), Note, "there is no RSA key", 0, "1.1", Peers{Modern: 1}},
		"experimental is off":        {modern.with(files{"tinc.conf": "Name = alpha\nExperimentalProtocol = no\n"}), Note, "ed25519_key.priv: it is not used", 0, "1.0", Peers{Legacy: 1}},
		"no key at all":              {files{"rsa_key.priv": ""}, Breaks, "ed25519_key.priv: no such file or directory", 1, "", Peers{Unknown: 1}},
		"another key is published":   {modern.with(files{"hosts/alpha": "Ed25519PublicKey = " + keys.FromSeed([32]byte{3}).Public().String() + "\n"}), Breaks, "hosts/alpha: its Ed25519 public key does not belong", 1, "1.1 1.0", Peers{Modern: 1}},
		"another RSA key":            {files{"hosts/alpha": publicPEM(1024)}, Breaks, "hosts/alpha: its RSA public key does not belong", 1, "1.0", Peers{Legacy: 1}},
		"a short key of our own":     {modern.with(files{"rsa_key.priv": privatePEM(t, 1024)}), Breaks, "rsa_key.priv: this RSA key has only 1024 bits", 1, "1.1", Peers{Modern: 1}},
		"a short key that is named":  {files{"tinc.conf": "Name = alpha\nShortRSAKeys = yes\n", "rsa_key.priv": privatePEM(t, 1024), "hosts/alpha": publicPEM(1024)}, Weak, "rsa_key.priv: the RSA key has only 1024 bits", 0, "1.0", Peers{Legacy: 1}},
		"a short key of a peer":      {files{"hosts/beta": publicPEM(1024)}, Breaks, "hosts/beta: beta has an RSA key of only 1024 bits", 1, "1.0", Peers{Legacy: 1}},
		"it is named there":          {files{"hosts/beta": "ShortRSAKeys = yes\n" + publicPEM(1024)}, Weak, "hosts/beta: beta has an RSA key of only 1024 bits", 0, "1.0", Peers{Legacy: 1}},
		"a peer without key":         {files{"hosts/beta": "Port = 1\n"}, Note, "hosts/beta: ConnectTo names it, but there is no key", 0, "1.0", Peers{Unknown: 1}},
		"a peer without host file":   {files{"hosts/beta": ""}, Note, "ConnectTo names beta, which has no usable host file", 0, "1.0", Peers{}},
		"a VDE switch":               {files{"tinc.conf": "Name = alpha\nDeviceType = vde\n"}, Breaks, "tinc.conf:2: DeviceType = vde", 1, "1.0", Peers{Legacy: 1}},
		"two things at once":         {files{"tinc.conf": "Name = alpha\nMode = bus\nDeviceType = uml\n"}, Breaks, "tinc.conf:3: DeviceType = uml", 2, "1.0", Peers{Legacy: 1}},
		"a proxy":                    {files{"tinc.conf": "Name = alpha\nProxy = http proxy 3128\n"}, OK, "these work as they are: Name, Proxy, Subnet", 0, "1.0", Peers{Legacy: 1}},
		"a graph file":               {files{"tinc.conf": "Name = alpha\nGraphDumpFile = g\n"}, OK, "these work as they are: GraphDumpFile, Name, Subnet", 0, "1.0", Peers{Legacy: 1}},
		"a flag of old kernels":      {files{"tinc.conf": "Name = alpha\nIffOneQueue = yes\n"}, Note, "tinc.conf:2: IffOneQueue = yes has no effect", 0, "1.0", Peers{Legacy: 1}},
		"a broken proxy":             {files{"tinc.conf": "Name = alpha\nProxy = http proxy\n"}, Breaks, "tinc.conf:2: Proxy: write http HOST PORT", 1, "1.0", Peers{Legacy: 1}},
		"a default that is repeated": {files{"tinc.conf": "Name = alpha\nDeviceStandby = no\n"}, OK, "these work as they are: DeviceStandby, Name, Subnet", 0, "1.0", Peers{Legacy: 1}},
		"an unknown variable":        {files{"tinc.conf": "Name = alpha\nFoo = 1\n"}, Note, "tinc.conf:2: Foo is not a variable of any tinc", 0, "1.0", Peers{Legacy: 1}},
		"a bad number":               {files{"tinc.conf": "Name = alpha\nPingTimeout = x\n"}, Breaks, "tinc.conf:2: PingTimeout = x: write a number of seconds", 1, "1.0", Peers{Legacy: 1}},
		"an unknown cipher":          {files{"tinc.conf": "Name = alpha\nCipher = camellia-256-cbc\n"}, Breaks, "tinc.conf:2: Cipher = camellia-256-cbc: the cipher", 1, "1.0", Peers{Legacy: 1}},
		"a weak cipher":              {files{"hosts/alpha": "Cipher = blowfish\n" + publicPEM(2048)}, Weak, "Cipher = blowfish is weak; this is used", 0, "1.0", Peers{Legacy: 1}},
		"a weak cipher of a peer":    {files{"hosts/beta": "Cipher = none\n" + publicPEM(2048)}, Weak, "hosts/beta: Cipher = none means that packets are not encrypted", 0, "1.0", Peers{Legacy: 1}},
		"an unknown one of a peer":   {files{"hosts/beta": "Cipher = cast5-cbc\n" + publicPEM(2048)}, Note, "hosts/beta: Cipher = cast5-cbc: packets to beta go over TCP", 0, "1.0", Peers{Legacy: 1}},
		"a script and tinctop":       {files{"host-up": "#!/bin/sh\ntinctop home\n"}, Note, "host-up: it calls tinctop", 0, "1.0", Peers{Legacy: 1}},
		"a script and tinc dump":     {files{"host-up": "#!/bin/sh\ntinc -n net dump nodes\n"}, OK, "these are run as before, with the same variables: tinc-up, host-up", 0, "1.0", Peers{Legacy: 1}},
		"a script without x":         {files{"host-up": "echo\n"}, Note, "host-up: it is not executable", 0, "1.0", Peers{Legacy: 1}},
		"no tinc-up":                 {files{"tinc-up": ""}, Note, "there is no tinc-up script, so the interface gets no address", 0, "1.0", Peers{Legacy: 1}},
		"a host file of no node":     {files{"hosts/gw.example.org": publicPEM(2048)}, Note, `hosts/gw.example.org: "gw.example.org" is not a valid name of a node`, 0, "1.0", Peers{Legacy: 1}},
		"one with dashes":            {files{"hosts/fff-gw-m1": publicPEM(2048)}, Note, `hosts/fff-gw-m1: "fff-gw-m1" is not a valid name of a node`, 0, "1.0", Peers{Legacy: 1}},
		"a misspelt word of a peer":  {files{"hosts/beta": "Adress = 192.0.2.1\n" + publicPEM(2048)}, Note, "hosts/beta:1: Adress is not a variable", 0, "1.0", Peers{Legacy: 1}},
		"a script of Windows":        {files{"host-up": "#!/bin/sh\r\ntrue\r\n"}, Note, "host-up: its lines end with CR LF", 0, "1.0", Peers{Legacy: 1}},
		"a byte order mark":          {files{"tinc.conf": "\ufeffName = alpha\n"}, Note, "tinc.conf: this file begins with a byte order mark", 0, "1.0", Peers{Legacy: 1}},
		"broken lines of a peer":     {files{"hosts/beta": "Subnet = x\n" + publicPEM(2048)}, Note, "hosts/beta:1: Subnet = x", 0, "1.0", Peers{Legacy: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			l := old(t).with(c.files).directory(t)
			before := contents(t, l.ConfBase)
			r, err := Directory(l)
			if err != nil {
				t.Fatal(err)
			}
			found := slices.ContainsFunc(r.Findings, func(f Finding) bool {
				text := f.Text
				if f.Where != "" {
					text = f.Where + ": " + text
				}
				return f.Level == c.level && strings.HasPrefix(text, c.want)
			})
			if !found || r.Breaks != c.breaks || strings.Join(r.Speaks, " ") != c.speaks || r.Peers != c.peers {
				t.Errorf("no %q in %+v", c.want, r)
			}
			if after := contents(t, l.ConfBase); after != before {
				t.Errorf("something was changed:\n%s\n%s", before, after)
			}
			for _, f := range r.Findings {
				if strings.Contains(f.Where+f.Text+f.Advice, l.ConfBase) {
					t.Errorf("a whole path in %+v", f)
				}
			}
		})
	}
}

// contents is all there is in a directory.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		b.WriteString(path + " " + info.Mode().String() + " " + info.ModTime().String() + " " + string(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDirectoriesWithoutANode(t *testing.T) {
	for name, f := range map[string]files{
		"empty":    {"hosts/a": "Port = 1\n"},
		"no Name":  {"tinc.conf": "Port = 1\n"},
		"bad Name": {"tinc.conf": "Name = a-b\n"},
	} {
		if r, err := Directory(f.directory(t)); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestWhatMattersMostComesFirst(t *testing.T) {
	r, err := Directory(old(t).with(files{"tinc.conf": "Name = alpha\nFoo = 1\nCipher = none\nMode = bus\n"}).directory(t))
	if err != nil {
		t.Fatal(err)
	}
	var settings []Level
	for _, f := range r.Findings {
		if f.Part == Settings {
			settings = append(settings, f.Level)
		}
	}
	if len(settings) < 4 || settings[0] != Breaks || settings[1] != Weak || settings[2] != Note || settings[len(settings)-1] != OK {
		t.Errorf("%v", settings)
	}
	if !r.Unusable {
		t.Error("it would start")
	}
}
