package device

import (
	"fmt"
	"slices"
	"testing"
)

func TestWatchShowsWhatPasses(t *testing.T) {
	inner, other := Pipe()
	defer other.Close()
	var seen []string
	d := Watch(inner, func(p []byte, written bool) { seen = append(seen, fmt.Sprintf("%s %v", p, written)) })
	if d.Name() != inner.Name() || CarriesFrames(d) != CarriesFrames(inner) {
		t.Error("a watched device is another one")
	}
	buf := make([]byte, MaxPacket)
	for range 2 {
		if err := other.Write(append(make([]byte, Headroom), "in"...), Headroom, Offload{}); err != nil {
			t.Fatal(err)
		}
	}
	if n, _, err := d.Read(buf); err != nil || string(buf[:n]) != "in" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if n, _, err := d.TryRead(buf); err != nil || string(buf[:n]) != "in" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if _, _, err := d.TryRead(buf); err != ErrAgain {
		t.Fatal(err)
	}
	if err := d.Write(append(make([]byte, Headroom), "out"...), Headroom, Offload{}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"in false", "in false", "out true"}; !slices.Equal(seen, want) {
		t.Errorf("seen %q, want %q", seen, want)
	}
}
