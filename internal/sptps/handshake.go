package sptps

import (
	"crypto/hmac"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"slices"

	"tincan/internal/hybrid"
	"tincan/internal/keys"
	"tincan/internal/mask"
	"tincan/internal/node"
)

// LabelInvitation is the label of invitation sessions. It has no final NUL,
// unlike the other two.
var LabelInvitation = []byte("tinc invitation")

// LabelTCP is the label of a meta connection.
func LabelTCP(initiator, responder node.Name) []byte {
	return []byte("tinc TCP key expansion " + initiator + " " + responder + "\x00")
}

// LabelUDP is the label of a node-to-node session.
func LabelUDP(initiator, responder node.Name) []byte {
	return []byte("tinc UDP key expansion " + initiator + " " + responder + "\x00")
}

// Config is what both ends must know before a session starts. The roles stay
// the same for all later key exchanges, whoever begins them.
type Config struct {
	Initiator bool
	Key       *keys.PrivateKey // our long-term key
	Peer      keys.PublicKey   // the other end's
	Label     []byte
	Rand      io.Reader // 64 bytes are read for each key exchange: nonce, then seed
	// Hybrid announces, and if the other end does so, too, runs the second key exchange
	// (package hybrid); nil: neither.
	Hybrid *Hybrid
	// Window is the width of the replay window in records, datagram mode only; 0
	// is DefaultWindow, a negative one switches the check off.
	Window int
}

// Hybrid is what this end wants of the second key exchange.
type Hybrid struct {
	PostQuantum bool
	// Mask is the key of this node's mask, which the other end is told if it takes masked datagrams, too; nil: this one does not.
	Mask  *mask.Key
	Costs []hybrid.Cost // of the ciphers that may be used, [hybrid.Stock] among them
}

const (
	typeHandshake = 128
	typeHybrid    = 129                // a message of package hybrid
	kexSize       = 1 + nonceSize + 32 // version, nonce, ephemeral public key
	nonceSize     = 32
	sigSize       = 64
	version       = 0
	// keySize is what the key derivation gives each direction. The cipher
	// uses the first half of it.
	keySize = 64
)

type state uint8

const (
	stateDone state = iota
	stateKEX        // ours is sent, waiting for theirs
	stateSIG        // waiting for their signature
	stateACK        // waiting for their acknowledgement, rekey only
)

// Errors of the key exchange. They are for logs; the protocol has none.
var (
	ErrSignature   = errors.New("the peer's signature is wrong: it does not have the expected key, or the names differ")
	ErrUnexpected  = errors.New("unexpected handshake record")
	ErrVersion     = errors.New("unknown version of the key exchange")
	ErrDegenerate  = errors.New("the peer's ephemeral key is degenerate")
	ErrApplication = errors.New("application record before the key exchange is complete")
	ErrType        = errors.New("unknown record type")
	ErrShort       = errors.New("record too short")
	ErrNumber      = errors.New("record number out of order")
	ErrNotReady    = errors.New("the session is not established")
	ErrBusy        = errors.New("a key exchange is already in progress")
	ErrExhausted   = errors.New("all record numbers are used up: a new session is needed")
	ErrReplay      = errors.New("record number already seen or too old")
	ErrOpen        = errors.New("the record does not authenticate")
	ErrTooLong     = errors.New("record too long")
)

// action is what a record of the key exchange makes its owner do, in this
// order: send the handshake records, switch keys. A record of send is sealed
// with the sending key that was in force before.
type action struct {
	send [][]byte
	// sendKey and recvKey are set when the direction has got a new key.
	sendKey, recvKey []byte
	// pendingKey is the next receiving key, which is not in force yet.
	pendingKey []byte
	done       bool
}

// handshake is the state machine of tinc 1.1 SPTPS, without records. A call
// that fails leaves it as it was.
type handshake struct {
	cfg         Config
	state       state
	established bool // the first key exchange is complete
	ephemeral   *keys.PrivateKey
	mine, his   [kexSize]byte
	// Keys of the exchange that is under way, known since the peer's KEX.
	sendKey, recvKey []byte
	exporter         []byte // the same: a secret for the second exchange, nil unless both announce that

	newEphemeral func(io.Reader) (*keys.PrivateKey, error) // replaced by tests that know the key but not its seed
}

