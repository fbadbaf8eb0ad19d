package hostfile

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"os"
	"strings"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/node"
)

const edLine = "Ed25519PublicKey = "

func edKey(seed byte) string {
	return keys.FromSeed([32]byte{seed}).Public().String()
}

func rsaBlock(t testing.TB, bits int) string {
	t.Helper()
	if bits < 1024 {
		t.Setenv("GODEBUG", "rsa1024min=0")
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k.PublicKey)}))
}

func vpn() Policy {
	return Policy{
		Ranges: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16"), netip.MustParsePrefix("fd00:7::/64")},
		Taken: func(p netip.Prefix) (node.Name, bool) {
			return "alice", p.Overlaps(netip.MustParsePrefix("10.7.0.1/32"))
		},
	}
}

func TestGoodFilesAreStoredUnchanged(t *testing.T) {
	key := edLine + edKey(1) + "\n"
	for name, text := range map[string]string{
		"a tincan host file":      "Subnet = 10.7.0.2\nAddress = vpn.example.org 656\nPort = 656\n" + key,
		"comments and blanks":     "\n# Address of the house = by the sea\n" + key + "\n\n",
		"Windows line ends":       "Subnet = 10.7.0.2\r\n" + strings.TrimSpace(key) + "\r\n",
		"no newline at the end":   strings.TrimSpace(key),
		"every allowed variable":  key + "IndirectData = yes\nTCPOnly = no\nClampMSS = yes\nPMTU = 1400\nPMTUDiscovery = yes\nWeight = 3\nCompression = 0\nVersion = 7\n",
		"IPv6 and a weight":       key + "Subnet = fd00:7::2/128#5\nAddress = 2001:db8::1 655\n",
		"RSA and Ed25519":         key + rsaBlock(t, 2048),
		"case does not matter":    "subnet=10.7.0.2\nADDRESS = 192.0.2.1\n" + key,
		"an Ed25519 block":        string(keys.MarshalPublicPEM(keys.FromSeed([32]byte{1}).Public())),
		"a whole net behind node": key + "Subnet = 10.7.64.0/24\n",
	} {
		t.Run(name, func(t *testing.T) {
			clean, problems, err := Check("bob", []byte(text), vpn())
			if err != nil || len(problems) > 0 || string(clean) != text {
				t.Errorf("got %q, problems %q, error %v", clean, problems, err)
			}
		})
	}
}

func TestFilesOfTheOriginalPass(t *testing.T) {
	data, err := os.ReadFile("testdata/tinc-boot-files.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Files []struct{ Name, File string }
	}
	if err := json.Unmarshal(data, &vectors); err != nil || len(vectors.Files) == 0 {
		t.Fatal(err)
	}
	for _, v := range vectors.Files {
		clean, problems, err := Check(node.Name(v.Name), []byte(v.File), Policy{Ranges: []netip.Prefix{netip.MustParsePrefix("172.0.0.0/8")}})
		if err != nil || len(problems) > 0 || string(clean) != v.File {
			t.Errorf("%s: problems %q, error %v", v.Name, problems, err)
		}
		if _, rsaPEM := Key([]byte(v.File)); rsaPEM == nil {
			t.Errorf("%s: the RSA key was not found", v.Name)
		}
		if Public([]byte(v.File)) != strings.Contains(v.File, "\nAddress =") || len(Subnets([]byte(v.File))) != 1 {
			t.Errorf("%s: addresses or subnets were not read right", v.Name)
		}
	}
}

func TestHarmfulLinesAreLeftOut(t *testing.T) {
	key := edLine + edKey(1) + "\n"
	for name, line := range map[string]string{
		"a file of ours as a key":         "Ed25519PublicKeyFile = /etc/shadow\n",
		"the same for RSA":                "PublicKeyFile = /etc/shadow\n",
		"a weak cipher":                   "Cipher = none\n",
		"no authentication":               "MACLength = 0\n",
		"a weak digest":                   "Digest = none\n",
		"a variable of tinc.conf":         "ScriptsInterpreter = /bin/sh\n",
		"a variable that nobody knows":    "Colour = green\n",
		"an indented setting":             "   Weight = 3\n",
		"an address on this machine":      "Address = 127.0.0.1\n",
		"the same by its name":            "Address = LocalHost.\n",
		"a group of machines":             "Address = 224.0.0.1\n",
		"an address that is a command":    "Address = $(reboot)\n",
		"an address with a path":          "Address = example.org/x\n",
		"a second Port":                   "Port = 1\nPort = 2\n",
		"a line without a value":          "Weight =\n",
		"blanks, where tinc stops":        " \t\n",
		"an END without a BEGIN":          "-----END RSA PUBLIC KEY-----\n",
		"a block of an unknown kind":      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"a key of tinc 1.0's oldest form": "PublicKey = 1234\n",
	} {
		t.Run(name, func(t *testing.T) {
			clean, problems, err := Check("bob", []byte(key+line), vpn())
			if err != nil {
				t.Fatal(err)
			}
			if len(problems) != 1 {
				t.Errorf("problems: %q", problems)
			}
			if want := key; string(clean) != want && string(clean) != key+"Port = 1\n" {
				t.Errorf("stored %q", clean)
			}
		})
	}
}

