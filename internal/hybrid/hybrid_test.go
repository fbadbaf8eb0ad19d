package hybrid

import (
	"bytes"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"testing"

	"tincan/internal/mask"
)

var update = flag.Bool("update", false, "write testdata/hybrid.json anew")

// stream is a source of "randomness" that counts up from a byte.
type stream byte

func (s *stream) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(*s)
		*s++
	}
	return len(b), nil
}

func from(b byte) io.Reader { s := stream(b); return &s }

func seq(first byte, n int) []byte {
	b := make([]byte, n)
	from(first).Read(b)
	return b
}

// session is the same at both ends. Encapsulation is derandomised, so that the outcome is always the same.
func session(postQuantum bool) Session {
	s := Session{
		Label: []byte("tinc UDP key expansion alice bob\x00"), InitiatorKey: [32]byte(seq(1, 32)), ResponderKey: [32]byte(seq(2, 32)),
		InitiatorKEX: seq(3, 65), ResponderKEX: seq(4, 65), Secret: seq(5, SecretSize), PostQuantum: postQuantum,
	}
	s.encapsulate = func(k *mlkem.EncapsulationKey768) ([]byte, []byte) {
		secret, ciphertext, err := mlkemtest.Encapsulate768(k, seq(6, 32))
		if err != nil {
			panic(err)
		}
		return secret, ciphertext
	}
	return s
}

var (
	both  = []Cost{{Stock, 650}, {AESGCM, 600}}
	stock = []Cost{{Stock, 300}}
)

// exchange runs one between two ends.
func exchange(t *testing.T, responder, initiator Session, rc, ic []Cost) (*Offer, *Answer, Keys) {
	t.Helper()
	o, err := NewOffer(responder, rc, from(10))
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewAnswer(initiator, ic, o.Message(), from(20))
	if err != nil {
		t.Fatal(err)
	}
	keys, confirm, err := o.Finish(a.Message)
	if err != nil {
		t.Fatal(err)
	}
	if !a.Confirmed(confirm) {
		t.Fatal("the confirmation does not fit")
	}
	return o, a, keys
}

func TestBothEndsHaveTheSameKeys(t *testing.T) {
	for _, pq := range []bool{true, false} {
		s := session(pq)
		s.encapsulate = nil // at random
		_, a, keys := exchange(t, s, s, both, both)
		if keys != a.Keys || keys.Cipher != AESGCM || keys.PostQuantum != pq {
			t.Errorf("post-quantum %v: %v %v, %v %v", pq, keys.Cipher, keys.PostQuantum, a.Keys.Cipher, a.Keys.PostQuantum)
		}
		if keys.Initiator == keys.Responder {
			t.Error("both directions have the same key")
		}
	}
}

// The vectors are of this protocol: nobody else speaks it. They keep it from being changed by mistake.
func TestVectors(t *testing.T) {
	type hexes string
	type vector struct {
		Name                                                 string
		PostQuantum                                          bool
		Cipher                                               string
		Offer, Answer, Confirm                               hexes
		InitiatorKey, InitiatorIV, ResponderKey, ResponderIV hexes
	}
	var file struct {
		Comment                                                       string
		Label, InitiatorKey, ResponderKey, InitiatorKEX, ResponderKEX hexes
		Secret, ResponderRandom, InitiatorRandom, EncapsulationRandom hexes
		Cases                                                         []vector
	}
	h := func(b []byte) hexes { return hexes(hex.EncodeToString(b)) }
	s := session(true)
	file.Comment = "The responder reads 32 bytes for X25519 and then 64 for ML-KEM (d, z); the initiator 32 for X25519, and 32 for the encapsulation (m)."
	file.Label, file.InitiatorKey, file.ResponderKey = h(s.Label), h(s.InitiatorKey[:]), h(s.ResponderKey[:])
	file.InitiatorKEX, file.ResponderKEX, file.Secret = h(s.InitiatorKEX), h(s.ResponderKEX), h(s.Secret)
	file.ResponderRandom, file.InitiatorRandom, file.EncapsulationRandom = h(seq(10, 96)), h(seq(20, 32)), h(seq(6, 32))
	for _, c := range []struct {
		name   string
		pq     bool
		rc, ic []Cost
	}{
		{"both have AES, post-quantum", true, both, both},
		{"one without AES, post-quantum", true, both, stock},
		{"both have AES, classical", false, both, both},
	} {
		s := session(c.pq)
		o, a, keys := exchange(t, s, s, c.rc, c.ic)
		file.Cases = append(file.Cases, vector{
			Name: c.name, PostQuantum: c.pq, Cipher: keys.Cipher.String(),
			Offer: h(o.Message()), Answer: h(a.Message), Confirm: h(a.confirm),
			InitiatorKey: h(keys.Initiator.Key[:]), InitiatorIV: h(keys.Initiator.IV[:]),
			ResponderKey: h(keys.Responder.Key[:]), ResponderIV: h(keys.Responder.IV[:]),
		})
	}
	got, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	const name = "testdata/hybrid.json"
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("the exchange has changed: nodes of different versions would not understand each other")
	}
}

