package legacy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"sync"
	"testing"

	"tincan/internal/keys"
	"tincan/internal/wire"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// step is one message of a conversation between real daemons.
type step struct {
	Dir, Line, Wire string
	Block           string `json:"rsa_plaintext_block"`
	Raw             string `json:"raw_after_packet_request"`
}

type conversation struct {
	Keys map[string]struct {
		PEM string `json:"private_pem_pkcs1"`
	}
	Initiator, Responder struct{ Name string }
	Steps                []step
	Datagrams            []struct {
		From, Datagram, Frame string
		Key                   string `json:"key_material_from_ans_key_of_receiver"`
		Number                uint32 `json:"seqno"`
	} `json:"udp_datagrams_aes256cbc_sha256_4"`
}

func load(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func (c *conversation) key(t testing.TB, name string) *keys.RSAPrivateKey {
	t.Helper()
	k, err := keys.ParseRSAPrivate([]byte(c.Keys[name].PEM))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// script gives the bytes that a real daemon chose, by the length that is asked
// for, and true randomness for other lengths.
type script struct {
	length int
	next   [][]byte
}

func (s *script) Read(p []byte) (int, error) {
	if len(p) != s.length {
		return rand.Read(p)
	}
	if len(s.next) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.next[0])
	s.next = s.next[1:]
	return n, nil
}

var conversations = []string{"legacy-handshake.json", "legacy-handshake-11-to-10.json", "legacy-upgrade-11.json"}

// TestConversationsOfRealDaemons puts us in the place of each of the two: what we
// send must be what the real one sent, byte by byte.
func TestConversationsOfRealDaemons(t *testing.T) {
	for _, file := range conversations {
		for _, own := range []string{"i2r", "r2i"} {
			for _, chunk := range []int{1, 13, 1 << 20} {
				t.Run(fmt.Sprintf("%s %s by %d", file, own, chunk), func(t *testing.T) {
					var c conversation
					load(t, file, &c)
					replay(t, &c, own, chunk)
				})
			}
		}
	}
}

func replay(t *testing.T, c *conversation, own string, chunk int) {
	us, peer := c.Initiator.Name, c.Responder.Name
	if own == "r2i" {
		us, peer = peer, us
	}
	source := &script{length: 256}
	for _, s := range c.Steps {
		if s.Dir != own {
			continue
		}
		if s.Block != "" {
			source.next = append(source.next, unhex(t, s.Block))
		} else if text, ok := strings.CutPrefix(s.Line, "2 "); ok {
			source.next = append(source.next, unhex(t, text))
		}
	}
	m, sent, err := NewMeta(MetaConfig{
		Initiator: own == "i2r",
		Key:       c.key(t, us),
		Peer:      c.key(t, peer).Public(),
		Suite:     DefaultSuite,
		Rand:      source,
	})
	if err != nil {
		t.Fatal(err)
	}
	var want, input []byte
	done := false
	raw := 0
	for _, s := range c.Steps {
		if strings.HasPrefix(s.Line, "0 ") {
			continue
		}
		wire := unhex(t, s.Wire)
		if s.Dir == own {
			want = append(want, wire...)
			switch {
			case s.Raw != "":
				sent, err = m.AppendRaw(sent, unhex(t, s.Raw))
			case !ours(s.Line):
				sent, err = m.AppendLine(sent, s.Line)
			}
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		for len(wire) > 0 {
			n := min(chunk, len(wire))
			input = append(input, wire[:n]...)
			wire = wire[n:]
			if raw > 0 {
				got, ok, err := m.NextRaw(input, raw)
				if err != nil {
					t.Fatal(err)
				}
				if ok {
					if hex.EncodeToString(got) != s.Raw {
						t.Fatalf("the raw bytes are %x", got)
					}
					input, raw = input[raw:], 0
				}
				continue
			}
			for len(input) > 0 {
				used, ev, err := m.Next(input)
				if err != nil {
					t.Fatal(err)
				}
				input = input[used:]
				sent = append(sent, ev.Out...)
				done = done || ev.Done
				if ev.HasLine {
					if ev.Line != s.Line {
						t.Fatalf("received %q instead of %q", ev.Line, s.Line)
					}
					fmt.Sscanf(ev.Line, "17 %d", &raw)
				}
			}
		}
	}
	if !done || !m.Established() {
		t.Error("the login did not end")
	}
	if !bytes.Equal(sent, want) {
		t.Errorf("what we sent is not what the real daemon sent:\n%.2000x\n%.2000x", sent, want)
	}
}

// ours tells whether a request is one that Meta sends itself.
func ours(line string) bool {
	return strings.HasPrefix(line, "1 ") || strings.HasPrefix(line, "2 ") || strings.HasPrefix(line, "3 ")
}

var testKeys = sync.OnceValue(func() map[int]*keys.RSAPrivateKey {
	m := make(map[int]*keys.RSAPrivateKey)
	for _, bits := range []int{1024, 2048, 2056} {
		k, err := keys.GenerateRSA(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		m[bits] = k
	}
	return m
})

// pair returns two ends that know each other's keys, and what they send first.
func pair(t testing.TB, bitsA, bitsB int, suite Suite, p Policy) (a, b *Meta, fromA, fromB []byte) {
	t.Helper()
	ka, kb := testKeys()[bitsA], testKeys()[bitsB]
	a, fromA, err := NewMeta(MetaConfig{Initiator: true, Key: ka, Peer: kb.Public(), Suite: suite, Policy: p, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	b, fromB, err = NewMeta(MetaConfig{Key: kb, Peer: ka.Public(), Suite: suite, Policy: p, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return a, b, fromA, fromB
}

// feed gives all of in to m and returns what m sends, and the lines that came.
func feed(m *Meta, in []byte) (out []byte, lines []string, err error) {
	for len(in) > 0 {
		n, ev, err := m.Next(in)
		if err != nil {
			return out, lines, err
		}
		in = in[n:]
		out = append(out, ev.Out...)
		if ev.HasLine {
			lines = append(lines, ev.Line)
		}
	}
	return out, lines, nil
}

// login lets two ends talk until both are silent.
func login(a, b *Meta, fromA, fromB []byte) error {
	for len(fromA)+len(fromB) > 0 {
		nextB, _, err := feed(b, fromA)
		if err != nil {
			return fmt.Errorf("responder: %w", err)
		}
		nextA, _, err := feed(a, fromB)
		if err != nil {
			return fmt.Errorf("initiator: %w", err)
		}
		fromA, fromB = nextA, nextB
	}
	if !a.Established() || !b.Established() {
		return errors.New("not established")
	}
	return nil
}

func TestTwoOfUs(t *testing.T) {
	for name, c := range map[string]struct {
		bitsA, bitsB int
		cipher       string
		metaCipher   string
	}{
		"as usual":                       {2048, 2048, "", "1 429 672 0 0 "},
		"keys of different lengths":      {2048, 2056, "aes-192-cbc", "1 425 672 0 0 "},
		"the other one has a longer key": {2056, 1024, "aes-128-cbc", "1 421 672 0 0 "},
		"short keys":                     {1024, 1024, "none", "1 421 672 0 0 "},
	} {
		suite, err := SuiteFromConfig(c.cipher, "", -1, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, b, fromA, fromB := pair(t, c.bitsA, c.bitsB, suite, Policy{ShortRSA: true})
		if !bytes.HasPrefix(fromA, []byte(c.metaCipher)) {
			t.Errorf("%s: METAKEY is %s", name, fromA)
		}
		if err := login(a, b, fromA, fromB); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		out, err := a.AppendLine(nil, "4 655 2 c")
		if err != nil {
			t.Fatal(err)
		}
		out, err = a.AppendLine(out, "8")
		if err != nil {
			t.Fatal(err)
		}
		if _, lines, err := feed(b, out); err != nil || strings.Join(lines, "|") != "4 655 2 c|8" {
			t.Errorf("%s: %q, %v", name, lines, err)
		}
	}
}

func TestNothingIsSentBeforeTheLogin(t *testing.T) {
	a, _, _, _ := pair(t, 2048, 2048, DefaultSuite, Policy{})
	if out, err := a.AppendLine(nil, "8"); err == nil || len(out) > 0 {
		t.Error("a line was sent")
	}
	if out, err := a.AppendRaw(nil, []byte("frame")); err == nil || len(out) > 0 {
		t.Error("a frame was sent")
	}
}

func TestTheResponderAnswersLast(t *testing.T) {
	a, b, fromA, fromB := pair(t, 2048, 2048, DefaultSuite, Policy{})
	challengeB, _, err := feed(b, fromA)
	if err != nil {
		t.Fatal(err)
	}
	challengeA, _, err := feed(a, fromB)
	if err != nil {
		t.Fatal(err)
	}
	if out, _, err := feed(b, challengeA); err != nil || len(out) > 0 {
		t.Errorf("the responder answered a challenge with %x, %v", out, err)
	}
	replyA, _, err := feed(a, challengeB)
	if err != nil || len(replyA) != len("3 \n")+64 {
		t.Fatalf("the initiator answered %x, %v", replyA, err)
	}
	if a.Established() {
		t.Error("the initiator trusts without an answer")
	}
	replyA[10] ^= 1 // in the middle of the digest
	if out, _, err := feed(b, replyA); err == nil || len(out) > 0 {
		t.Errorf("a wrong answer was taken: %x, %v", out, err)
	}
}

func TestWhatARealPeerWouldNotSend(t *testing.T) {
	digits := strings.Repeat("0", 511) + "2" // a block like any other
	for name, c := range map[string]struct{ line, want string }{
		"nothing":                  {"", "METAKEY"},
		"another request":          {"8", "METAKEY"},
		"an ACK":                   {"4 655 2 c", "METAKEY"},
		"a number that is no word": {"10 429 672 0 0 " + digits, "METAKEY"},
		"too few words":            {"1 429 672 0 0", "words are missing"},
		"cipher none":              {"1 0 672 0 0 " + digits, "cipher"},
		"digest none":              {"1 429 0 0 0 " + digits, "digest"},
		"an OFB cipher":            {"1 428 672 0 0 " + digits, "cipher aes-256-ofb"},
		"numbers out of range":     {"1 99999999999999999999 672 0 0 " + digits, "number"},
		"too few digits":           {"1 429 672 0 0 " + digits[2:], "510 hexadecimal digits instead of 512"},
		"too many digits":          {"1 429 672 0 0 00" + digits, "514"},
		"no hexadecimal":           {"1 429 672 0 0 x" + digits[1:], "not hexadecimal"},
		"above the modulus":        {"1 429 672 0 0 " + strings.Repeat("F", 512), "modulus"},
		"a line without end":       {strings.Repeat("1", 3000), "more than 2175 bytes"},
	} {
		m, _, _, _ := pair(t, 2048, 2048, DefaultSuite, Policy{})
		if _, _, err := feed(m, []byte(c.line+"\n")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// oldPeer is the METAKEY line of a node with tinc 1.0.29 or older.
func oldPeer(t *testing.T, k keys.RSAPublicKey, cipher, digest int) []byte {
	block := make([]byte, k.Size())
	block[1] = 1
	sealed, err := k.Encrypt(block)
	if err != nil {
		t.Fatal(err)
	}
	return append(appendHex(fmt.Appendf(nil, "1 %d %d 0 0 ", cipher, digest), sealed), '\n')
}

func TestOldMetaConnectionsNeedAllowance(t *testing.T) {
	k := testKeys()[2048].Public()
	for name, c := range map[string]struct {
		cipher, digest int
		policy         Policy
		setting        string // "": allowed
	}{
		"blowfish not allowed":    {94, 64, Policy{SHA1: true}, "Cipher = blowfish"},
		"sha1 not allowed":        {94, 64, Policy{Blowfish: true}, "Digest = sha1"},
		"sha1 alone not allowed":  {429, 64, Policy{}, "Digest = sha1"},
		"both allowed":            {94, 64, Policy{Blowfish: true, SHA1: true}, ""},
		"other digests as usual":  {429, 674, Policy{}, ""},
		"AES with shorter a key":  {421, 673, Policy{}, ""},
		"AES with 192 bits of it": {425, 672, Policy{}, ""},
	} {
		m, _, _, _ := pair(t, 2048, 2048, DefaultSuite, c.policy)
		_, _, err := feed(m, oldPeer(t, k, c.cipher, c.digest))
		var weak *ErrWeak
		switch {
		case c.setting == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.setting != "" && (!errors.As(err, &weak) || weak.Setting != c.setting):
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestShortKeysNeedAllowance(t *testing.T) {
	long, short := testKeys()[2048], testKeys()[1024]
	c := MetaConfig{Key: long, Peer: short.Public(), Suite: DefaultSuite, Rand: rand.Reader}
	var weak *ErrWeak
	if _, _, err := NewMeta(c); !errors.As(err, &weak) || weak.Setting != "ShortRSAKeys = yes" {
		t.Errorf("%v", err)
	}
	c.Policy.ShortRSA = true
	if _, _, err := NewMeta(c); err != nil {
		t.Errorf("allowed: %v", err)
	}
	if _, _, err := NewMeta(MetaConfig{Peer: long.Public(), Rand: rand.Reader}); err == nil {
		t.Error("a connection without a key")
	}
	bad := keys.RSAPublicKey{N: big.NewInt(15), E: 3}
	if _, _, err := NewMeta(MetaConfig{Key: long, Peer: bad, Rand: rand.Reader, Policy: Policy{ShortRSA: true}}); err == nil {
		t.Error("a connection with a key of four bits")
	}
}

func TestBlowfishConnectionsEndBeforeTheKeyIsWornOut(t *testing.T) {
	c, _ := streamCipherOf(blowfishOFB)
	s, err := newStream(c, make([]byte, 16), make([]byte, 8))
	if err != nil {
		t.Fatal(err)
	}
	if s.left != 1<<31 {
		t.Errorf("the budget is %d bytes", s.left)
	}
	a, b, fromA, fromB := pair(t, 2048, 2048, DefaultSuite, Policy{})
	if err := login(a, b, fromA, fromB); err != nil {
		t.Fatal(err)
	}
	a.out.left, b.in.left = 2, 1
	out, err := a.AppendLine(nil, "8")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AppendLine(nil, "8"); !errors.Is(err, errByteLimit) {
		t.Errorf("sending beyond the limit: %v", err)
	}
	if _, _, err := feed(b, out); !errors.Is(err, errByteLimit) {
		t.Errorf("receiving beyond the limit: %v", err)
	}
}

// TestBlowfishOFB checks the mode against the first blocks of its definition: the
// key stream is E(IV), E(E(IV)), ...
func TestBlowfishOFB(t *testing.T) {
	c, _ := streamCipherOf(blowfishOFB)
	key, iv := []byte("sixteen byte key"), []byte("8 bytes!")
	s, err := newStream(c, key, iv)
	if err != nil {
		t.Fatal(err)
	}
	var want []byte
	for block := iv; len(want) < 24; {
		next := make([]byte, 8)
		s.block.Encrypt(next, block)
		want = append(want, next...)
		block = next
	}
	got := make([]byte, 24)
	s.encrypt(got[:5])
	s.encrypt(got[5:])
	if !bytes.Equal(got, want) {
		t.Errorf("%x instead of %x", got, want)
	}
}

func TestLinesThatMustNotBeSentOrTaken(t *testing.T) {
	a, b, fromA, fromB := pair(t, 2048, 2048, DefaultSuite, Policy{})
	if err := login(a, b, fromA, fromB); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"two lines": "8\n9",
		"too long":  strings.Repeat("x", 2176),
	} {
		if _, err := a.AppendLine(nil, text); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	out, err := a.AppendLine(nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := feed(b, out); err == nil {
		t.Error("an empty line was taken")
	}
}

func FuzzMeta(f *testing.F) {
	for _, file := range conversations {
		var c conversation
		load(f, file, &c)
		var clear, later []byte
		for _, s := range c.Steps {
			if s.Block != "" {
				clear = append(clear, unhex(f, s.Wire)...)
			} else {
				later = append(later, s.Line+"\n"...)
			}
		}
		f.Add(uint8(0), clear)
		f.Add(uint8(1), later)
	}
	own := testKeys()[1024]
	f.Fuzz(func(t *testing.T, stage uint8, in []byte) {
		m, _, err := NewMeta(MetaConfig{
			Initiator: stage&1 == 1, Key: own, Peer: own.Public(), Suite: DefaultSuite,
			Policy: Policy{Blowfish: true, SHA1: true, ShortRSA: true}, Rand: rand.Reader,
		})
		if err != nil {
			t.Fatal(err)
		}
		if stage%4 > 0 { // a later stage: what the peer says is in as it will be decrypted
			c, _ := streamCipherOf(aes256CFB)
			key, iv := make([]byte, 32), make([]byte, 16)
			m.in, _ = newStream(c, key, iv)
			same, _ := newStream(c, key, iv)
			m.peerHash, _ = metaDigestOf(SHA256)
			m.expected += wire.Kind(stage % 4)
			in = bytes.Clone(in)
			same.encrypt(in)
		}
		for len(in) > 0 {
			n, ev, err := m.Next(in)
			if err != nil {
				return
			}
			if n <= 0 || n > len(in) {
				t.Fatalf("consumed %d of %d bytes", n, len(in))
			}
			if ev.HasLine && (len(ev.Line) > 2175 || strings.Contains(ev.Line, "\n")) {
				t.Fatalf("line %q", ev.Line)
			}
			in = in[n:]
		}
	})
}
