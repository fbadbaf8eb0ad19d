package roster

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"tincan/internal/keys"
)

// MaxStatement is the size of the largest statement, in bytes.
const MaxStatement = 4096

// label separates the signatures of statements from everything else that the same keys sign.
const label = "tincan roster v1\x00"

// ID names a statement, a network (by its genesis statement) or a list of owners.
type ID [32]byte

// String returns the id as 64 lower-case hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero tells whether id is the zero id, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads 64 hexadecimal digits.
func ParseID(s string) (ID, error) {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, fmt.Errorf("network id %.80q: not 64 hexadecimal digits", s)
	}
	return ID(b), nil
}

// Kind says what a statement is about.
type Kind uint8

// The kinds of statements. Others are kept and passed on, but not understood.
const (
	KindGenesis    Kind = 1  // begins a network: its first owners
	KindOwners     Kind = 2  // one owner's signature under the next list of owners
	KindMember     Kind = 3  // a name, its key, and what it was granted
	KindInvitation Kind = 4  // a permission to admit
	KindAdmission  Kind = 5  // somebody was admitted under an invitation
	KindRemoval    Kind = 6  // a key that counts for nothing any more
	KindPolicy     Kind = 7  // who may talk to whom
	KindNames      Kind = 8  // further names in DNS
	KindDevice     Kind = 9  // a telephone or router that has WireGuard: its key and addresses
	KindRecovery   Kind = 10 // a new list of owners by the recovery key
	KindDoor       Kind = 11 // the key that all doors of devices share
)

// kindNames are the kinds that this program understands.
var kindNames = map[Kind]string{
	KindGenesis: "genesis", KindOwners: "owners", KindMember: "member", KindInvitation: "invitation", KindAdmission: "admission",
	KindRemoval: "removal", KindPolicy: "policy", KindNames: "names", KindRecovery: "recovery",
	KindDevice: "device", KindDoor: "door",
}

// String returns the kind in one word.
func (k Kind) String() string {
	if name, ok := kindNames[k]; ok {
		return name
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

const flagCritical = 1

// Statement is one signed sentence of a roster. Those that [Parse] returns own their memory.
type Statement struct {
	Critical bool   // who does not understand it must not administer the network
	Network  ID     // zero in a genesis
	Serial   uint64 // of two statements about the same the higher one counts
	NotAfter int64  // Unix seconds, 0: no end
	Content  Content

	Signer    keys.PublicKey
	Signature [64]byte
}

// Content is what a statement says: one of [Genesis], [Owners], [Recovery], [Member],
// [Invitation], [Admission], [Removal], [Policy], [Names], [Device], [Door] and [Unknown].
type Content interface {
	Kind() Kind
	appendSubject(dst []byte) []byte
	appendBody(dst []byte) []byte
}

// Append appends the encoding of s. It does not check it; see [Statement.Check].
func (s *Statement) Append(dst []byte) []byte {
	return append(s.appendUnsigned(dst), s.Signature[:]...)
}

// appendUnsigned appends everything before the signature.
func (s *Statement) appendUnsigned(dst []byte) []byte {
	var flags byte
	if s.Critical {
		flags = flagCritical
	}
	dst = append(dst, byte(s.Content.Kind()), flags)
	dst = append(dst, s.Network[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.Serial)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.NotAfter))

	start := len(dst)
	dst = s.Content.appendSubject(append(dst, 0))
	dst[start] = byte(len(dst) - start - 1)

	start = len(dst)
	dst = s.Content.appendBody(append(dst, 0, 0))
	binary.BigEndian.PutUint16(dst[start:], uint16(len(dst)-start-2))

	return append(dst, s.Signer[:]...)
}

// signed returns the bytes under the signature.
func (s *Statement) signed() []byte {
	return s.appendUnsigned(append(make([]byte, 0, 512), label...))
}

// ID returns the id of s: the SHA-256 of its encoding. The signature is part of it. The owner of
// a key can make many signatures of the same words; these are different statements, of which
// only one is kept (see slot), so that nodes which got different ones come to agree.
func (s *Statement) ID() ID { return sum(s.Append(nil)) }

// Check tells whether s can be encoded: all its parts within their limits, in the one form
// that they have.
func (s *Statement) Check() error {
	_, err := Parse(s.Append(nil))
	return err
}

var errSignature = errors.New("the signature is not that of the signer")

// Verify checks all signatures in s and that every key in it can only be signed for by its
// owner. It does not say whether the signer has any right to say this.
func (s *Statement) Verify() error {
	if err := s.Signer.Valid(); err != nil {
		return fmt.Errorf("%v statement: signer: %w", s.Content.Kind(), err)
	}
	return s.verify()
}

// verify is [Statement.Verify] for a signer whose key has been checked.
func (s *Statement) verify() error {
	if !s.Signer.Verify(s.signed(), s.Signature[:]) {
		return fmt.Errorf("%v statement: %w", s.Content.Kind(), errSignature)
	}
	if c, ok := s.Content.(interface{ verify(network ID) error }); ok {
		if err := c.verify(s.Network); err != nil {
			return fmt.Errorf("%v statement: %w", s.Content.Kind(), err)
		}
	}
	return nil
}

// sign fills in signer and signature.
func (s *Statement) sign(key *keys.PrivateKey) {
	s.Signer = key.Public()
	s.Signature = key.Sign(s.signed())
}

// Parse reads one statement, which must fill b, and checks its form, but no signature. A
// statement of a kind that is not known has an [Unknown] content.
func Parse(b []byte) (*Statement, error) {
	s, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("roster statement: %w", err)
	}
	return s, nil
}

func parse(b []byte) (*Statement, error) {
	if len(b) > MaxStatement {
		return nil, fmt.Errorf("%d bytes instead of at most %d", len(b), MaxStatement)
	}
	r := reader{rest: b}
	kind, flags := Kind(r.u8()), r.u8()
	s := &Statement{Critical: flags == flagCritical, Network: r.id(), Serial: r.u64(), NotAfter: r.i64()}
	subject := r.take(int(r.u8()))
	body := r.take(int(r.u16()))
	s.Signer = keys.PublicKey(r.id())
	copy(s.Signature[:], r.take(len(s.Signature)))
	if err := r.end(); err != nil {
		return nil, err
	}
	if flags > flagCritical {
		return nil, fmt.Errorf("unknown flags %#x", flags)
	}
	if s.NotAfter < 0 {
		return nil, errors.New("ends before 1970")
	}
	var err error
	if s.Content, err = parseContent(kind, subject, body); err != nil {
		return nil, fmt.Errorf("%v: %w", kind, err)
	}
	if err := s.checkHeader(kind); err != nil {
		return nil, fmt.Errorf("%v: %w", kind, err)
	}
	return s, nil
}

// checkHeader refuses fields that mean nothing for a kind, because they could be filled in
// at will.
func (s *Statement) checkHeader(kind Kind) error {
	if _, unknown := s.Content.(*Unknown); unknown {
		return nil
	}
	switch {
	case s.Critical:
		return errors.New("a known kind is marked as critical")
	case kind == KindGenesis && s.Signer != s.Content.(*Genesis).Owners[0].Key:
		return errors.New("is not signed by its first owner")
	case s.Network.IsZero() != (kind == KindGenesis):
		return errors.New("exactly a genesis names no network")
	case s.NotAfter != 0 && kind != KindMember && kind != KindInvitation:
		return errors.New("has no end")
	case s.Serial != 0 && (kind == KindGenesis || kind == KindAdmission):
		return errors.New("has no serial number")
	}
	return nil
}
