package command

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"
)

func TestLengthOfACutFrame(t *testing.T) {
	mac := make([]byte, 12)
	v4 := append(append([]byte{}, mac...), 0x08, 0x00, 0x45, 0, 0x05, 0xdc, 0, 0)             // 1500 bytes
	v6 := append(append([]byte{}, mac...), 0x86, 0xdd, 0x60, 0, 0, 0, 0x03, 0xe8, 0x3a, 0x40) // 1000 after the header
	arp := append(append([]byte{}, mac...), 0x08, 0x06, 0, 1, 8, 0, 6, 4)
	for name, c := range map[string]struct {
		frame []byte
		want  int
	}{
		"IPv4": {v4, 1514}, "IPv6": {v6, 1054}, "another protocol": {arp, len(arp)}, "too short to tell": {v4[:17], 17}, "nothing": {nil, 0},
		"padded": {append(append(append([]byte{}, mac...), 0x08, 0, 0x45, 0, 0, 20), make([]byte, 42)...), 60},
	} {
		if got := fullLength(c.frame); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestHeadersOfACapture(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the expected bytes are little-endian")
	}
	if got := hex.EncodeToString(fileHeader(60)); got != "d4c3b2a1"+"02000400"+"00000000"+"00000000"+"3c000000"+"01000000" {
		t.Errorf("file header %s", got)
	}
	if got := hex.EncodeToString(recordHeader(time.Unix(1, 2_000_999), []byte("frame"))); got != "01000000"+"d0070000"+"05000000"+"05000000" {
		t.Errorf("record header %s", got)
	}
}

func TestSplit(t *testing.T) {
	for line, want := range map[string][3]string{
		"2026-11-22 01:46:15 INFO    node x became reachable\n": {"2026-11-22 01:46:15", "INFO", "node x became reachable"},
		"2026-11-22 01:46:15 ERROR   two  blanks":               {"2026-11-22 01:46:15", "ERROR", "two  blanks"},
		"2026-11-22 01:46:15 ":                                  {"2026-11-22 01:46:15", "", ""},
		"something else":                                        {"", "", "something else"},
		"":                                                      {"", "", ""},
	} {
		var got [3]string
		got[0], got[1], got[2] = SplitLogLine([]byte(line))
		if got != want {
			t.Errorf("%q: %q", line, got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	f.Add([]byte("2026-11-22 01:46:15 INFO    x\n"))
	f.Fuzz(func(t *testing.T, line []byte) { SplitLogLine(line) })
}

func FuzzFullLength(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x45, 0, 5, 0xdc})
	f.Fuzz(func(t *testing.T, frame []byte) {
		if n := fullLength(frame); n < len(frame) || n > 14+40+65535 && n > len(frame) {
			t.Errorf("%d bytes of %d", len(frame), n)
		}
	})
}
