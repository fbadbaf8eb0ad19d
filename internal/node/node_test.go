package node

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestIDsAreThoseOfTinc(t *testing.T) {
	var v struct{ Cases []struct{ Name, ID string } }
	data, err := os.ReadFile("testdata/tinc11-node-id.json")
	if err == nil {
		err = json.Unmarshal(data, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Cases {
		n, err := ParseName(c.Name)
		if err != nil || n.ID().String() != c.ID || n.ID().IsZero() {
			t.Errorf("%s: id %v, %v; want %s", c.Name, n.ID(), err, c.ID)
		}
	}
}

func TestParseName(t *testing.T) {
	for _, good := range []string{"a", "Z9_", "_", strings.Repeat("x", MaxNameLen)} {
		if n, err := ParseName(good); err != nil || string(n) != good {
			t.Errorf("%q: %q, %v", good, n, err)
		}
	}
	for _, bad := range []string{"", "a-b", "a.b", "../x", "a b", "ä", "a\n", "a\x00", strings.Repeat("x", MaxNameLen+1)} {
		if n, err := ParseName(bad); err == nil || n != "" {
			t.Errorf("%q was taken as a name", bad)
		}
	}
}

func TestNormaliseMakesNamesLikeTincBoot(t *testing.T) {
	for text, want := range map[string]string{"": "", "alpha1": "alpha1", "My-Node_1.lan": "mynode1lan", "Ärger": "rger", "-": ""} {
		if got := Normalise(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("node_1")
	f.Add("../../etc/passwd")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := ParseName(s); err == nil && (string(n) != s || strings.ContainsAny(s, "./\\ \x00\n") || len(s) > MaxNameLen) {
			t.Errorf("%q was taken as a name", s)
		}
	})
}
