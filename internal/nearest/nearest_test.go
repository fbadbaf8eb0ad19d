package nearest

import (
	"strings"
	"testing"
)

func TestTo(t *testing.T) {
	words := strings.Fields("router switch hub status start ConnectTo AutoConnect invite")
	for text, want := range map[string]string{
		"swich": "switch", "Switch": "switch", "wsitch": "switch", "stats": "status", "conectto": "ConnectTo", "invit": "invite",
		"autoconect": "AutoConnect", "auto": "AutoConnect", "bus": "", "banana": "", "status": "", "STATUS": "status", "": "", "x": "", strings.Repeat("x", 1<<16): "",
	} {
		if got := To(text, words); got != want {
			t.Errorf("%.20q: %q, want %q", text, got, want)
		}
	}
}
