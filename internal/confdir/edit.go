package confdir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"

	"tincan/internal/config"
)

// Edit changes an existing file with change and writes it back if that made a
// difference.
func Edit(path string, change func(data []byte) ([]byte, error)) error {
	old, err := read(path)
	if err != nil {
		return err
	}
	changed, err := change(bytes.Clone(old))
	if err != nil || bytes.Equal(old, changed) {
		return err
	}
	return WriteFile(path, changed, FileMode)
}

// learnedNote stands above a key that the daemon wrote into a host file.
const learnedNote = "# tincan learned this key from the network:"

// AppendHostKey adds an Ed25519 public key (43 characters) to the host file of
// a node, which is created if it is missing. It fails if the file has a
// different key already, and does nothing if it has this one.
func AppendHostKey(path, key string) error {
	data, err := read(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const name = "Ed25519PublicKey"
	if old := config.Values(data, name); len(old) > 0 {
		if old[0] == key {
			return nil
		}
		return fmt.Errorf("%s has a different %s already", path, name)
	}
	data = fmt.Appendf(config.EndLine(data), "\n%s\n%s = %s\n", learnedNote, name, key)
	return WriteFile(path, data, FileMode)
}
