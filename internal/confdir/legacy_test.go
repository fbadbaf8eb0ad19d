package confdir

import (
	"crypto/rand"
	"crypto/rsa"
	"math/big"
	"os"
	"strings"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/legacy"
)

func generated(t *testing.T, bits int) *keys.RSAPrivateKey {
	t.Helper()
	k, err := keys.GenerateRSA(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// privatePEM is the text of rsa_key.priv.
func privatePEM(t *testing.T, k *keys.RSAPrivateKey) string {
	t.Helper()
	text, err := k.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatWeAskNodesOfTinc10For(t *testing.T) {
	for name, c := range map[string]struct {
		conf, host string
		want       legacy.Suite
		policy     legacy.Policy
		warning    string
	}{
		"nothing is said":         {"", "", legacy.DefaultSuite, legacy.Policy{}, ""},
		"in tinc.conf":            {"Cipher = aes-128-cbc\nDigest = SHA512\nMACLength = 20\nCompression = 9\n", "", legacy.Suite{Cipher: 419, Digest: 674, MACLen: 20, Compression: 9}, legacy.Policy{}, ""},
		"in the own host file":    {"", "Cipher = blowfish\nDigest = sha1\n", legacy.Suite{Cipher: 91, Digest: 64, MACLen: 16}, legacy.Policy{Blowfish: true, SHA1: true}, ""},
		"MAC longer than digest":  {"Digest = md5\nMACLength = 20\n", "", legacy.Suite{Cipher: 427, Digest: 4, MACLen: 16}, legacy.Policy{MD5: true}, "only 16 bytes"},
		"MAC without digest":      {"Digest = none\n", "MACLength = 4\n", legacy.Suite{Cipher: 427}, legacy.Policy{NoDigest: true}, "only 0 bytes"},
		"LZ4":                     {"Compression = 12\n", "", legacy.DefaultSuite, legacy.Policy{}, "do not know LZ4"},
		"short keys":              {"ShortRSAKeys = yes\n", "", legacy.DefaultSuite, legacy.Policy{ShortRSA: true}, ""},
		"the default, once again": {"Cipher = aes-256-cbc\n", "", legacy.DefaultSuite, legacy.Policy{}, ""},
	} {
		n, warnings, err := load(t, tree(t, "tinc.conf\nName = alpha\n"+c.conf, "hosts/alpha\n"+c.host))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if n.Settings.Suite != c.want || n.Settings.Policy != c.policy {
			t.Errorf("%s: %+v, %+v", name, n.Settings.Suite, n.Settings.Policy)
		}
		if (warnings == "") != (c.warning == "") || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
	for line, want := range map[string]string{
		"Cipher = aes-256-gcm": "tinc.conf:2: Cipher = aes-256-gcm: the cipher",
		"Digest = whirlpool":   "tinc.conf:2: Digest = whirlpool: the digest",
		"MACLength = -1":       "tinc.conf:2: MACLength = -1: must be 0 or more",
		"Compression = high":   "tinc.conf:2: Compression = high: write a whole number",
		"Compression = 13":     "tinc.conf:2: Compression = 13: write a number from 0 to 12",
	} {
		if _, _, err := load(t, tree(t, "tinc.conf\nName = alpha\n"+line+"\n", "hosts/alpha\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestRSAKeysInHostFiles(t *testing.T) {
	k := generated(t, 2048).Public()
	block := string(k.MarshalPEM())
	modulus := strings.ToUpper(k.N.Text(16))
	for name, c := range map[string]struct {
		files   []string
		found   bool
		e       int
		policy  legacy.Policy
		warning string
	}{
		"none":                   {[]string{"hosts/beta\nPort = 1\n"}, false, 0, legacy.Policy{}, ""},
		"a block between lines":  {[]string{"hosts/beta\nPort = 1\n" + block + "Subnet = 10.0.0.1\n"}, true, 65537, legacy.Policy{}, ""},
		"a modulus":              {[]string{"hosts/beta\nPublicKey = " + modulus + "\n"}, true, 65535, legacy.Policy{}, ""},
		"a modulus comes first":  {[]string{"hosts/beta\n" + block + "PublicKey = " + modulus + "\n"}, true, 65535, legacy.Policy{}, ""},
		"a file of its own":      {[]string{"hosts/beta\nPublicKeyFile = beta.pub\n", "beta.pub\n" + block}, true, 65537, legacy.Policy{}, ""},
		"a file that is missing": {[]string{"hosts/beta\nPublicKeyFile = beta.pub\n"}, false, 0, legacy.Policy{}, "no such file"},
		"a broken block":         {[]string{"hosts/beta\n-----BEGIN RSA PUBLIC KEY-----\nMIIB\n-----END RSA PUBLIC KEY-----\n"}, false, 0, legacy.Policy{}, "RSA PUBLIC KEY"},
		"an old key":             {[]string{"hosts/beta\n" + strings.ReplaceAll(block, "RSA", "OLD") + block}, true, 65537, legacy.Policy{}, ""},
		"a commented one":        {[]string{"hosts/beta\n#" + strings.ReplaceAll(strings.TrimSpace(block), "\n", "\n#") + "\n"}, false, 0, legacy.Policy{}, ""},
		"weak choices":           {[]string{"hosts/beta\nCipher = none\nDigest = md5\nMACLength = 2\nShortRSAKeys = yes\n" + block}, true, 65537, legacy.Policy{NoCipher: true, MD5: true, NoDigest: true, ShortRSA: true}, ""},
		"an unknown cipher":      {[]string{"hosts/beta\nCipher = cast5-cbc\n" + block}, true, 65537, legacy.Policy{}, ""},
	} {
		n, warnings, err := load(t, tree(t, append(c.files, "tinc.conf\nName = alpha\n", "hosts/alpha\n")...))
		if err != nil {
			t.Fatal(err)
		}
		h := n.Hosts["beta"]
		if (h.RSAKey != nil) != c.found || h.RSAKey != nil && (h.RSAKey.N.Cmp(k.N) != 0 || h.RSAKey.E != c.e) || h.Policy != c.policy {
			t.Errorf("%s: %+v", name, h)
		}
		if (warnings == "") != (c.warning == "") || !strings.Contains(warnings, c.warning) {
			t.Errorf("%s: warnings %q", name, warnings)
		}
	}
}

func TestWhichKeysThisNodeHas(t *testing.T) {
	rsa := privatePEM(t, generated(t, 2048))
	short := privatePEM(t, generated(t, 1024))
	ed := string(keys.MarshalPrivatePEM(keys.FromSeed([32]byte{1})))
	for name, c := range map[string]struct {
		conf, rsa, ed    string
		wantRSA, wantEd  bool
		warning, failure string
	}{
		"both":                        {"", rsa, ed, true, true, "", ""},
		"of tinc 1.1 only":            {"", "", ed, false, true, "", ""},
		"of tinc 1.0 only":            {"", rsa, "", true, false, "generate-ed25519-keys", ""},
		"none at all":                 {"", "", "", false, false, "", "ed25519_key.priv"},
		"tinc 1.1 is required":        {"ExperimentalProtocol = yes\n", rsa, "", false, false, "", "ed25519_key.priv"},
		"tinc 1.1 is disabled":        {"ExperimentalProtocol = no\n", rsa, ed, true, false, "", ""},
		"disabled, without RSA key":   {"ExperimentalProtocol = no\n", "", ed, false, false, "", "generate-rsa-keys"},
		"a broken RSA key":            {"", "nonsense\n", ed, false, true, "the protocol of tinc 1.0 is off", ""},
		"a broken RSA key alone":      {"", "nonsense\n", "", false, false, "", "no RSA key found"},
		"a broken Ed25519 key":        {"", rsa, "nonsense\n", false, false, "", "ed25519_key.priv"},
		"a short RSA key":             {"", short, ed, false, true, "ShortRSAKeys", ""},
		"a short RSA key alone":       {"", short, "", false, false, "", "only 1024 bits"},
		"a short RSA key, allowed":    {"ShortRSAKeys = yes\n", short, ed, true, true, "", ""},
		"a file that is named":        {"PrivateKeyFile = rsa_key.priv\n", rsa, ed, true, true, "", ""},
		"a named file that is absent": {"PrivateKeyFile = other.priv\n", rsa, ed, false, true, "other.priv", ""},
	} {
		files := []string{"tinc.conf\nName = alpha\n" + c.conf, "hosts/alpha\n"}
		if c.rsa != "" {
			files = append(files, "rsa_key.priv\n"+c.rsa)
		}
		if c.ed != "" {
			files = append(files, "ed25519_key.priv\n"+c.ed)
		}
		l := tree(t, files...)
		for _, path := range []string{l.RSAPrivateKey(), l.PrivateKey()} {
			if err := os.Chmod(path, 0o600); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		n, _, err := load(t, l)
		if err != nil {
			t.Fatal(err)
		}
		id, warnings, err := n.Identity()
		if (err != nil) != (c.failure != "") || err != nil && !strings.Contains(err.Error(), c.failure) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if (id.RSAKey != nil) != c.wantRSA || (id.Key != nil) != c.wantEd {
			t.Errorf("%s: RSA %v, Ed25519 %v", name, id.RSAKey != nil, id.Key != nil)
		}
		text := ""
		for _, w := range warnings {
			text += w.String() + "\n"
		}
		if (text == "") != (c.warning == "") || !strings.Contains(text, c.warning) {
			t.Errorf("%s: warnings %q", name, text)
		}
	}
}

const (
	hexModulus = "PublicKey = "
	hexPrivate = "PrivateKey = "
)

// obsoleteKey returns modulus and private exponent of a key as tinc wrote it long
// ago, which has the exponent 65535.
func obsoleteKey(t *testing.T) (n, d string) {
	t.Helper()
	for {
		k, err := rsa.GenerateKey(rand.Reader, 1024)
		if err != nil {
			t.Fatal(err)
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(k.Primes[0], one), new(big.Int).Sub(k.Primes[1], one))
		if d := new(big.Int).ModInverse(big.NewInt(0xffff), phi); d != nil {
			return k.N.Text(16), d.Text(16)
		}
	}
}

func TestTheObsoletePrivateKey(t *testing.T) {
	n, d := obsoleteKey(t)
	l := tree(t, "tinc.conf\nName = alpha\nShortRSAKeys = yes\n"+hexPrivate+d+"\n", "hosts/alpha\n"+hexModulus+n+"\n")
	network, _, err := load(t, l)
	if err != nil {
		t.Fatal(err)
	}
	k, _, err := network.RSAPrivateKey()
	if err != nil || k == nil || !k.Public().Equal(*network.Own.RSAKey) {
		t.Errorf("%v", err)
	}
	other := "01"
	if strings.HasSuffix(n, other) {
		other = "03"
	}
	for name, c := range map[string]struct{ conf, host, want string }{
		"without its modulus": {hexPrivate + d, "", "needs PublicKey"},
		"another modulus":     {hexPrivate + d, hexModulus + n[:len(n)-2] + other, "belong together"},
	} {
		network, _, err := load(t, tree(t, "tinc.conf\nName = alpha\n"+c.conf+"\n", "hosts/alpha\n"+c.host+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = network.RSAPrivateKey()
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), d[:20]) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
