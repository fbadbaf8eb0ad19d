package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheAssemblyIsWhatTheGeneratorWrites(t *testing.T) {
	for name, text := range files() {
		committed, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(bytes.ReplaceAll(committed, []byte("\r\n"), []byte("\n")), text) {
			t.Errorf("%s differs: run \"go generate ./internal/chapoly\"", name)
		}
	}
}
