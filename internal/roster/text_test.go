package roster

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestFingerprintsAreReadAsPeopleTypeThem(t *testing.T) {
	f := Fingerprint(pub("ann"))
	if len(f) != 24 || strings.Count(f, "-") != 4 {
		t.Errorf("fingerprint %q", f)
	}
	for _, typed := range []string{f, strings.ToLower(f), strings.ReplaceAll(f, "-", ""), " " + strings.ReplaceAll(f, "-", " ") + "\n", strings.ReplaceAll(f, "0", "o")} {
		if got, err := ParseFingerprint(typed); err != nil || got != f {
			t.Errorf("%q was read as %q, %v", typed, got, err)
		}
	}
	for _, bad := range []string{"", f[1:], f + "0", strings.Replace(f, f[:1], "U", 1), strings.Replace(f, f[:1], "ä", 1)} {
		if got, err := ParseFingerprint(bad); err == nil {
			t.Errorf("%q was read as %q", bad, got)
		}
	}
	if Fingerprint(ID(pub("ann"))) != f {
		t.Error("the fingerprint depends on the type")
	}
}

func TestTheRecoveryKeyIsTypedFromPaper(t *testing.T) {
	secret := RecoverySecret{0: 1, 7: 0xfe, 19: 3}
	text := secret.Text()
	if groups := strings.Split(text, "-"); len(groups) != 9 {
		t.Fatalf("%d groups", len(groups))
	}
	for _, typed := range []string{text, strings.ToLower(text), strings.ReplaceAll(text, "-", " "), strings.ReplaceAll(text, "0", "O"), strings.ReplaceAll(text, "1", "l")} {
		if got, err := ParseRecoverySecret(typed); err != nil || got != secret {
			t.Errorf("not read as it was written: %v", err)
		}
	}
	slips := 0
	for i, c := range text {
		if c == '-' {
			continue
		}
		other := crockford[(strings.IndexRune(crockford, c)+1)%32]
		_, err := ParseRecoverySecret(text[:i] + string(other) + text[i+1:])
		if slip := new(RecoveryError); !errors.As(err, &slip) || slip.Group != i/5+1 {
			t.Errorf("a slip at character %d: %v", i, err)
		}
		slips++
	}
	if slips != 36 {
		t.Errorf("%d characters", slips)
	}
	two := strings.Map(func(c rune) rune {
		if c == '-' {
			return c
		}
		return rune(crockford[(strings.IndexRune(crockford, c)+1)%32])
	}, text)
	for typed, want := range map[string]string{
		text[:20]:                  "has 9 groups of 4 letters or digits, and this has 16 characters",
		text[:6] + text[7:]:        "group 2 of the recovery key has 3 characters in place of 4",
		text[:6] + "!" + text[7:]:  "group 2 of the recovery key has a character that is no letter",
		text[:1] + "00" + text[3:]: "group 1 of the recovery key has",
		"":                         "this has 0 characters",
		two:                        "its last group does not fit",
	} {
		if _, err := ParseRecoverySecret(typed); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for _, verb := range []string{"%v", "%s", "%+v", "%#v"} {
		if shown := fmt.Sprintf(verb, secret); shown != "[redacted]" {
			t.Errorf("%s shows the secret: %s", verb, shown)
		}
	}
}

func FuzzTypedText(f *testing.F) {
	f.Add(RecoverySecret{}.Text())
	f.Add(Fingerprint(ID{}))
	f.Fuzz(func(t *testing.T, s string) {
		if secret, err := ParseRecoverySecret(s); err == nil {
			if again, err := ParseRecoverySecret(secret.Text()); err != nil || again != secret {
				t.Error("read, but not as it is written")
			}
		}
		if print, err := ParseFingerprint(s); err == nil {
			if again, err := ParseFingerprint(print); err != nil || again != print {
				t.Errorf("%q became %q", print, again)
			}
		}
	})
}
