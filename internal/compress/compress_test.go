package compress

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

type sample struct {
	Name, Plain string
	Packed      map[string]string
}

func samples(t testing.TB) []sample {
	t.Helper()
	b, err := os.ReadFile("testdata/legacy-compression.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Samples []sample }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Samples
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const limit = 1661

func TestWhatTincPacksIsUnpacked(t *testing.T) {
	count := 0
	for _, s := range samples(t) {
		plain := unhex(t, s.Plain)
		for text, packed := range s.Packed {
			level, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decompress(level, []byte("before"), unhex(t, packed), limit)
			if err != nil || string(got) != "before"+string(plain) {
				t.Errorf("%s level %d: %x, %v", s.Name, level, got, err)
			}
			count++
		}
	}
	if count < 7*MaxLevel {
		t.Errorf("only %d vectors", count)
	}
}

func TestWhatTinc11PacksIsUnpacked(t *testing.T) {
	b, err := os.ReadFile("testdata/tinc11-compression.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Cases []struct {
			Level               int
			Payload, Compressed string
		}
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Cases) == 0 {
		t.Fatalf("%d cases, %v", len(v.Cases), err)
	}
	for _, c := range v.Cases {
		got, err := Decompress(c.Level, nil, unhex(t, c.Compressed), limit)
		if err != nil || !bytes.Equal(got, unhex(t, c.Payload)) {
			t.Errorf("level %d, %d bytes: %x, %v", c.Level, len(c.Payload)/2, got, err)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestWhatWePackIsUnpacked(t *testing.T) {
	src := make([]byte, limit)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range src {
		src[i] = byte(rnd.IntN(4))
	}
	for level := None; level <= MaxLevel; level++ {
		for n := 0; n <= limit; n += 1 + n/50 {
			packed, err := Compress(level, []byte{42}, src[:n])
			if err != nil || packed[0] != 42 {
				t.Fatalf("level %d, %d bytes: %v", level, n, err)
			}
			got, err := Decompress(level, nil, packed[1:], limit)
			if err != nil || !bytes.Equal(got, src[:n]) {
				t.Fatalf("level %d, %d bytes: %v", level, n, err)
			}
		}
	}
}

func TestDamagedAndOverlongDataIsRefused(t *testing.T) {
	for _, level := range []int{6, 10} {
		packed, _ := Compress(level, nil, make([]byte, 500))
		dst := []byte("kept")
		for name, c := range map[string]struct {
			src   []byte
			limit int
			want  error
		}{
			"nothing":           {nil, limit, ErrCorrupt},
			"the end cut off":   {packed[:len(packed)-2], limit, ErrCorrupt},
			"one byte too long": {packed, 499, ErrTooLong},
		} {
			got, err := Decompress(level, dst, c.src, c.limit)
			if !errors.Is(err, c.want) || string(got) != "kept" {
				t.Errorf("level %d, %s: %q, %v", level, name, got, err)
			}
		}
		if _, err := Decompress(level, nil, packed, 500); err != nil {
			t.Errorf("level %d: as long as allowed: %v", level, err)
		}
	}
	for name, block := range map[string]string{
		"match before the beginning": "\x12x\x40\xff" + endMarker,
		"bytes after the end marker": "\x12x" + endMarker + "\x00",
		"no end marker":              "\x12x",
		"endless length":             "\x00" + string(make([]byte, 5000)),
	} {
		if _, err := Decompress(10, []byte("many bytes before"), []byte(block), limit); err == nil {
			t.Errorf("LZO, %s: accepted", name)
		}
	}
	lz4 := "\x10x" // one literal
	for name, block := range map[string]string{
		"nothing":                    "",
		"fewer literals than said":   "\x50x",
		"match before the beginning": "\x10x\x02\x00\x10y",
		"match at no distance":       "\x10x\x00\x00\x10y",
		"endless length":             "\xf0" + strings.Repeat("\xff", 5000),
		"too long":                   string(must(Compress(MaxLevel, nil, make([]byte, limit+1)))),
	} {
		if got, err := Decompress(MaxLevel, []byte("kept"), []byte(block), limit); err == nil || string(got) != "kept" {
			t.Errorf("LZ4, %s: %q, %v", name, got, err)
		}
	}
	if got, err := Decompress(MaxLevel, nil, []byte(lz4), 1); err != nil || string(got) != "x" {
		t.Errorf("LZ4, as long as allowed: %q, %v", got, err)
	}
	for _, level := range []int{-1, MaxLevel + 1} {
		if _, err := Compress(level, nil, nil); !errors.Is(err, ErrLevel) {
			t.Errorf("packing with level %d: %v", level, err)
		}
		if _, err := Decompress(level, nil, nil, limit); !errors.Is(err, ErrLevel) {
			t.Errorf("unpacking with level %d: %v", level, err)
		}
	}
}

func TestPackingDoesNotAllocate(t *testing.T) {
	if testing.Short() {
		t.Skip("under the race detector, which runs with -short, pools forget on purpose")
	}
	src := bytes.Repeat([]byte("tincan "), 100)
	buf := make([]byte, 0, 4096)
	for _, level := range []int{1, 6, 9, 10, 11, 12} {
		packed, _ := Compress(level, nil, src)
		if n := testing.AllocsPerRun(50, func() { _, _ = Compress(level, buf, src) }); n > 0 {
			t.Errorf("packing with level %d: %v allocations", level, n)
		}
		// The Huffman tables of the standard library take one each time.
		if n := testing.AllocsPerRun(50, func() { _, _ = Decompress(level, buf, packed, limit) }); n > 1 {
			t.Errorf("unpacking level %d: %v allocations", level, n)
		}
	}
}

func FuzzDecompress(f *testing.F) {
	for _, s := range samples(f) {
		for _, level := range []int{1, 9, 10, 11, 12} {
			f.Add(uint8(level), unhex(f, s.Packed[strconv.Itoa(level)]))
		}
	}
	f.Fuzz(func(t *testing.T, level uint8, src []byte) {
		out, err := Decompress(int(level%(MaxLevel+2)), nil, src, limit)
		if len(out) > limit || err != nil && len(out) > 0 {
			t.Fatalf("%d bytes, %v", len(out), err)
		}
	})
}
