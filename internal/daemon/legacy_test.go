package daemon

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/pidfile"
)

// becomesOld makes n what a directory of tinc 1.0 is: it has an RSA key and no
// other. It returns the text of its host file for others.
func (n *testNode) becomesOld() string {
	n.Helper()
	must(n, os.Remove(n.path("ed25519_key.priv")))
	public := n.rsaKey(2048)
	n.write("hosts/"+string(n.name), "Port = 0\n"+public, 0o644)
	return public
}

// rsaKey gives n a new private RSA key, and returns the public one.
func (n *testNode) rsaKey(bits int) (public string) {
	n.Helper()
	key, err := keys.GenerateRSA(rand.Reader, bits)
	must(n, err)
	private, err := key.MarshalPEM()
	must(n, err)
	n.write("rsa_key.priv", string(private), 0o600)
	return string(key.Public().MarshalPEM())
}

// port is where n listens.
func port(n *testNode) string {
	n.Helper()
	p, err := pidfile.Read(n.layout.PidFile)
	must(n, err)
	return p.Port
}

func TestNodesWithRSAKeysOnly(t *testing.T) {
	a, b := newNode(t, "a", "ExperimentalProtocol = no"), newNode(t, "b", "ConnectTo = a")
	hostA, hostB := a.becomesOld(), b.becomesOld()
	a.write("hosts/b", hostB, 0o644)
	a.start()
	defer a.stop()
	b.write("hosts/a", hostA+"Address = 127.0.0.1 "+port(a)+"\n", 0o644)
	b.start()
	defer b.stop()
	if !b.said("uses only the protocol of tinc 1.0") {
		t.Errorf("nothing is said about it: %q", b.lines())
	}
	for n, other := range map[*testNode]node.Name{a: "b", b: "a"} {
		c := n.client()
		eventually(t, "they are connected", func() bool { return n.sees(c, other) })
		n.says("is reached directly by UDP")
	}
	if _, err := os.Stat(b.path("ed25519_key.priv")); !os.IsNotExist(err) {
		t.Error("a key was made")
	}
}

func TestAWeakKeyIsRefusedUntilItIsAllowed(t *testing.T) {
	a, b := newNode(t, "a"), newNode(t, "b", "ConnectTo = a", "ShortRSAKeys = yes")
	hostA := a.becomesOld()
	b.becomesOld()
	a.write("hosts/b", b.rsaKey(1024), 0o644)
	a.start()
	defer a.stop()
	b.write("hosts/a", hostA+"Address = 127.0.0.1 "+port(a)+"\n", 0o644)
	b.start()
	defer b.stop()
	a.says(`b has an RSA key of 1024 bits, which is too weak`)
	if !strings.Contains(strings.Join(a.lines(), "\n"), `"ShortRSAKeys = yes" in its host file`) {
		t.Errorf("no advice: %q", a.lines())
	}
	a.add("hosts/b", "ShortRSAKeys = yes")
	ca, cb := a.client(), b.client()
	must(t, ca.Reload())
	must(t, cb.Retry())
	eventually(t, "they are connected", func() bool { return a.sees(ca, "b") })
}
