package config

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"tincan/internal/keys"
	"tincan/internal/legacy"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// Host is what hosts/NAME says about one node.
type Host struct {
	Name      node.Name
	Key       *keys.PublicKey    // Ed25519, nil if none is known
	RSAKey    *keys.RSAPublicKey // for the protocol of tinc 1.0, nil if none is known
	Policy    legacy.Policy      // weak choices that the file names, so that this node may make them
	Port      string             // "" if the file does not say
	Addresses []Address          // where to dial it; ports are filled in
	Subnets   []subnet.Subnet    // believed only with StrictSubnets
	Weight    *int
	PMTU      int // 0: no limit given

	IndirectData  bool
	TCPOnly       bool
	ClampMSS      *bool // nil: not given
	PMTUDiscovery *bool

	ModTime time.Time // of the file
}

// LoadHost reads the host file of another node, together with the
// -o NAME.VARIABLE options. The error is fs.ErrNotExist if there is no such
// file; on any error nothing must connect with that node.
func LoadHost(l Layout, name node.Name, overrides []Override) (Host, []Warning, error) {
	entries, warnings, err := readFile(l.Host(name))
	if err != nil {
		return Host{}, warnings, err
	}
	for _, o := range overrides {
		if o.Host == string(name) {
			entries = append(entries, o.Entry)
		}
	}
	pool := NewPool(entries...)
	// What another node wants of nodes of tinc 1.0 is only a hint.
	warnings = append(warnings, pool.Wrong("Cipher", "Digest", "MACLength", "Compression")...)
	warnings = append(warnings, pool.unknown()...)
	h, more := host(&Reader{Pool: pool}, l, name)
	return h, append(warnings, more...), nil
}

// host takes the variables of one host out of a pool. Nothing in it stops
// anything: for other nodes every wrong value is only skipped.
func host(r *Reader, l Layout, name node.Name) (Host, []Warning) {
	h := Host{
		Name:      name,
		Addresses: List(r, "Address", ParseAddress),
		Subnets:   List(r, "Subnet", subnet.ParseLocal),
		PMTU:      r.IntOr("PMTU", 0),
		TCPOnly:   r.Bool("TCPOnly"),
		Policy:    r.policy(),
	}
	h.IndirectData = r.Bool("IndirectData") || h.TCPOnly
	if _, _, ok := r.value("Weight"); ok {
		w := r.Int("Weight")
		h.Weight = &w
	}
	h.ClampMSS = r.boolIfSet("ClampMSS")
	h.PMTUDiscovery = r.boolIfSet("PMTUDiscovery")
	if _, e, ok := r.value("Port"); ok {
		h.Port, _ = ParsePort(e.Value)
	}
	for i := range h.Addresses {
		if h.Addresses[i].Port == "" {
			h.Addresses[i].Port = h.Port
		}
		if h.Addresses[i].Port == "" {
			h.Addresses[i].Port = mustFind("Port").Default
		}
	}
	if info, err := os.Stat(l.Host(name)); err == nil {
		h.ModTime = info.ModTime()
	}
	warnings := r.Warnings()
	key, err := publicKey(r, l, name)
	if err != nil {
		warnings = append(warnings, asProblem(l.Host(name), err))
	}
	h.Key = key
	if h.RSAKey, err = rsaPublicKey(r, l, name); err != nil {
		p := asProblem(l.Host(name), err)
		p.Text += "; this node cannot speak the protocol of tinc 1.0 with " + string(name)
		warnings = append(warnings, p)
	}
	return h, warnings
}

func (r *Reader) boolIfSet(name string) *bool {
	if _, _, ok := r.value(name); !ok {
		return nil
	}
	b := r.Bool(name)
	return &b
}

// publicKey finds the Ed25519 key of a node: the variable, else the file that
// another variable names, else a block in the host file.
func publicKey(r *Reader, l Layout, name node.Name) (*keys.PublicKey, error) {
	if e, ok := r.Pool.Lookup("Ed25519PublicKey"); ok {
		k, err := keys.ParsePublicKey(e.Value)
		if err != nil {
			return nil, nil // the form is wrong, and that is told
		}
		return &k, nil
	}
	path := r.Path("Ed25519PublicKeyFile", l.ConfBase)
	if path == "" {
		path = l.Host(name)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of %s: %w", name, err)
	}
	if path == l.Host(name) && !bytes.Contains(data, []byte("-----BEGIN ED25519 PUBLIC KEY")) {
		return nil, nil
	}
	k, err := keys.ParsePublicPEM(data)
	if err != nil {
		return nil, Problem{path, err.Error()}
	}
	return &k, nil
}