func TestTheLeastSumIsChosen(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b []Cost
		want Cipher
	}{
		{"AES is quicker at both", both, both, AESGCM},
		{"AES is much slower at one", []Cost{{Stock, 300}, {AESGCM, 900}}, both, Stock},
		{"AES gains more at one than it loses at the other", []Cost{{Stock, 300}, {AESGCM, 320}}, both, AESGCM},
		{"one has no AES", both, stock, Stock},
		{"equal", []Cost{{AESGCM, 1}, {Stock, 1}}, []Cost{{AESGCM, 1}, {Stock, 1}}, Stock},
		{"sums do not overflow", []Cost{{Stock, 1 << 31}, {AESGCM, 5}}, []Cost{{Stock, 1 << 31}, {AESGCM, 5}}, AESGCM},
		{"both have a cipher that nobody knows here", []Cost{{Stock, 9}, {77, 1}}, []Cost{{77, 1}, {Stock, 9}}, Stock},
	} {
		if got, turned := choose(c.a, c.b), choose(c.b, c.a); got != c.want || turned != c.want {
			t.Errorf("%s: %v and %v, want %v", c.name, got, turned, c.want)
		}
	}
}

// Whatever the two ends have not seen alike, they do not agree on keys.
func TestDifferentTranscriptsAreRefused(t *testing.T) {
	change := map[string]func(*Session){
		"label":             func(s *Session) { s.Label = []byte("tinc UDP key expansion alice eve\x00") },
		"kind of session":   func(s *Session) { s.Label = []byte("tinc TCP key expansion alice bob\x00") },
		"initiator's key":   func(s *Session) { s.InitiatorKey[5] ^= 1 },
		"responder's key":   func(s *Session) { s.ResponderKey[5] ^= 1 },
		"initiator's KEX":   func(s *Session) { s.InitiatorKEX = seq(77, 65) },
		"responder's KEX":   func(s *Session) { s.ResponderKEX = seq(77, 65) },
		"roles":             func(s *Session) { s.InitiatorKEX, s.ResponderKEX = s.ResponderKEX, s.InitiatorKEX },
		"stock secret":      func(s *Session) { s.Secret = seq(99, SecretSize) },
		"border of a field": func(s *Session) { s.Label = s.Label[:len(s.Label)-1] },
	}
	for what, f := range change {
		theirs, ours := session(true), session(true)
		f(&theirs)
		o, err := NewOffer(ours, both, from(10))
		if err != nil {
			t.Fatal(err)
		}
		a, err := NewAnswer(theirs, both, o.Message(), from(20))
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := o.Finish(a.Message); !errors.Is(err, ErrFinished) {
			t.Errorf("another %s: %v", what, err)
		}
	}
}

// Somebody who could change messages inside the session would not get further: each byte of either message counts.
func TestChangedMessagesAreRefused(t *testing.T) {
	s := session(true)
	o, err := NewOffer(s, both, from(10))
	if err != nil {
		t.Fatal(err)
	}
	good, err := NewAnswer(s, both, o.Message(), from(20))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(o.Message()); i += 7 {
		b := bytes.Clone(o.Message())
		b[i] ^= 4
		a, err := NewAnswer(s, both, b, from(20))
		if err != nil {
			continue
		}
		if _, _, err := o.Finish(a.Message); err == nil {
			t.Errorf("byte %d of the OFFER does not count", i)
		}
	}
	for i := 0; i < len(good.Message); i += 7 {
		b := bytes.Clone(good.Message)
		b[i] ^= 4
		if _, _, err := o.Finish(b); err == nil {
			t.Errorf("byte %d of the ANSWER does not count", i)
		}
	}
	_, confirm, err := o.Finish(good.Message)
	if err != nil {
		t.Fatal(err)
	}
	for i := range confirm {
		b := bytes.Clone(confirm)
		b[i] ^= 4
		if good.Confirmed(b) {
			t.Errorf("byte %d of the CONFIRM does not count", i)
		}
	}
}

// A message is good for its role, and for one exchange.
func TestReflectedAndMixedMessagesAreRefused(t *testing.T) {
	s := session(true)
	first, a, _ := exchange(t, s, s, both, both)
	second, err := NewOffer(s, both, from(100))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := second.Finish(a.Message); !errors.Is(err, ErrFinished) {
		t.Errorf("the answer to another offer: %v", err)
	}
	if _, _, err := first.Finish(first.Message()); !errors.Is(err, ErrRole) {
		t.Errorf("the offer as its answer: %v", err)
	}
	if _, err := NewAnswer(s, both, a.Message, from(20)); !errors.Is(err, ErrRole) {
		t.Errorf("an answer as an offer: %v", err)
	}
	other, err := NewAnswer(s, both, second.Message(), from(20))
	if err != nil {
		t.Fatal(err)
	}
	if a.Confirmed(other.confirm) || a.Confirmed(a.Message) || a.Confirmed(nil) {
		t.Error("a confirmation of something else counts")
	}
	classical := session(false)
	if _, _, err := first.Finish(a.Message[:len(a.Message)-1]); !errors.Is(err, ErrMessage) {
		t.Errorf("an answer that was cut: %v", err)
	}
	if _, err := NewAnswer(classical, both, first.Message(), from(20)); !errors.Is(err, ErrMessage) {
		t.Errorf("post-quantum where it was not announced: %v", err)
	}
}

