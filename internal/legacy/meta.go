package legacy

import (
	"bytes"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"tincan/internal/keys"
	"tincan/internal/wire"
)

// MetaConfig is what a meta connection begins with. Rand must be set.
type MetaConfig struct {
	Initiator bool // we opened the TCP connection
	Key       *keys.RSAPrivateKey
	Peer      keys.RSAPublicKey
	Suite     Suite // our own: its cipher decides that of the meta connection
	Policy    Policy
	Rand      io.Reader
}

// Meta is one meta connection of the old protocol, after the ID lines. It is not
// safe for concurrent use.
//
//	initiator                          responder
//	METAKEY     clear      ──────────►            each side as soon as it has the ID
//	            ◄──────────     clear  METAKEY
//	CHALLENGE   encrypted  ──────────►            each side as soon as it has the METAKEY
//	            ◄────────── encrypted  CHALLENGE
//	CHAL_REPLY  encrypted  ──────────►            at once
//	            ◄────────── encrypted  CHAL_REPLY only when the other reply was right
//
// The two directions have a key each, which their senders choose.
type Meta struct {
	cfg      MetaConfig
	expected wire.Kind // the request that must come next; wire.KindAck: the login is over

	in, out   *stream          // nil until METAKEY has come, or gone
	peerHash  func() hash.Hash // that answers the peer's challenge
	line      []byte           // of the line that comes in: what was decrypted
	challenge []byte           // ours
	reply     []byte           // ours, held back until the other side has proved itself
}

// MetaEvent is what came of the bytes that Next consumed.
type MetaEvent struct {
	Out     []byte // to be sent as it is
	Done    bool   // both challenges are verified, and our ACK may be sent
	HasLine bool
	Line    string // a request after the login, without its newline
}

// ourDigest is what we verify challenges with.
const ourDigest = SHA256

// NewMeta begins a connection. out is our METAKEY line, to be sent after ID. A key
// of the peer that the policy forbids is an [ErrWeak].
func NewMeta(cfg MetaConfig) (m *Meta, out []byte, err error) {
	if cfg.Key == nil {
		return nil, nil, errors.New("there is no RSA key of our own")
	}
	if err := cfg.Peer.Valid(); err != nil {
		return nil, nil, fmt.Errorf("the peer's key: %w", err)
	}
	if err := WeakKey(cfg.Peer, cfg.Policy); err != nil {
		return nil, nil, err
	}
	m = &Meta{cfg: cfg, expected: wire.KindMetaKey}
	out, err = m.metaKey()
	return m, out, err
}

// WeakKey returns an [ErrWeak] if k is shorter than p allows.
func WeakKey(k keys.RSAPublicKey, p Policy) error {
	if k.Bits() < keys.SafeRSABits && !p.ShortRSA {
		return &ErrWeak{fmt.Sprintf("an RSA key of %d bits", k.Bits()), "ShortRSAKeys = yes"}
	}
	return nil
}

// Established tells whether both challenges have been verified.
func (m *Meta) Established() bool { return m.expected == wire.KindAck }

// metaKey chooses our sending key and returns the line that tells it.
func (m *Meta) metaKey() ([]byte, error) {
	c := m.streamCipher()
	block := make([]byte, m.cfg.Peer.Size())
	if _, err := io.ReadFull(m.cfg.Rand, block); err != nil {
		return nil, fmt.Errorf("choosing the key of the connection: %w", err)
	}
	block[0] &= 0x7f // smaller than the modulus
	sealed, err := m.cfg.Peer.Encrypt(block)
	if err != nil {
		return nil, err
	}
	if m.out, err = streamFrom(c, block); err != nil {
		return nil, err
	}
	line := fmt.Appendf(nil, "%d %d %d 0 0 ", wire.KindMetaKey, c.number, ourDigest)
	return append(appendHex(line, sealed), '\n'), nil
}

// streamCipher is the one that we send with. Like tinc's its key is at least as
// long as that of the data.
func (m *Meta) streamCipher() streamCipher {
	number := aes256CFB
	c, err := cipherOf(m.cfg.Suite.Cipher)
	switch {
	case m.cfg.Suite.Cipher == NoCipher, err == nil && c.key <= 16:
		number = aes128CFB
	case err == nil && c.key <= 24:
		number = aes192CFB
	}
	s, _ := streamCipherOf(number)
	return s
}

