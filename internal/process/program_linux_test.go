package process

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestTheProgramGoesOnWithoutThePagesOfItsStart(t *testing.T) {
	resident := func() (kib int) {
		parts, err := programParts()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range parts {
			if p.readOnly && !p.changed {
				kib += p.resident
			}
		}
		return kib
	}
	before := resident()
	if before == 0 {
		t.Skip("no part of this program is as in its file") // a program that is relocated
	}
	if err := ReleaseProgram(); err != nil {
		t.Fatal(err)
	}
	after := resident()
	if after >= before {
		t.Errorf("%d KiB of the program are resident, before that it was %d", after, before)
	}
	var v map[string][]int
	if err := json.NewDecoder(strings.NewReader(`{"a": [1, 2]}`)).Decode(&v); err != nil || v["a"][1] != 2 {
		t.Errorf("then %v, %v", v, err)
	}
}