func newHandshake(cfg Config) (handshake, error) {
	if cfg.Key == nil || cfg.Rand == nil {
		return handshake{}, errors.New("sptps: a key and a source of randomness are needed")
	}
	return handshake{cfg: cfg, newEphemeral: keys.Generate}, nil
}

// begin makes our KEX.
func (h *handshake) begin() ([]byte, error) {
	if h.state != stateDone {
		return nil, ErrBusy
	}
	var kex [kexSize]byte
	kex[0] = version
	if _, err := io.ReadFull(h.cfg.Rand, kex[1:1+nonceSize]); err != nil {
		return nil, fmt.Errorf("starting a key exchange: %w", err)
	}
	if h.cfg.Hybrid != nil {
		hybrid.Announce(kex[1:1+nonceSize], h.cfg.Hybrid.PostQuantum, h.cfg.Hybrid.Mask != nil)
	}
	ephemeral, err := h.newEphemeral(h.cfg.Rand)
	if err != nil {
		return nil, fmt.Errorf("starting a key exchange: %w", err)
	}
	pub := ephemeral.Public()
	copy(kex[1+nonceSize:], pub[:])
	h.mine, h.ephemeral, h.state = kex, ephemeral, stateKEX
	return kex[:], nil
}

// receive takes the data of one handshake record.
func (h *handshake) receive(data []byte) (action, error) {
	switch h.state {
	case stateDone:
		return h.receiveRekey(data)
	case stateKEX:
		return h.receiveKEX(data)
	case stateSIG:
		return h.receiveSIG(data)
	default:
		return h.receiveACK(data)
	}
}

// receiveRekey answers a key exchange that the peer began.
func (h *handshake) receiveRekey(data []byte) (action, error) {
	if err := checkKEX(data); err != nil {
		return action{}, err
	}
	kex, err := h.begin()
	if err != nil {
		return action{}, err
	}
	a, err := h.receiveKEX(data)
	if err != nil {
		h.state = stateDone // our KEX will not be sent
		return action{}, err
	}
	a.send = append([][]byte{kex}, a.send...)
	return a, nil
}

func checkKEX(data []byte) error {
	if len(data) != kexSize {
		return ErrUnexpected
	}
	if data[0] != version {
		return ErrVersion
	}
	return nil
}

func (h *handshake) receiveKEX(data []byte) (action, error) {
	if err := checkKEX(data); err != nil {
		return action{}, err
	}
	his := [kexSize]byte(data)
	secret := h.ephemeral.Shared(keys.PublicKey(his[1+nonceSize:]))
	if secret == [32]byte{} {
		return action{}, ErrDegenerate
	}
	h.his, h.state, h.ephemeral = his, stateSIG, nil
	h.derive(secret[:])

	var a action
	if h.established {
		// This KEX came through the old session, so it is the peer's. Its data
		// may overtake the SIG and ACK that will follow.
		a.pendingKey = h.recvKey
	}
	if h.cfg.Initiator { // the responder signs after it has verified
		a.send = append(a.send, h.sign())
	}
	return a, nil
}

func (h *handshake) receiveSIG(data []byte) (action, error) {
	if len(data) != sigSize {
		return action{}, ErrUnexpected
	}
	if !h.cfg.Peer.Verify(h.signed(!h.cfg.Initiator, &h.his, &h.mine), data) {
		return action{}, ErrSignature
	}
	a := action{sendKey: h.sendKey}
	if !h.cfg.Initiator {
		a.send = append(a.send, h.sign())
	}
	if !h.established {
		h.established, h.state = true, stateDone
		a.recvKey, a.done = h.recvKey, true
		h.sendKey, h.recvKey = nil, nil
		return a, nil
	}
	a.send = append(a.send, nil) // ACK
	h.state = stateACK
	return a, nil
}