// streamFrom takes key and IV from the end of a decrypted block.
func streamFrom(c streamCipher, block []byte) (*stream, error) {
	n := len(block) - c.key
	return newStream(c, block[n:], block[n-c.iv:n])
}

// Next takes bytes that were received and consumes one line at most; the rest of
// in is for the next call. Of a line that is not complete it keeps what it needs.
// An error is final.
func (m *Meta) Next(in []byte) (consumed int, ev MetaEvent, err error) {
	consumed, complete, err := m.readLine(in)
	if err != nil || !complete {
		return consumed, MetaEvent{}, err
	}
	line := string(m.line)
	m.line = m.line[:0]
	ev, err = m.handle(line)
	return consumed, ev, err
}

// readLine adds to m.line what in has up to the end of the line.
func (m *Meta) readLine(in []byte) (consumed int, complete bool, err error) {
	for i, c := range in {
		m.line = append(m.line, c)
		last := m.line[len(m.line)-1:]
		if m.in != nil {
			if err := m.in.spend(1); err != nil {
				return i, false, err
			}
			m.in.decrypt(last)
		}
		if last[0] == '\n' {
			m.line = m.line[:len(m.line)-1]
			return i + 1, true, nil
		}
		if len(m.line) > wire.MaxLine {
			return i, false, fmt.Errorf("the peer sent a line of more than %d bytes", wire.MaxLine)
		}
	}
	return len(in), false, nil
}

func (m *Meta) handle(line string) (MetaEvent, error) {
	if m.Established() {
		if line == "" {
			return MetaEvent{}, errors.New("the peer sent an empty line")
		}
		return MetaEvent{HasLine: true, Line: line}, nil
	}
	words := strings.Fields(line)
	if len(words) == 0 || words[0] != strconv.Itoa(int(m.expected)) {
		return MetaEvent{}, fmt.Errorf("the peer did not send %v when it was due", m.expected)
	}
	var ev MetaEvent
	var err error
	switch m.expected {
	case wire.KindMetaKey:
		ev, err = m.onMetaKey(words[1:])
	case wire.KindChallenge:
		ev, err = m.onChallenge(words[1:])
	case wire.KindChalReply:
		ev, err = m.onChalReply(words[1:])
	}
	if err != nil {
		return MetaEvent{}, fmt.Errorf("%v of the peer: %w", m.expected, err)
	}
	m.expected++
	return ev, nil
}

// onMetaKey takes "cipher digest maclength compression HEX".
func (m *Meta) onMetaKey(words []string) (MetaEvent, error) {
	if len(words) < 5 {
		return MetaEvent{}, errors.New("words are missing")
	}
	c, newHash, err := m.metaAlgorithms(words[0], words[1])
	if err != nil {
		return MetaEvent{}, err
	}
	sealed, err := parseHex(words[4], m.cfg.Key.Public().Size())
	if err != nil {
		return MetaEvent{}, err
	}
	block, err := m.cfg.Key.Decrypt(m.cfg.Rand, sealed)
	if err != nil {
		return MetaEvent{}, err
	}
	if m.in, err = streamFrom(c, block); err != nil {
		return MetaEvent{}, err
	}
	m.peerHash = newHash
	m.challenge = make([]byte, m.cfg.Peer.Size())
	if _, err := io.ReadFull(m.cfg.Rand, m.challenge); err != nil {
		return MetaEvent{}, err
	}
	return m.send(wire.KindChallenge, m.challenge)
}

// metaAlgorithms looks up what the peer's METAKEY names.
func (m *Meta) metaAlgorithms(cipherWord, digestWord string) (streamCipher, func() hash.Hash, error) {
	cipherNumber, err1 := strconv.Atoi(cipherWord)
	digestNumber, err2 := strconv.Atoi(digestWord)
	if err1 != nil || err2 != nil {
		return streamCipher{}, nil, errors.New("a number is not readable")
	}
	c, ok := streamCipherOf(cipherNumber)
	if !ok {
		return streamCipher{}, nil, fmt.Errorf("the cipher %s is not supported for meta connections", nameOf(cipherNumber))
	}
	newHash, ok := metaDigestOf(digestNumber)
	if !ok {
		return streamCipher{}, nil, fmt.Errorf("the digest %s is not supported for meta connections", nameOf(digestNumber))
	}
	switch p := m.cfg.Policy; {
	case cipherNumber == blowfishOFB && !p.Blowfish:
		return c, nil, &ErrWeak{"Blowfish on its meta connections, as tinc 1.0.29 and older", "Cipher = blowfish"}
	case digestNumber == SHA1 && !p.SHA1:
		return c, nil, &ErrWeak{"SHA-1 on its meta connections, as tinc 1.0.29 and older", "Digest = sha1"}
	}
	return c, newHash, nil
}