func TestPointsOfSmallOrderAreRefused(t *testing.T) {
	s := session(false)
	o, err := NewOffer(s, stock, from(10))
	if err != nil {
		t.Fatal(err)
	}
	b := bytes.Clone(o.Message())
	clear(b[len(b)-pointSize:])
	if _, err := NewAnswer(s, stock, b, from(20)); !errors.Is(err, ErrMessage) {
		t.Errorf("%v", err)
	}
}

func TestAnnouncement(t *testing.T) {
	for _, want := range []Announcement{{1, false, false}, {1, true, false}, {1, false, true}, {1, true, true}} {
		nonce := seq(0, 32)
		Announce(nonce, want.PostQuantum, want.Masking)
		if got := Announced(nonce); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if !bytes.Equal(nonce[:24], seq(0, 24)) {
			t.Error("more than the last eight bytes have changed")
		}
	}
	for _, nonce := range [][]byte{nil, seq(0, 7), seq(0, 32)} {
		if got := Announced(nonce); got != (Announcement{}) {
			t.Errorf("%x announces %+v", nonce, got)
		}
	}
}

// Each end is told the key of the other's mask, in messages that are longer by just that.
func TestMaskKeysAreExchanged(t *testing.T) {
	plainOffer, plainAnswer, plain := exchange(t, session(true), session(true), both, both)
	if plain.Mask != nil || plainAnswer.Keys.Mask != nil {
		t.Error("there is the key of a mask that nobody has sent")
	}
	r, i := session(true), session(true)
	r.Mask, i.Mask = &mask.Key{1}, &mask.Key{2}
	o, a, keys := exchange(t, r, i, both, both)
	if keys.Mask == nil || *keys.Mask != (mask.Key{2}) || a.Keys.Mask == nil || *a.Keys.Mask != (mask.Key{1}) {
		t.Errorf("the responder has %x, the initiator %x", keys.Mask, a.Keys.Mask)
	}
	if len(o.Message()) != len(plainOffer.Message())+mask.KeySize || len(a.Message) != len(plainAnswer.Message)+mask.KeySize {
		t.Errorf("%d and %d bytes", len(o.Message()), len(a.Message))
	}
	if _, err := NewAnswer(session(true), both, o.Message(), from(20)); !errors.Is(err, ErrMessage) {
		t.Errorf("an OFFER with the key of a mask was taken without one: %v", err)
	}
	changed := bytes.Clone(a.Message)
	changed[bytes.LastIndex(changed, i.Mask[:])] ^= 1
	if _, _, err := o.Finish(changed); !errors.Is(err, ErrFinished) {
		t.Errorf("a changed key was taken: %v", err)
	}
}

func FuzzMessage(f *testing.F) {
	masked := func(s Session, yes bool) Session {
		if yes {
			s.Mask = &mask.Key{1, 2, 3}
		}
		return s
	}
	for _, pq := range []bool{true, false} {
		s := masked(session(pq), pq)
		o, err := NewOffer(s, both, from(10))
		if err != nil {
			f.Fatal(err)
		}
		a, err := NewAnswer(s, both, o.Message(), from(20))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(o.Message(), pq)
		f.Add(a.Message, pq)
		f.Add(a.confirm, pq)
	}
	f.Fuzz(func(t *testing.T, b []byte, pq bool) {
		KindOf(b)
		s := masked(session(pq), pq)
		if a, err := NewAnswer(s, stock, b, from(20)); err == nil {
			if m, err := s.parse(a.Message); err != nil || m.kind != kindAnswer {
				t.Errorf("our own answer cannot be read: %v", err)
			}
		}
		o, err := NewOffer(s, stock, from(10))
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = o.Finish(b)
		m, err := s.parse(b)
		if err != nil {
			return
		}
		again := appendCosts([]byte{m.kind}, m.costs)
		again = append(append(append(append(again, m.point...), m.mask...), m.kem...), m.finished...)
		if !bytes.Equal(again, b) || len(b) > MaxMessage {
			t.Errorf("%x was read as %x", b, again)
		}
	})
}

func BenchmarkExchange(b *testing.B) {
	s := session(true)
	s.encapsulate = nil
	for b.Loop() {
		o, err := NewOffer(s, both, from(10))
		if err != nil {
			b.Fatal(err)
		}
		a, err := NewAnswer(s, both, o.Message(), from(20))
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := o.Finish(a.Message); err != nil {
			b.Fatal(err)
		}
	}
}