func (h *handshake) receiveACK(data []byte) (action, error) {
	if len(data) != 0 {
		return action{}, ErrUnexpected
	}
	a := action{recvKey: h.recvKey, done: true}
	h.sendKey, h.recvKey, h.state = nil, nil, stateDone
	return a, nil
}

func (h *handshake) sign() []byte {
	sig := h.cfg.Key.Sign(h.signed(h.cfg.Initiator, &h.mine, &h.his))
	return sig[:]
}

// signed is what a SIG record covers: role and KEX of the signer, KEX of the
// other side, label.
func (h *handshake) signed(initiator bool, signer, other *[kexSize]byte) []byte {
	msg := make([]byte, 1, 1+2*kexSize+len(h.cfg.Label))
	if initiator {
		msg[0] = 1
	}
	msg = append(msg, signer[:]...)
	msg = append(msg, other[:]...)
	return append(msg, h.cfg.Label...)
}

// derive sets the keys of our two directions.
func (h *handshake) derive(secret []byte) {
	nonceI, nonceR := h.mine[1:1+nonceSize], h.his[1:1+nonceSize]
	if !h.cfg.Initiator {
		nonceI, nonceR = nonceR, nonceI
	}
	context := slices.Concat(nonceI, nonceR, h.cfg.Label)
	k := prf(secret, append([]byte("key expansion"), context...), 2*keySize)
	h.sendKey, h.recvKey = k[:keySize], k[keySize:] // sent by the responder, by the initiator
	if h.cfg.Initiator {
		h.sendKey, h.recvKey = h.recvKey, h.sendKey
	}
	h.exporter = nil
	if _, ok := h.announced(); ok {
		h.exporter = prf(secret, append([]byte("tincan exporter"), context...), hybrid.SecretSize)
	}
}

// announced tells whether both ends have announced the second key exchange in their last KEX, and what they want of it.
func (h *handshake) announced() (postQuantum, ok bool) {
	if h.cfg.Hybrid == nil {
		return false, false
	}
	his := hybrid.Announced(h.his[1 : 1+nonceSize])
	return h.cfg.Hybrid.PostQuantum && his.PostQuantum, his.Version > 0
}

// masking tells whether both ends have announced in their last KEX that they take masked datagrams.
func (h *handshake) masking() bool {
	return h.cfg.Hybrid != nil && h.cfg.Hybrid.Mask != nil && hybrid.Announced(h.his[1:1+nonceSize]).Masking
}

// session is what the second key exchange builds upon. It must not be called unless both have announced that.
func (h *handshake) session() hybrid.Session {
	own := h.cfg.Key.Public()
	s := hybrid.Session{
		Label: h.cfg.Label, InitiatorKey: own, ResponderKey: h.cfg.Peer,
		InitiatorKEX: slices.Clone(h.mine[:]), ResponderKEX: slices.Clone(h.his[:]), Secret: h.exporter,
	}
	s.PostQuantum, _ = h.announced()
	if h.masking() {
		s.Mask = h.cfg.Hybrid.Mask
	}
	if !h.cfg.Initiator {
		s.InitiatorKey, s.ResponderKey = s.ResponderKey, s.InitiatorKey
		s.InitiatorKEX, s.ResponderKEX = s.ResponderKEX, s.InitiatorKEX
	}
	return s
}

// prf is tinc's key expansion. It resembles the P_hash of TLS 1.2 (RFC 5246)
// but starts with 64 zero bytes in the place of the seed.
func prf(secret, seed []byte, size int) []byte {
	mac := hmac.New(sha512.New, secret)
	hash := func(a []byte) []byte {
		mac.Reset()
		mac.Write(a)
		mac.Write(seed)
		return mac.Sum(nil)
	}
	var out []byte
	for a := make([]byte, sha512.Size); len(out) < size; {
		a = hash(a)
		out = append(out, hash(a)...)
	}
	return out[:size]
}
