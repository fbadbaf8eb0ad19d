package config

import (
	"bytes"
	"fmt"
	"time"

	"tincan/internal/hybrid"
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
	Carriers  []Carrier          // how else to dial it
	Addresses []Address          // where to dial it; ports are filled in
	Subnets   []subnet.Subnet    // believed only with StrictSubnets
	Weight    *int
	PMTU      int // 0: no limit given

	IndirectData  bool
	TCPOnly       bool
	ClampMSS      *bool // nil: not given
	PMTUDiscovery *bool
	PostQuantum   *hybrid.Mode   // nil: not given
	SessionCipher *hybrid.Cipher // nil: not given

	ModTime time.Time // of the file
}

// Source is where the variables of a host stand, for those of them that name a file, and for keys that are blocks of
// the host file itself.
type Source struct {
	File string                            // the host file
	Dir  string                            // that relative names of files begin at
	Read func(path string) ([]byte, error) // reads a file
}

// ReadHost takes the variables of one host out of a pool, but for ModTime. Nothing in it stops
// anything: for other nodes every wrong value is only skipped.
func ReadHost(pool *Pool, name node.Name, src Source) (Host, []Warning) {
	r := &Reader{Pool: pool}
	h := Host{
		Name:      name,
		Addresses: List(r, "Address", ParseAddress),
		Carriers:  List(r, "Carrier", ParseCarrier),
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
	if _, _, ok := r.value("PostQuantum"); ok {
		mode := r.postQuantum()
		h.PostQuantum = &mode
	}
	if _, _, ok := r.value("SessionCipher"); ok {
		c := r.sessionCipher()
		h.SessionCipher = &c
	}
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
	warnings := r.Warnings()
	key, err := publicKey(r, name, src)
	if err != nil {
		warnings = append(warnings, AsProblem(src.File, err))
	}
	h.Key = key
	if h.RSAKey, err = rsaPublicKey(r, name, src); err != nil {
		p := AsProblem(src.File, err)
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
func publicKey(r *Reader, name node.Name, src Source) (*keys.PublicKey, error) {
	if e, ok := r.Pool.Lookup("Ed25519PublicKey"); ok {
		k, err := keys.ParsePublicKey(e.Value)
		if err != nil {
			return nil, nil // the form is wrong, and that is told
		}
		return &k, nil
	}
	path := r.Path("Ed25519PublicKeyFile", src.Dir)
	if path == "" {
		path = src.File
	}
	data, err := src.Read(path)
	if err != nil {
		return nil, fmt.Errorf("reading the public key of %s: %w", name, err)
	}
	if path == src.File && !bytes.Contains(data, []byte("-----BEGIN ED25519 PUBLIC KEY")) {
		return nil, nil
	}
	k, err := keys.ParsePublicPEM(data)
	if err != nil {
		return nil, Problem{Where: path, Text: err.Error()}
	}
	return &k, nil
}
