package bootnode

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/flynn/noise"

	"tincan/internal/keys"
)

// The protocol between tincan and tincan is Noise XX with a pre-shared key in
// the third message, carried by two HTTP requests:
//
//	newcomer                               boot node
//	POST /tincan/join/1   e             ->
//	        <-  SESSION(16), e, ee, s, es, payload: salt(16)
//	POST /tincan/join/2   SESSION, s, se, psk, payload: request  ->
//	        <-  records: answer
//
// The pre-shared key is derived from the token, by Argon2id if a person has
// thought of it. It comes in the third message for two reasons. Whoever records
// the exchange cannot check guesses, because the key depends on the ephemeral
// keys as well. And whoever connects to the boot node learns nothing either: the
// newcomer is the first to use it. Somebody who answers in the place of the boot
// node could check guesses, one by one and at Argon2id's price; the key of the
// boot node (s), if it is part of the URL, leaves no room for that.
//
// Each session has new ephemeral keys on both sides and is used once, so there
// is nothing to replay. The newcomer signs the handshake with its node's key: it
// can only bring in a node that it is.

var noiseSuite = noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashBLAKE2s)

var prologue = []byte("tincan join 1")

const (
	pathHello = "/tincan/join/1"
	pathJoin  = "/tincan/join/2"

	sessionSize = 16
	helloSize   = 32 + 16 // an X25519 key and the tag of an empty payload

	// maxRecord is how much plain text a record of the answer holds.
	maxRecord = 32 << 10
	// maxAnswer is the longest answer that is read, in bytes.
	maxAnswer = 1 << 20
)

// request is what the newcomer sends.
type request struct {
	Name string
	Host []byte // its host file
	// Assign asks for an address in the VPN.
	Assign bool
	// Signature of the handshake by the Ed25519 key in Host; nil if there is none.
	Signature []byte `json:",omitempty"`
}

// answer is what the boot node sends.
type answer struct {
	Refused string       `json:",omitempty"` // why; all else is empty then
	Node    string       // the boot node
	NetName string       `json:",omitempty"` // what it calls the network
	Network string       `json:",omitempty"` // the id of a signed network, 64 hexadecimal digits
	Address netip.Prefix // with the length of the network's prefix; zero if none was asked for
	Hosts   map[string][]byte
}

// signed is what the newcomer signs.
func signed(binding []byte) []byte {
	return append([]byte("tincan join: I am this node\x00"), binding...)
}

func handshake(initiator bool, static noise.DHKey, random io.Reader, psk []byte) (*noise.HandshakeState, error) {
	return noise.NewHandshakeState(noise.Config{
		CipherSuite: noiseSuite, Random: random, Pattern: noise.HandshakeXX, Initiator: initiator, Prologue: prologue,
		PresharedKey: psk, PresharedKeyPlacement: 3, StaticKeypair: static,
	})
}

// session is the boot node's side between the two requests. It can be worked
// through again with each token, because the ephemeral key comes from seed.
type session struct {
	static noise.DHKey
	seed   [32]byte
	hello  [helloSize]byte
	salt   []byte
}

// start answers the first message. Without psk only the answer is of use.
func (s *session) start(psk []byte) (hs *noise.HandshakeState, reply []byte, err error) {
	if hs, err = handshake(false, s.static, bytes.NewReader(s.seed[:]), psk); err != nil {
		return nil, nil, err
	}
	if _, _, _, err = hs.ReadMessage(nil, s.hello[:]); err != nil {
		return nil, nil, err
	}
	reply, _, _, err = hs.WriteMessage(nil, s.salt)
	return hs, reply, err
}

// finish opens the third message with the key of one token. send seals the answer.
func (s *session) finish(psk [32]byte, message []byte) (r request, proven bool, send *noise.CipherState, err error) {
	hs, _, err := s.start(psk[:])
	if err != nil {
		return r, false, nil, err
	}
	binding := bytes.Clone(hs.ChannelBinding())
	plain, _, send, err := hs.ReadMessage(nil, message)
	if err != nil {
		return r, false, nil, err
	}
	if err := json.Unmarshal(plain, &r); err != nil {
		return r, false, send, errMalformed
	}
	proven, err = r.proves(binding)
	return r, proven, send, err
}

