// Package members keeps the roster of a network on a node: its file, its exchange with other
// nodes, and the orders of this machine's operator.
//
// What the statements mean is the business of package roster, what is exchanged that of package
// membership. This package adds goroutine, clock and file.
package members

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/roster"
)

// ErrOtherNetwork: the roster on disk is not that of the network that the configuration names.
var ErrOtherNetwork = errors.New("the roster is that of another network")

// Load reads the roster of a directory. network is the one that the configuration names, zero if
// it names none. Without a file the roster is empty if a network is named, else nil: the network
// is an open one. bad counts lines that are no statements and were left out: the neighbours have
// what is missing.
func Load(path string, network roster.ID) (r *roster.Roster, bad int, err error) {
	data, err := files.Read(path, roster.MaxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist) && network.IsZero():
		return nil, 0, nil
	case errors.Is(err, fs.ErrNotExist):
		return roster.New(network), 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("reading the roster: %w", err)
	}
	r, bad, err = roster.DecodeBy(data, onAllProcessors)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	if !network.IsZero() && r.Network() != network {
		return nil, 0, fmt.Errorf("%s: %w: it says %v, the variable Roster says %v", path, ErrOtherNetwork, r.Network(), network)
	}
	return r, bad, nil
}

// Update takes in what is new in the file of a roster that was read before.
func Update(path string, r *roster.Roster) error {
	data, err := files.Read(path, roster.MaxFile)
	if err == nil {
		err = r.Update(data)
	}
	if err != nil {
		return fmt.Errorf("reading the roster once more: %w", err)
	}
	return nil
}

// onAllProcessors calls do with 0 to n-1.
func onAllProcessors(n int, do func(i int)) {
	const portion = 64
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), n/portion+1) {
		wg.Go(func() {
			for {
				end := int(next.Add(portion))
				if end-portion >= n {
					return
				}
				for i := end - portion; i < min(end, n); i++ {
					do(i)
				}
			}
		})
	}
	wg.Wait()
}

// Save writes the roster. It is for members only: from what is in it follows the key with which they
// greet newcomers.
func Save(path string, r *roster.Roster) error {
	if err := confdir.WriteFile(path, r.Encode(nil), confdir.SecretMode); err != nil {
		return fmt.Errorf("writing the roster: %w", err)
	}
	return nil
}

// GreetingKey is the key with which all members greet newcomers, nil if the roster does not have the statement that begins
// the network. It follows from that statement, which is known to members only.
func GreetingKey(r *roster.Roster) *keys.PrivateKey {
	genesis := r.Get(r.Network())
	if genesis == nil {
		return nil
	}
	return keys.FromSeed(sha256.Sum256(append([]byte("tincan greeting key v1\x00"), genesis...)))
}
