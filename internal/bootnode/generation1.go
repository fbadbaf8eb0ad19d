package bootnode

import (
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"io"

	"golang.org/x/crypto/chacha20poly1305"

	"tincan/internal/node"
)

// Generation 1 of tinc-boot:
//
//	POST /NONCE/NAME                      NONCE: 24 bytes in hexadecimal
//	body: sealed host file of NAME        XChaCha20-Poly1305, associated data NAME
//	200, X-Node: BOOT
//	body: sealed host file of BOOT        same key, same nonce, associated data BOOT
//
// The key is SHA-256 of the token. That request and answer share a nonce is a
// fault of the protocol that both sides have to live with: whoever records one
// join and knows the host file of the boot node can forge messages under that
// nonce. So the boot node answers once per nonce, ever.

const nonceSize = chacha20poly1305.NonceSizeX

type nonce [nonceSize]byte

func (n nonce) String() string { return hex.EncodeToString(n[:]) }

func newNonce(random io.Reader) (n nonce, err error) {
	_, err = io.ReadFull(random, n[:])
	return n, err
}

// parseNonce reads 48 hexadecimal digits of either case.
func parseNonce(s string) (n nonce, ok bool) {
	if len(s) != 2*nonceSize {
		return n, false
	}
	_, err := hex.Decode(n[:], []byte(s))
	return n, err == nil
}

// oldCipher is the cipher of the old protocols.
func oldCipher(key [32]byte) cipher.AEAD {
	c, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic(err) // only for a key of another size
	}
	return c
}

// seal1 seals a host file on behalf of name.
func seal1(key [32]byte, n nonce, name string, hostFile []byte) []byte {
	return oldCipher(key).Seal(nil, n[:], hostFile, []byte(name))
}

// open1 opens a message of the node called name.
func open1(key [32]byte, n nonce, name string, sealed []byte) ([]byte, error) {
	plain, err := oldCipher(key).Open(nil, n[:], sealed, []byte(name))
	if err != nil {
		return nil, errors.New("it is not sealed with this token")
	}
	return plain, nil
}

// MaxName is the longest name that a newcomer may have, in bytes. It leaves room
// in a file name for what programs put after it.
const MaxName = 200

// nodeName checks the name that somebody else has sent.
func nodeName(s string) (node.Name, bool) {
	name, err := node.ParseName(s)
	return name, err == nil && len(s) <= MaxName
}