var errMalformed = errors.New("the request is malformed")

// proves checks the signature, if the host file has a key that can sign.
func (r request) proves(binding []byte) (bool, error) {
	key := edKey(r.Host)
	if key == nil {
		return false, nil
	}
	if !key.Verify(signed(binding), r.Signature) {
		return false, errors.New("the newcomer does not have the private key of its host file")
	}
	return true, nil
}

// sealAnswer makes records of 16 bits of length and the ciphertext.
func sealAnswer(send *noise.CipherState, a answer) ([]byte, error) {
	plain, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	var out []byte
	for {
		n := min(len(plain), maxRecord)
		last := byte(0)
		if n == len(plain) {
			last = 1
		}
		sealed, err := send.Encrypt(nil, nil, append([]byte{last}, plain[:n]...))
		if err != nil {
			return nil, err
		}
		out = binary.BigEndian.AppendUint16(out, uint16(len(sealed)))
		out = append(out, sealed...)
		if plain = plain[n:]; last == 1 {
			return out, nil
		}
	}
}

// openAnswer is the opposite. An answer that was cut short is an error.
func openAnswer(receive *noise.CipherState, data []byte) (a answer, err error) {
	var plain []byte
	for {
		if len(data) < 2 || len(data)-2 < int(binary.BigEndian.Uint16(data)) {
			return a, errors.New("the answer is truncated")
		}
		n := 2 + int(binary.BigEndian.Uint16(data))
		record, err := receive.Decrypt(nil, nil, data[2:n])
		if err != nil || len(record) == 0 {
			return a, errors.New("the answer was not sealed for us")
		}
		plain = append(plain, record[1:]...)
		data = data[n:]
		if record[0] == 1 {
			break
		}
	}
	if err := json.Unmarshal(plain, &a); err != nil {
		return a, fmt.Errorf("the answer is malformed: %w", err)
	}
	return a, nil
}

// newcomer is the other side.
type newcomer struct {
	hs *noise.HandshakeState
}

func newNewcomer(random io.Reader) (*newcomer, []byte, error) {
	static, err := noiseSuite.GenerateKeypair(random)
	if err != nil {
		return nil, nil, err
	}
	hs, err := handshake(true, static, random, nil)
	if err != nil {
		return nil, nil, err
	}
	hello, _, _, err := hs.WriteMessage(nil, nil)
	return &newcomer{hs}, hello, err
}

// ask reads the second message and makes the third. pin is the boot node's, ""
// if it is not known; key signs, if there is one.
func (n *newcomer) ask(reply []byte, pin string, token Secret, r request, key *keys.PrivateKey) (message []byte, receive *noise.CipherState, err error) {
	salt, _, _, err := n.hs.ReadMessage(nil, reply)
	if err != nil || len(salt) != saltSize {
		return nil, nil, errors.New("this is not the protocol of tincan")
	}
	if pin != "" && pin != keyPin(n.hs.PeerStatic()) {
		return nil, nil, errOtherKey
	}
	psk := token.shared(salt)
	if err := n.hs.SetPresharedKey(psk[:]); err != nil {
		return nil, nil, err
	}
	if key != nil {
		s := key.Sign(signed(n.hs.ChannelBinding()))
		r.Signature = s[:]
	}
	payload, err := json.Marshal(r)
	if err != nil {
		return nil, nil, err
	}
	message, _, receive, err = n.hs.WriteMessage(nil, payload)
	return message, receive, err
}

var errOtherKey = errors.New("this boot node has another key than the URL says: it is not the one that the URL was made for")

// keyPin is the hash of a boot node's key, as it stands in URLs.
func keyPin(public []byte) string {
	sum := sha256.Sum256(public)
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}
