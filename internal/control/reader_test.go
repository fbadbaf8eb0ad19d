package control

import (
	"bufio"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Who may only look gets answers that show something, and changes nothing.
func TestAReaderChangesNothing(t *testing.T) {
	c := &client{server: NewServer("SECRET", nil), reader: true} // a backend that is asked would panic
	for typ := range 120 {
		if slices.Contains(looks, typ) {
			continue
		}
		var b strings.Builder
		w := bufio.NewWriter(&b)
		stop, err := c.answer(fmt.Sprintf("18 %d 1 a", typ), w)
		w.Flush()
		if stop || err != nil || b.String() != "18 -1\n" {
			t.Errorf("request %d: %q, %v, %v", typ, b.String(), stop, err)
		}
	}
	s := NewServer("SECRET", nil)
	if !s.greeting("0 ^- 0", true) || s.greeting("0 ^- 0", false) {
		t.Error("who may only look needs no cookie, all others do")
	}
}
