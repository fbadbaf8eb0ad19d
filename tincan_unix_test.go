//go:build unix

package tincan_test

import (
	"os"
	"path/filepath"
	"testing"

	"tincan"
)

func TestScriptsRunIfWanted(t *testing.T) {
	dir, id := found(t)
	for _, wanted := range []bool{false, true} {
		mark := filepath.Join(tempDir(t), "mark")
		must(t, os.WriteFile(filepath.Join(dir, "tinc-up"), []byte("#!/bin/sh\n: > "+mark+"\n"), 0o755))
		must(t, run(t, dir, id, tincan.Options{Scripts: wanted}).stop())
		if _, err := os.Stat(mark); (err == nil) != wanted {
			t.Errorf("Scripts: %v; the script's file: %v", wanted, err)
		}
	}
}
