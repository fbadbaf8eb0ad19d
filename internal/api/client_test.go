package api

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"testing"
)

// written is what was read of a stream, in one line for each event.
func written(stream string) (string, error) {
	var b strings.Builder
	err := readEvents(strings.NewReader(stream), func(e sentEvent) error {
		fmt.Fprintf(&b, "%q %q %q\n", e.id, e.event, e.data)
		return nil
	})
	return b.String(), err
}

func TestServerSentEventsAreRead(t *testing.T) {
	got, err := written(": hello\n\nid: 1\nevent: node-up\ndata: {}\n\n: alive\n\nevent: nothing\n\nid:2\r\ndata:a\r\ndata: b\r\nother: x\r\n\r\ndata: cut off")
	want := `"1" "node-up" "{}"` + "\n" + `"2" "" "a\nb"` + "\n"
	if err != nil || got != want {
		t.Errorf("%v\n%s\nwant\n%s", err, got, want)
	}
	for _, long := range []string{"data: " + strings.Repeat("x", maxLine) + "\n\n", strings.Repeat("data: "+strings.Repeat("x", maxLine/3)+"\n", 4) + "\n"} {
		if _, err := written(long); !errors.Is(err, bufio.ErrTooLong) {
			t.Errorf("too much data: %v", err)
		}
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add("id: 1\nevent: node-up\ndata: {}\n\n")
	f.Add(":\n\ndata\ndata\r\n\r\n")
	f.Fuzz(func(t *testing.T, stream string) {
		first, err := written(stream)
		again, _ := written(first)
		if again != "" { // what is printed has no colon at its beginning
			t.Errorf("%q: %q", first, again)
		}
		if err == nil && strings.Count(first, "\n") > strings.Count(stream, "\n") {
			t.Errorf("%q: more events than lines: %s", stream, first)
		}
	})
}