func TestBadFilesAreRefused(t *testing.T) {
	key := edLine + edKey(1) + "\n"
	private := string(keys.MarshalPrivatePEM(keys.FromSeed([32]byte{1})))
	good := rsaBlock(t, 1024)
	for name, c := range map[string]struct{ text, want string }{
		"empty":                         {"", "no public key"},
		"no key":                        {"Subnet = 10.7.0.2\n", "no public key"},
		"binary":                        {key + "\xff\xfe", "not text"},
		"a zero byte":                   {key + "# \x00\n", "control character"},
		"a hidden line end":             {"# x\rSubnet = 0.0.0.0/0\n" + key, "control character"},
		"far too large":                 {key + strings.Repeat("#\n", MaxSize), "more than"},
		"a very long line":              {key + "#" + strings.Repeat("x", MaxLine) + "\n", "more than"},
		"two Ed25519 keys":              {key + string(keys.MarshalPublicPEM(keys.FromSeed([32]byte{2}).Public())), "two Ed25519 keys"},
		"two RSA keys":                  {good + good, "two RSA keys"},
		"a private key":                 {key + private, "private key"},
		"a key that is no point":        {edLine + strings.Repeat("A", 43) + "\n", "small order"},
		"half a key":                    {edLine + edKey(1)[:40] + "\n", "43 characters"},
		"a setting in front of a key":   {strings.Replace(good, "-----\n", "-----\nCipher = none\n-----BEGIN RSA PUBLIC KEY-----\n", 1), "something else"},
		"an END that only tinc sees":    {strings.Replace(good, "-----END", "-----ENDS\nCipher=none\n-----END", 1), "damaged"},
		"a CR that tinc keeps":          {key + "Port = 655\r", "control character"},
		"a CR beyond the last byte":     {key + "#" + strings.Repeat("x", MaxLine-1) + "\r\n", "more than"},
		"a small RSA key":               {rsaBlock(t, 768), "768 bits"},
		"a damaged RSA key":             {strings.Replace(good, "\n", "\n!!!!", 1), "damaged"},
		"a block without an end":        {key + "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n", "no end"},
		"settings inside of a key":      {"-----BEGIN ED25519 PUBLIC KEY-----\nSubnet = 0.0.0.0/0\n-----END ED25519 PUBLIC KEY-----\n", "ED25519"},
		"the default route":             {key + "Subnet = 0.0.0.0/0\n", "default route"},
		"half of it":                    {key + "Subnet = 128.0.0.0/1\n", "default route"},
		"the same for IPv6":             {key + "Subnet = 2000::/3\n", "default route"},
		"a foreign network":             {key + "Subnet = 8.8.8.8\n", "not one of this network"},
		"more than the network":         {key + "Subnet = 10.0.0.0/8\n", "not one of this network"},
		"somebody else's address":       {key + "Subnet = 10.7.0.1\n", "belongs to alice"},
		"a net with somebody's address": {key + "Subnet = 10.7.0.0/24\n", "belongs to alice"},
		"the loopback network":          {key + "Subnet = 127.0.0.0/8\n", "cannot be"},
		"a MAC address":                 {key + "Subnet = 00:11:22:33:44:55\n", "not one of this network"},
		"no subnet at all":              {key + "Subnet = here\n", "subnet"},
		"thousands of addresses":        {key + strings.Repeat("Address = 192.0.2.1\n", 600), "more than 16 addresses"},
		"too many subnets":              {key + strings.Repeat("Subnet = 10.7.0.2\n", 65), "more than 64 subnets"},
		"a bad port":                    {key + "Port = 1 2\n", "port"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Check("bob", []byte(c.text), vpn())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, it should tell about %q", err, c.want)
			}
		})
	}
}

func TestADefaultRouteMustBeAllowed(t *testing.T) {
	text := []byte(edLine + edKey(1) + "\nSubnet = 0.0.0.0/0\n")
	p := vpn()
	p.AllowWide, p.Taken = true, nil
	if _, problems, err := Check("bob", text, p); err != nil || len(problems) > 0 {
		t.Errorf("problems %q, error %v", problems, err)
	}
}

