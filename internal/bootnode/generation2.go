package bootnode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"tincan/internal/node"
)

// Generation 2 of tinc-boot:
//
//	POST /                                any method and path
//	body: NONCE, sealed {"Name": NAME, "Config": BASE64 of the host file}
//	200
//	body: NONCE, sealed {NAME: BASE64 of the host file, ...}
//
// Key and cipher are those of generation 1; each message has a nonce of its own
// and there is no associated data. Nothing ties an answer to its request.

const (
	// maxEnvelope is how much of a request is read; what is longer is cut there.
	maxEnvelope = 8192
	// maxArchive is the largest answer that a newcomer reads, in bytes.
	maxArchive = 4 << 20
)

// envelope is what a newcomer sends.
type envelope struct {
	Name   string
	Config []byte
}

// seal2 puts v into an envelope under a new nonce.
func seal2(random io.Reader, key [32]byte, v any) ([]byte, error) {
	plain, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	n, err := newNonce(random)
	if err != nil {
		return nil, err
	}
	return oldCipher(key).Seal(n[:], n[:], plain, nil), nil
}

var errShortEnvelope = errors.New("package is too small")

// cut2 splits the nonce off.
func cut2(body []byte) (n nonce, sealed []byte, err error) {
	if len(body) < nonceSize {
		return n, nil, errShortEnvelope
	}
	return nonce(body[:nonceSize]), body[nonceSize:], nil
}

// open2 opens an envelope and returns the JSON in it. The error of the cipher is
// what the original sends back, word by word; so is that of the parser.
func open2(key [32]byte, body []byte) ([]byte, error) {
	n, sealed, err := cut2(body)
	if err != nil {
		return nil, err
	}
	return oldCipher(key).Open(nil, n[:], sealed, nil)
}

// archive is what the boot node answers.
type archive map[string][]byte

// of returns the host files in the archive that can be of use to the newcomer
// called own. An archive that cannot have been made for it is refused: our own
// request that somebody sends back, or the answer to somebody else.
func (a archive) of(own node.Name) (map[node.Name][]byte, error) {
	if _, ok := a[string(own)]; !ok {
		return nil, fmt.Errorf("the answer is not for %s", own)
	}
	hosts := map[node.Name][]byte{}
	for text, file := range a {
		if name, ok := nodeName(text); ok && name != own && text == node.Normalise(text) {
			hosts[name] = file
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("the answer holds no host file of another node")
	}
	return hosts, nil
}

// openArchive opens the answer to the newcomer called own.
func openArchive(key [32]byte, body []byte, own node.Name) (map[node.Name][]byte, error) {
	plain, err := open2(key, body)
	if err != nil {
		return nil, fmt.Errorf("the answer is not sealed with this token: %w", err)
	}
	var a archive
	if err := json.Unmarshal(plain, &a); err != nil {
		return nil, fmt.Errorf("the answer is no list of host files: %w", err)
	}
	return a.of(own)
}
