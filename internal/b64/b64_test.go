package b64

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

type vectors struct {
	Encode []struct{ Hex, Base64, URLSafe string }
	Decode []struct {
		Text   string
		Length int
		Hex    string
	}
}

func load(t testing.TB) (v vectors) {
	b, err := os.ReadFile("testdata/tinc11-base64.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEncodeLikeTinc(t *testing.T) {
	for _, c := range load(t).Encode {
		b, _ := hex.DecodeString(c.Hex)
		if got := Encode(b); got != c.Base64 {
			t.Errorf("Encode(%s) = %q, want %q", c.Hex, got, c.Base64)
		}
		if got := EncodeURL(b); got != c.URLSafe {
			t.Errorf("EncodeURL(%s) = %q, want %q", c.Hex, got, c.URLSafe)
		}
		if got := string(AppendEncode([]byte("x"), b)); got != "x"+c.Base64 {
			t.Errorf("AppendEncode(%s) = %q", c.Hex, got)
		}
		if got := EncodedLen(len(b)); got != len(c.Base64) {
			t.Errorf("EncodedLen(%d) = %d, want %d", len(b), got, len(c.Base64))
		}
	}
}

func TestDecodeLikeTinc(t *testing.T) {
	for _, c := range load(t).Decode {
		got, err := Decode(c.Text)
		// tinc reports an error as length 0; "" and "A" are no errors for us,
		// only empty.
		if (c.Length == 0) != (err != nil || len(got) == 0) {
			t.Errorf("Decode(%q) = %x, %v; want %d bytes", c.Text, got, err, c.Length)
		}
		if err == nil && hex.EncodeToString(got) != c.Hex {
			t.Errorf("Decode(%q) = %x, want %s", c.Text, got, c.Hex)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, c := range load(f).Decode {
		f.Add(c.Text)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b, err := Decode(s)
		if err != nil {
			return
		}
		again, err := Decode(EncodeURL(b))
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("%q: %x became %x, %v", s, b, again, err)
		}
	})
}