// onChallenge takes "HEX". The responder does not answer before the initiator has:
// nobody gets digests out of us who does not know a key of the network.
func (m *Meta) onChallenge(words []string) (MetaEvent, error) {
	if len(words) < 1 {
		return MetaEvent{}, errors.New("it is empty")
	}
	challenge, err := parseHex(words[0], m.cfg.Key.Public().Size())
	if err != nil {
		return MetaEvent{}, err
	}
	h := m.peerHash()
	h.Write(challenge)
	m.reply = h.Sum(nil)
	if !m.cfg.Initiator {
		return MetaEvent{}, nil
	}
	return m.send(wire.KindChalReply, m.reply)
}

// onChalReply takes "HEX".
func (m *Meta) onChalReply(words []string) (MetaEvent, error) {
	if len(words) < 1 {
		return MetaEvent{}, errors.New("it is empty")
	}
	newHash, _ := metaDigestOf(ourDigest)
	h := newHash()
	reply, err := parseHex(words[0], h.Size())
	if err != nil {
		return MetaEvent{}, err
	}
	h.Write(m.challenge)
	if subtle.ConstantTimeCompare(h.Sum(nil), reply) != 1 {
		return MetaEvent{}, ErrAnswer
	}
	var ev MetaEvent
	if !m.cfg.Initiator {
		if ev, err = m.send(wire.KindChalReply, m.reply); err != nil {
			return ev, err
		}
	}
	m.challenge, m.reply = nil, nil
	ev.Done = true
	return ev, nil
}

// send returns the event that sends a request with one field of hexadecimal.
func (m *Meta) send(kind wire.Kind, data []byte) (MetaEvent, error) {
	line := strconv.AppendInt(nil, int64(kind), 10)
	line = append(appendHex(append(line, ' '), data), '\n')
	err := m.seal(line)
	return MetaEvent{Out: line}, err
}

// seal encrypts b in place.
func (m *Meta) seal(b []byte) error {
	if err := m.out.spend(len(b)); err != nil {
		return err
	}
	m.out.encrypt(b)
	return nil
}

// NextRaw decrypts the n bytes after a PACKET line, in place. If in does not hold
// all of them yet, nothing is consumed and ok is false.
func (m *Meta) NextRaw(in []byte, n int) (raw []byte, ok bool, err error) {
	if len(in) < n || m.in == nil {
		return nil, false, nil
	}
	if err := m.in.spend(n); err != nil {
		return nil, false, err
	}
	raw = in[:n]
	m.in.decrypt(raw)
	return raw, true, nil
}

// AppendLine appends a request, encrypted; text has no newline. It fails before the
// login is over.
func (m *Meta) AppendLine(dst []byte, text string) ([]byte, error) {
	if len(text) > wire.MaxLine || strings.IndexByte(text, '\n') >= 0 {
		return dst, fmt.Errorf("a request of %d bytes is too long or has a newline", len(text))
	}
	if !m.Established() {
		return dst, errEarly
	}
	n := len(dst)
	dst = append(append(dst, text...), '\n')
	return dst, m.seal(dst[n:])
}

// AppendRaw appends the bytes after a PACKET line, encrypted.
func (m *Meta) AppendRaw(dst, raw []byte) ([]byte, error) {
	if !m.Established() {
		return dst, errEarly
	}
	n := len(dst)
	dst = append(dst, raw...)
	return dst, m.seal(dst[n:])
}

// ErrAnswer: the peer has proved that it is somebody else, or knows another key of ours.
var ErrAnswer = errors.New("the answer to our challenge is wrong: the peer does not have its private key, or another key of ours")

var errEarly = errors.New("the login is not over")

// parseHex reads exactly n bytes.
func parseHex(s string, n int) ([]byte, error) {
	if len(s) != 2*n {
		return nil, fmt.Errorf("%d hexadecimal digits instead of %d", len(s), 2*n)
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return nil, errors.New("it is not hexadecimal")
	}
	return b, nil
}

// appendHex appends b in upper case, as tinc writes it.
func appendHex(dst, b []byte) []byte {
	n := len(dst)
	dst = hex.AppendEncode(dst, b)
	copy(dst[n:], bytes.ToUpper(dst[n:]))
	return dst
}
