package launch

import (
	"bytes"
	"os"
	"testing"
)

// A daemon that says that it is ready has started, whoever else keeps the pipe open.
func TestReadyIsHeardThoughThePipeStaysOpen(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	w.WriteString("a warning\n\x00")
	var said bytes.Buffer
	if !relay(&said, r) || said.String() != "a warning\n" {
		t.Errorf("heard %q", &said)
	}
}
