package keydist

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"time"

	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// Whoever answers at an address of the VPN need not be the node that announces it: routes change, and
// any member can announce anything. So the host file of a node counts only with its signature, in the
// form of tinc's "sign" command, over the file and a number that we have chosen for this request:
//
//	Tincan-Nonce: 32 hexadecimal digits         in the request
//	Tincan-Signature: Signature = NAME TIME …   in the answer
//
// The programs of tinc-boot know neither; what they show changes nothing about a node whose key is known.
const (
	nonceHeader     = "Tincan-Nonce"
	signatureHeader = "Tincan-Signature"
	nonceLen        = 32
)

func newNonce() string {
	var b [nonceLen / 2]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// signedText is what is signed of an answer.
func signedText(data []byte, nonce string) []byte {
	return append(bytes.Clone(data), "\n# host file of this node, asked for with "+nonce+"\n"...)
}

// SignWith returns a [Config].Sign for the key of a node.
func SignWith(k *keys.PrivateKey, name node.Name) func(data []byte) string {
	return func(data []byte) string {
		line, _, _ := bytes.Cut(keys.SignFile(k, name, time.Now(), data), []byte{'\n'})
		return string(line)
	}
}

// sign puts the signature of the own host file into the header of the answer, if it was asked for.
func (m *Monitor) sign(w http.ResponseWriter, r *http.Request, name node.Name, data []byte) {
	nonce := r.Header.Get(nonceHeader)
	if _, err := hex.DecodeString(nonce); m.cfg.Sign == nil || name != m.cfg.Self || len(nonce) != nonceLen || err != nil {
		return
	}
	w.Header().Set(signatureHeader, m.cfg.Sign(signedText(data, nonce)))
}

// proves tells whether the header of an answer holds the signature of a node over data, made for us.
func proves(name node.Name, key keys.PublicKey, data []byte, h http.Header) bool {
	line := h.Get(signatureHeader)
	if line == "" {
		return false
	}
	signed, err := keys.VerifyFile(append([]byte(line+"\n"), signedText(data, h.Get(nonceHeader))...),
		func(node.Name) (keys.PublicKey, error) { return key, nil })
	return err == nil && signed.Signer == name
}

var (
	errUnproven  = errors.New("it does not prove that the host file is its own, and its key is not known")
	errUnvouched = errors.New("its key was learned from the mesh, and no node that has a host file here vouches for it")
)

// judge tells what becomes of a host file that seems to come from name: it is offered to the store, changes nothing
// (offer is false), or cannot be taken now.
func (m *Monitor) judge(name node.Name, data []byte, h http.Header) (offer bool, err error) {
	if m.cfg.Engine == nil { // beside tincd there is nothing but the keys in hosts/
		return true, nil
	}
	file, readErr := m.cfg.Store.Read(name)
	known, rsa := hostfile.Key(file)
	good := known != nil
	if known == nil {
		known, good = m.cfg.Engine.Key(name)
	}
	shown, _ := hostfile.Key(data)
	switch {
	case known != nil && proves(name, *known, data, h):
		if !good {
			return false, errUnvouched
		}
		return true, nil
	case known != nil && shown != nil && *known != *shown:
		return true, nil // another key: that changes nothing, but a person has to know
	case known != nil:
		return false, nil
	case rsa != nil: // which signs nothing; where newcomers of the old programs are to be found, it may say the rest
		return m.cfg.Orders && onlyLearned(file) && shown == nil && hostfile.Compare(file, data) == hostfile.Same, nil
	case !m.cfg.Orders:
		return false, errUnproven
	case readErr == nil: // a file without a key is the owner's word, too
		return false, nil
	}
	return true, nil
}
