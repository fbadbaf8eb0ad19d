package legacy

import (
	"bytes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"tincan/internal/compress"
)

type packetVectors struct {
	Packets []struct {
		Label, Cipher, Digest    string
		CipherNumber             int    `json:"cipher_nid"`
		DigestNumber             int    `json:"digest_nid"`
		MACLen                   int    `json:"mac_length"`
		Key                      string `json:"key_material"`
		Compression              int
		Number                   uint32 `json:"seqno"`
		Frame, Datagram          string
		AcceptedByTheRealProgram *bool `json:"accepted_by_1_0_36"`
	}
	Replay []struct {
		Label string
		Bytes int `json:"replay_window_bytes"`
		Steps []struct {
			Number   uint32 `json:"seqno"`
			Accepted bool
			Last     uint64 `json:"received_seqno_after"`
			Far      int    `json:"farfuture_after"`
		}
	}
}

// everything allows all weak choices.
var everything = Policy{Blowfish: true, TripleDES: true, NoCipher: true, SHA1: true, MD5: true, NoDigest: true, ShortRSA: true}

func TestPacketsOfTheRealProgram(t *testing.T) {
	var v packetVectors
	load(t, "legacy-packets.json", &v)
	done, refused := 0, map[string]bool{}
	for _, c := range v.Packets {
		s := Suite{Cipher: c.CipherNumber, Digest: c.DigestNumber, MACLen: c.MACLen, Compression: c.Compression}
		name := c.Label + ", " + c.Cipher + ", " + c.Digest
		l := NewLink(128)
		if err := l.SetSendKey(strings.ToUpper(c.Key), s, everything); err != nil {
			refused[c.Cipher] = true
			continue
		}
		done++
		if err := l.setReceiveKey(unhex(t, c.Key), s); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// A jump as far as some numbers here is not believed at once.
		l.receive.window.last = uint64(c.Number) - 1
		l.send.last = c.Number - 1

		datagram := unhex(t, c.Datagram)
		if c.MACLen > 0 && !l.Check(datagram) {
			t.Errorf("%s: Check does not know the packet", name)
		}
		got, err := l.Open([]byte("before"), datagram)
		if err != nil || hex.EncodeToString(got[len("before"):]) != c.Frame || !bytes.HasPrefix(got, []byte("before")) {
			t.Errorf("%s: Open gave %x, %v", name, got, err)
		}
		if _, err := l.Open(nil, datagram); !errors.Is(err, ErrReplay) {
			t.Errorf("%s: opened twice: %v", name, err)
		}
		if c.Compression != compress.None {
			continue // we pack in another way
		}
		sealed, err := l.Seal([]byte("before"), unhex(t, c.Frame))
		if err != nil || hex.EncodeToString(sealed[len("before"):]) != c.Datagram {
			t.Errorf("%s: Seal gave %x, %v", name, sealed, err)
		}
		if n := l.SealedLen(len(c.Frame) / 2); n != len(datagram) {
			t.Errorf("%s: SealedLen is %d, not %d", name, n, len(datagram))
		}
	}
	for _, cipher := range []string{"camellia-256-cbc", "aes-256-ecb", "aes-256-cfb", "aes-256-ofb"} {
		if !refused[cipher] {
			t.Errorf("%s is not refused", cipher)
		}
		delete(refused, cipher)
	}
	if len(refused) > 0 || done < 51 {
		t.Errorf("%d packets were tested; refused are %v", done, refused)
	}
}

func TestDatagramsOfARealConversation(t *testing.T) {
	var c conversation
	load(t, "legacy-handshake.json", &c)
	suite := Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: 4}
	for _, d := range c.Datagrams {
		l := NewLink(128)
		if err := l.setReceiveKey(unhex(t, d.Key), suite); err != nil {
			t.Fatal(err)
		}
		got, err := l.Open(nil, unhex(t, d.Datagram))
		if err != nil || hex.EncodeToString(got) != d.Frame {
			t.Errorf("%s %d: %v", d.From, d.Number, err)
		}
	}
	if len(c.Datagrams) != 12 {
		t.Errorf("%d datagrams", len(c.Datagrams))
	}
}