func TestCompare(t *testing.T) {
	one, two := edLine+edKey(1)+"\n", edLine+edKey(2)+"\n"
	r1, r2 := rsaBlock(t, 1024), rsaBlock(t, 1024)
	for name, c := range map[string]struct {
		known, offered string
		want           Difference
	}{
		"the same key":                    {one, "Port = 1\n" + one, Same},
		"the same key, as a block":        {one, string(keys.MarshalPublicPEM(keys.FromSeed([32]byte{1}).Public())), Same},
		"another key":                     {one, two, Changed},
		"another RSA key":                 {r1, r2, Changed},
		"another RSA key beside the same": {one + r1, one + r2, Changed},
		"an upgrade":                      {r1, r1 + one, Added},
		"no key was known":                {"Address = 192.0.2.1\n", one, Added},
		"a key is gone":                   {r1 + one, r1, Fewer},
		"all keys are gone":               {one, "Port = 1\n", Fewer},
		"RSA was exchanged for Ed25519":   {r1, one, Changed},
	} {
		if got := Compare([]byte(c.known), []byte(c.offered)); got != c.want {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
	}
}

func TestEquivalent(t *testing.T) {
	one, r := edLine+edKey(1)+"\n", rsaBlock(t, 1024)
	file := "Address = a 1\nAddress = b\nPort = 655\nSubnet = 10.7.0.0/24\n" + one + r
	for name, c := range map[string]struct {
		other string
		want  bool
	}{
		"itself":              {file, true},
		"another order":       {r + one + "Subnet = 10.7.0.0/24\nAddress = b\nPort = 655\nAddress = a 1\n", true},
		"comments and blanks": {"# mine\n\n" + strings.ReplaceAll(file, " = ", "=") + "\n", true},
		"another spelling":    {strings.Replace(strings.Replace(file, "Port", "PORT", 1), "Subnet = 10.7.0.0/24", "subnet = 10.7.0.0/24#10", 1), true},
		"lines of Windows":    {strings.ReplaceAll(file, "\n", "\r\n"), true},
		"the key as a block":  {strings.Replace(file, one, string(keys.MarshalPublicPEM(keys.FromSeed([32]byte{1}).Public())), 1), true},
		"a line twice":        {file + "Subnet = 10.7.0.0/24\nPort = 656\n", true},
		"another port":        {"Port = 656\n" + file, false},
		"an address more":     {file + "Address = c\n", false},
		"an address less":     {strings.Replace(file, "Address = b\n", "", 1), false},
		"another subnet":      {strings.Replace(file, "/24", "/25", 1), false},
		"another key":         {strings.Replace(file, edKey(1), edKey(2), 1), false},
		"without a key":       {strings.Replace(file, r, "", 1), false},
		"something unknown":   {file + "Colour = red\n", false},
	} {
		if Equivalent([]byte(file), []byte(c.other)) != c.want || Equivalent([]byte(c.other), []byte(file)) != c.want {
			t.Errorf("%s: not %v", name, c.want)
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("Subnet = 10.7.0.2\nAddress = a 1\n" + edLine + edKey(1) + "\n"))
	f.Add([]byte("-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n"))
	f.Add([]byte("# x\r\nPort=1\n\n=\n-\n Weight 3"))
	f.Fuzz(func(t *testing.T, data []byte) {
		clean, problems, err := Check("bob", data, vpn())
		if err != nil {
			return
		}
		// What is stored passes again, without any objection.
		again, more, err := Check("bob", clean, vpn())
		if err != nil || len(more) > 0 || !bytes.Equal(again, clean) {
			t.Fatalf("%q was stored with the problems %q, but then: %q, %v", clean, problems, more, err)
		}
		if ed, r := Key(clean); ed == nil && r == nil {
			t.Fatalf("no key in %q", clean)
		}
		if Compare(clean, clean) != Same || !Equivalent(clean, clean) {
			t.Fatalf("%q differs from itself", clean)
		}
	})
}

func TestAnyRSALetsUnreadKeysPassAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		good bool
	}{
		"base64 that is no key": {"-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n", true},
		"a setting in a block":  {"-----BEGIN RSA PUBLIC KEY-----\nSubnet = 0.0.0.0/0\n-----END RSA PUBLIC KEY-----\n", false},
		"a very long one":       {"-----BEGIN RSA PUBLIC KEY-----\n" + strings.Repeat("AAAAAAAA\n", 500) + "-----END RSA PUBLIC KEY-----\n", false},
		"a private key":         {"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", false},
	} {
		_, _, err := Check("bob", []byte(c.text), Policy{AnyRSA: true})
		if (err == nil) != c.good {
			t.Errorf("%s: %v", name, err)
		}
		if _, _, err := Check("bob", []byte(c.text), Policy{}); err == nil {
			t.Errorf("%s passes without AnyRSA", name)
		}
	}
}
