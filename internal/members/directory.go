package members

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/roster"
)

// Running is a node that runs in the directory and takes statements, see control.Client.
type Running interface {
	AddStatements(raws [][]byte) (outcome string, err error)
}

// Submit adds statements to the roster of a directory in one go: by way of the node that runs there, nil if none
// does. The error says why one of them did not get in.
func Submit(l confdir.Layout, network roster.ID, running Running, raws [][]byte) error {
	if running != nil {
		_, err := running.AddStatements(raws)
		return err
	}
	unlock, err := confdir.LockDir(filepath.Dir(l.Roster()))
	if err != nil {
		return fmt.Errorf("locking the roster: %w", err)
	}
	defer unlock()
	r, _, err := Load(l, network)
	if err != nil {
		return err
	}
	if r == nil {
		r = roster.New(network)
	}
	for _, result := range r.Merge(raws) {
		if err := result.Err(); err != nil {
			return err
		}
	}
	return Save(l, r)
}

// OwnerKey reads the owner's private key of a directory, nil if there is none.
func OwnerKey(l confdir.Layout) (*keys.PrivateKey, error) {
	pem, err := files.Read(l.OwnerKey(), 1<<16)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the owner's key: %w", err)
	}
	key, err := keys.ParsePrivatePEM(pem)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.OwnerKey(), err)
	}
	return key, nil
}
