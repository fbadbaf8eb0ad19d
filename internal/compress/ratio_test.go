package compress

import (
	"bytes"
	"math/rand/v2"
	"strconv"
	"testing"
)

// The same packets as liblzo2 has packed, with at most a tenth more.
func TestLZOPacksAboutAsWellAsItsLibrary(t *testing.T) {
	ours, theirs := map[int]int{}, map[int]int{}
	for _, s := range samples(t) {
		plain := unhex(t, s.Plain)
		for _, level := range []int{lzoQuick, lzoWell} {
			packed, err := Compress(level, nil, plain)
			if err != nil {
				t.Fatal(err)
			}
			want := len(s.Packed[strconv.Itoa(lzoQuick)]) / 2
			t.Logf("%-24s %5d bytes, level %d: %4d, liblzo2 %4d, its level 10 %4d", s.Name, len(plain), level, len(packed), len(s.Packed[strconv.Itoa(level)])/2, want)
			if len(packed)*10 > want*11 {
				t.Errorf("%s, level %d: %d bytes, liblzo2 makes %d of it", s.Name, level, len(packed), want)
			}
			ours[level] += len(packed)
			theirs[level] += len(s.Packed[strconv.Itoa(level)]) / 2
		}
	}
	for level := range ours {
		if ours[level]*10 > theirs[level]*11 {
			t.Errorf("level %d: %d bytes in all, liblzo2 makes %d", level, ours[level], theirs[level])
		}
	}
}

// What is packed has matches and runs of all lengths and distances.
func TestEveryInstructionThatIsWrittenIsReadAgain(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var src []byte
		for n := rnd.IntN(maxPacked + 200); len(src) < n; {
			if len(src) > 0 && rnd.IntN(2) == 0 {
				from := rnd.IntN(len(src))
				for i := range 1 + rnd.IntN(1<<rnd.IntN(11)) {
					src = append(src, src[from+i])
				}
				continue
			}
			for range 1 + rnd.IntN(1<<rnd.IntN(9)) {
				src = append(src, byte(rnd.IntN(256)))
			}
		}
		for level := lzoQuick; level <= MaxLevel; level++ {
			packed, err := Compress(level, nil, src)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Decompress(level, nil, packed, len(src))
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("level %d, %d bytes: %v", level, len(src), err)
			}
		}
	}
}

func FuzzCompress(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(uint8(lzoWell), unhex(f, s.Plain))
	}
	f.Fuzz(func(t *testing.T, level uint8, src []byte) {
		l := int(level) % (MaxLevel + 1)
		packed, err := Compress(l, nil, src)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decompress(l, nil, packed, len(src))
		if err != nil || !bytes.Equal(got, src) {
			t.Fatalf("level %d: %d bytes became %d: %v", l, len(src), len(got), err)
		}
	})
}

func BenchmarkCompress(b *testing.B) {
	for _, s := range samples(b) {
		if s.Name != "text-1400" && s.Name != "mixed-1514" {
			continue
		}
		src := unhex(b, s.Plain)
		for _, level := range []int{1, 6, lzoQuick, lzoWell, MaxLevel} {
			b.Run(s.Name+"/"+strconv.Itoa(level), func(b *testing.B) {
				buf := make([]byte, 0, 4096)
				b.SetBytes(int64(len(src)))
				b.ReportAllocs()
				for b.Loop() {
					_, _ = Compress(level, buf, src)
				}
			})
		}
	}
}