func TestReplayWindowLikeTheRealProgram(t *testing.T) {
	var v packetVectors
	load(t, "legacy-packets.json", &v)
	for _, c := range v.Replay {
		w := newWindow(8 * c.Bytes)
		for i, s := range c.Steps {
			got := w.accept(s.Number)
			if got != s.Accepted || w.last != s.Last || w.far != s.Far {
				t.Errorf("%s, step %d: number %d: %v, last %d, far %d; want %v, %d, %d",
					c.Label, i, s.Number, got, w.last, w.far, s.Accepted, s.Last, s.Far)
			}
		}
	}
	if len(v.Replay) != 5 {
		t.Errorf("%d sequences", len(v.Replay))
	}
}

// ends returns the two ends of a link: what the first seals the second opens.
func ends(t testing.TB, s Suite) (from, to *Link) {
	t.Helper()
	from, to = NewLink(4096), NewLink(4096)
	key, err := to.NewReceiveKey(rand.Reader, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := from.SetSendKey(key, s, everything); err != nil {
		t.Fatal(err)
	}
	return from, to
}

func TestEverySuiteAndSize(t *testing.T) {
	frame := bytes.Repeat([]byte("0123456789abcdef"), 104)[:MaxFrame]
	for _, c := range append(dataCiphers, dataCipher{number: NoCipher}) {
		for _, d := range append(digests, digest{number: NoDigest}) {
			for _, macLen := range []int{0, 4, d.size} {
				s := Suite{Cipher: c.number, Digest: d.number, MACLen: min(macLen, d.size), Compression: d.size % 12}
				from, to := ends(t, s)
				for n := 0; n <= MaxFrame; n += 1 + n/3 {
					sealed, err := from.Seal(nil, frame[:n])
					if err != nil {
						t.Fatalf("%v: %v", s, err)
					}
					got, err := to.Open(nil, sealed)
					if err != nil || !bytes.Equal(got, frame[:n]) {
						t.Fatalf("%v: a frame of %d bytes: %v", s, n, err)
					}
				}
			}
		}
	}
}

func TestChangedPacketsAreRefused(t *testing.T) {
	for _, s := range []Suite{DefaultSuite, {Cipher: NoCipher, Digest: SHA256, MACLen: 4}} {
		from, to := ends(t, s)
		sealed, _ := from.Seal(nil, make([]byte, 60))
		for i := range sealed {
			bad := bytes.Clone(sealed)
			bad[i] ^= 0x40
			if to.Check(bad) {
				t.Errorf("%v: Check takes a packet with byte %d changed", s, i)
			}
			if out, err := to.Open([]byte{7}, bad); !errors.Is(err, ErrBadPacket) || len(out) != 1 {
				t.Errorf("%v: a packet with byte %d changed: %x, %v", s, i, out, err)
			}
		}
		for n := range sealed {
			if _, err := to.Open(nil, sealed[:n]); !errors.Is(err, ErrBadPacket) {
				t.Errorf("%v: the first %d bytes of a packet: %v", s, n, err)
			}
		}
		if _, err := to.Open(nil, sealed); err != nil {
			t.Errorf("%v: the packet as it was: %v", s, err)
		}
	}
}

func TestCheckNeedsAMessageCode(t *testing.T) {
	for _, s := range []Suite{{Cipher: AES256CBC}, {Cipher: AES256CBC, Digest: SHA256}} {
		from, to := ends(t, s)
		sealed, _ := from.Seal(nil, make([]byte, 60))
		if to.Check(sealed) {
			t.Errorf("%v: a packet was known by nothing", s)
		}
		if _, err := to.Open(nil, sealed); err != nil {
			t.Errorf("%v: %v", s, err)
		}
	}
}

func TestANewKeyBeginsAnew(t *testing.T) {
	from, to := ends(t, DefaultSuite)
	old, _ := from.Seal(nil, []byte("old"))
	if _, err := to.Open(nil, old); err != nil {
		t.Fatal(err)
	}
	key, err := to.NewReceiveKey(rand.Reader, DefaultSuite)
	if err != nil || len(key) != 96 || key != strings.ToUpper(key) {
		t.Fatalf("key %q, %v", key, err)
	}
	late, _ := from.Seal(nil, []byte("late"))
	if _, err := to.Open(nil, late); !errors.Is(err, ErrBadPacket) {
		t.Errorf("a packet with the old key: %v", err)
	}
	if err := from.SetSendKey(strings.ToLower(key), DefaultSuite, Policy{}); err != nil {
		t.Fatal(err)
	}
	if from.send.last != 0 {
		t.Error("the numbers do not begin again")
	}
	fresh, _ := from.Seal(nil, []byte("fresh"))
	if got, err := to.Open(nil, fresh); err != nil || string(got) != "fresh" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestLinksWithoutKeys(t *testing.T) {
	l := NewLink(128)
	closed := func(name string) {
		t.Helper()
		if _, err := l.Seal(nil, make([]byte, 60)); !errors.Is(err, ErrNoKey) || l.CanSend() || l.SealedLen(60) != 0 {
			t.Errorf("%s: Seal: %v", name, err)
		}
		if _, ok := l.SendSuite(); ok {
			t.Errorf("%s: there is a suite", name)
		}
		if _, err := l.Open(nil, make([]byte, 60)); !errors.Is(err, ErrNoKey) || l.CanReceive() || l.Check(make([]byte, 60)) || l.Expired() {
			t.Errorf("%s: Open: %v", name, err)
		}
	}
	closed("new")
	key, err := l.NewReceiveKey(rand.Reader, DefaultSuite)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetSendKey(key, DefaultSuite, Policy{}); err != nil || !l.CanSend() || !l.CanReceive() {
		t.Fatal(err)
	}
	l.DropSendKey()
	l.DropReceiveKey()
	closed("dropped")
}

func TestKeysAndSuitesThatAreNotTaken(t *testing.T) {
	good := strings.Repeat("AB", 48)
	for name, c := range map[string]struct {
		key     string
		suite   Suite
		policy  Policy
		setting string // of the ErrWeak, "": another error; "-": none
	}{
		"default":                         {good, DefaultSuite, Policy{}, "-"},
		"default of tinc":                 {good, Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: 4}, Policy{}, "-"},
		"sha224":                          {good, Suite{Cipher: AES256CBC, Digest: SHA224, MACLen: 28}, Policy{}, "-"},
		"short key":                       {good[2:], DefaultSuite, Policy{}, ""},
		"long key":                        {good + "00", DefaultSuite, Policy{}, ""},
		"no hexadecimal":                  {"x" + good[1:], DefaultSuite, Policy{}, ""},
		"unknown cipher":                  {good, Suite{Cipher: 12345, Digest: SHA256, MACLen: 4}, everything, ""},
		"negative cipher":                 {good, Suite{Cipher: -1, Digest: SHA256, MACLen: 4}, everything, ""},
		"unknown digest":                  {good, Suite{Cipher: AES256CBC, Digest: 1097, MACLen: 4}, everything, ""},
		"MAC longer than the digest":      {good, Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: 33}, everything, ""},
		"negative MAC length":             {good, Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: -1}, everything, ""},
		"LZ4":                             {good, Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: 4, Compression: 12}, everything, ""},
		"blowfish":                        {good[:48], Suite{Cipher: Blowfish, Digest: SHA256, MACLen: 4}, Policy{}, "Cipher = blowfish"},
		"blowfish, allowed":               {good[:48], Suite{Cipher: Blowfish, Digest: SHA256, MACLen: 4}, Policy{Blowfish: true}, "-"},
		"triple DES":                      {good[:64], Suite{Cipher: TripleDES, Digest: SHA256, MACLen: 4}, Policy{}, "Cipher = des-ede3-cbc"},
		"no cipher":                       {"AB", Suite{Digest: SHA256, MACLen: 4}, Policy{}, "Cipher = none"},
		"no cipher, allowed":              {"AB", Suite{Digest: SHA256, MACLen: 4}, Policy{NoCipher: true}, "-"},
		"sha1":                            {good, Suite{Cipher: AES256CBC, Digest: SHA1, MACLen: 4}, Policy{}, "Digest = sha1"},
		"md5":                             {good, Suite{Cipher: AES256CBC, Digest: MD5, MACLen: 4}, Policy{}, "Digest = md5"},
		"no digest":                       {good, Suite{Cipher: AES256CBC, MACLen: 4}, Policy{}, "Digest = none"},
		"no digest, allowed, with length": {good, Suite{Cipher: AES256CBC, MACLen: 4}, Policy{NoDigest: true}, "-"},
		"MAC length 3":                    {good, Suite{Cipher: AES256CBC, Digest: SHA256, MACLen: 3}, Policy{}, "MACLength = 3"},
	} {
		l := NewLink(128)
		_ = l.SetSendKey(good, DefaultSuite, Policy{})
		err := l.SetSendKey(c.key, c.suite, c.policy)
		var weak *ErrWeak
		switch {
		case c.setting == "-":
			if err != nil || !l.CanSend() {
				t.Errorf("%s: %v", name, err)
			}
		case err == nil || l.CanSend():
			t.Errorf("%s: taken, or the key before it was kept", name)
		case errors.As(err, &weak) != (c.setting != "") || weak != nil && weak.Setting != c.setting:
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWornOutKeys(t *testing.T) {
	from, to := ends(t, DefaultSuite)
	from.send.last, to.receive.window.last = 1<<30-1, 1<<30-1
	for i, want := range []bool{false, true} {
		sealed, err := from.Seal(nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := to.Open(nil, sealed); err != nil || to.Expired() != want {
			t.Errorf("packet %d: %v, expired %v", i, err, to.Expired())
		}
	}
	from.send.last = 1<<32 - 1
	if _, err := from.Seal(nil, nil); !errors.Is(err, ErrKeyWornOut) {
		t.Errorf("the numbers began again: %v", err)
	}
}

func TestWordsOfTheConfiguration(t *testing.T) {
	for name, c := range map[string]struct {
		cipher, digest string
		macLen, level  int
		want           Suite
		policy         Policy
	}{
		"nothing":             {"", "", -1, 0, Suite{427, 672, 16, 0}, Policy{}},
		"tinc's defaults":     {"aes-256-cbc", "sha256", 4, 0, Suite{427, 672, 4, 0}, Policy{}},
		"capitals":            {"AES-128-CBC", "SHA512", -1, 9, Suite{419, 674, 16, 9}, Policy{}},
		"as it was long ago":  {"blowfish", "sha1", 4, 0, Suite{91, 64, 4, 0}, Policy{Blowfish: true, SHA1: true}},
		"another name":        {"bf-cbc", "", -1, 0, Suite{91, 672, 16, 0}, Policy{Blowfish: true}},
		"nothing at all":      {"none", "none", -1, 11, Suite{0, 0, 0, 11}, Policy{NoCipher: true, NoDigest: true}},
		"triple DES and MD5":  {"des3", "md5", -1, 0, Suite{44, 4, 16, 0}, Policy{TripleDES: true, MD5: true}},
		"length of no digest": {"", "none", 4, 0, Suite{427, 0, 0, 0}, Policy{NoDigest: true}},
		"a short MAC":         {"", "", 2, 0, Suite{427, 672, 2, 0}, Policy{NoDigest: true}},
	} {
		got, err := SuiteFromConfig(c.cipher, c.digest, c.macLen, c.level)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if p := PolicyFromConfig(c.cipher, c.digest, c.macLen, false); p != c.policy {
			t.Errorf("%s: policy %+v", name, p)
		}
		if err := got.Weak(c.policy); err != nil {
			t.Errorf("%s: named, but not allowed: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		cipher, digest string
		macLen, level  int
	}{
		"unknown cipher":   {"aes-256-gcm", "", -1, 0},
		"unknown digest":   {"", "whirlpool", -1, 0},
		"too long a MAC":   {"", "sha1", 21, 0},
		"LZ4":              {"", "", -1, 12},
		"MAC of MD5's end": {"", "md5", 17, 0},
	} {
		if s, err := SuiteFromConfig(c.cipher, c.digest, c.macLen, c.level); err == nil {
			t.Errorf("%s: %v", name, s)
		}
	}
	if p := (Policy{SHA1: true}).With(PolicyFromConfig("des3", "", -1, true)); p != (Policy{SHA1: true, TripleDES: true, ShortRSA: true}) {
		t.Errorf("together: %+v", p)
	}
}

func TestSealAndOpenDoNotAllocate(t *testing.T) {
	for _, s := range []Suite{DefaultSuite, {Cipher: Blowfish, Digest: SHA1, MACLen: 4}, {Cipher: AES128CBC, Digest: MD5, MACLen: 4, Compression: 10}} {
		from, to := ends(t, s)
		frame, sealed, opened := make([]byte, 1400), make([]byte, 0, 2000), make([]byte, 0, 2000)
		if n := testing.AllocsPerRun(100, func() {
			sealed, _ = from.Seal(sealed[:0], frame)
			if !to.Check(sealed) {
				t.Fatal("not known")
			}
			opened, _ = to.Open(opened[:0], sealed)
		}); n > 0 {
			t.Errorf("%v: %v allocations", s, n)
		}
	}
}

func FuzzOpen(f *testing.F) {
	var v packetVectors
	load(f, "legacy-packets.json", &v)
	for _, c := range v.Packets {
		f.Add(c.CipherNumber, c.DigestNumber, c.MACLen, c.Compression, unhex(f, c.Key), unhex(f, c.Datagram))
	}
	f.Fuzz(func(t *testing.T, cipherNumber, digestNumber, macLen, level int, key, datagram []byte) {
		s := Suite{Cipher: cipherNumber, Digest: digestNumber, MACLen: macLen, Compression: level}
		l := NewLink(128)
		if l.setReceiveKey(key, s) != nil {
			return
		}
		for _, d := range [][]byte{datagram, recreated(s, key, datagram)} {
			l.Check(d)
			if out, err := l.Open(nil, d); len(out) > MaxFrame || err != nil && out != nil {
				t.Fatalf("%d bytes, %v", len(out), err)
			}
		}
	})
}

// recreated encrypts b and gives it a MAC, so that what is after these checks sees
// any bytes at all.
func recreated(s Suite, key, b []byte) []byte {
	h, err := newHalf(s, key, cipher.NewCBCEncrypter)
	if err != nil {
		return nil
	}
	b = bytes.Clone(b)
	if h.crypt != nil {
		b = pad(b, 0, h.crypt.BlockSize())
		h.crypt.CryptBlocks(b, b)
	}
	if h.mac != nil {
		b = append(b, h.code(b)...)
	}
	return b
}

func FuzzSendKey(f *testing.F) {
	f.Add(strings.Repeat("AB", 48), 427, 672, 4, 0)
	f.Add("AB", 0, 0, 0, 0)
	f.Fuzz(func(t *testing.T, key string, cipherNumber, digestNumber, macLen, level int) {
		l := NewLink(128)
		s := Suite{Cipher: cipherNumber, Digest: digestNumber, MACLen: macLen, Compression: level}
		if l.SetSendKey(key, s, everything) != nil {
			return
		}
		if sealed, err := l.Seal(nil, make([]byte, 60)); err != nil || len(sealed) == 0 {
			t.Fatalf("%v: %v", s, err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	from, _ := ends(b, DefaultSuite)
	frame, out := make([]byte, 1400), make([]byte, 0, 2000)
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		out, _ = from.Seal(out[:0], frame)
	}
}

func BenchmarkOpen(b *testing.B) {
	from, to := ends(b, DefaultSuite)
	sealed, _ := from.Seal(nil, make([]byte, 1400))
	out := make([]byte, 0, 2000)
	b.ReportAllocs()
	b.SetBytes(1400)
	for b.Loop() {
		to.receive.window.last = 0
		out, _ = to.Open(out[:0], sealed)
	}
}

// BenchmarkMeta is the cost of a packet in the meta stream.
func BenchmarkMeta(b *testing.B) {
	x, y, fromX, fromY := pair(b, 2048, 2048, DefaultSuite, Policy{})
	if err := login(x, y, fromX, fromY); err != nil {
		b.Fatal(err)
	}
	frame, out := make([]byte, 1400), []byte(nil)
	b.ReportAllocs()
	b.SetBytes(1400)
	for b.Loop() {
		out, _ = x.AppendRaw(out[:0], frame)
		_, _, _ = y.NextRaw(out, len(out))
	}
}
