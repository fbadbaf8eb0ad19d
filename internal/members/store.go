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
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/roster"
)

// ErrOtherNetwork: the roster on disk is not that of the network that the configuration names.
var ErrOtherNetwork = errors.New("the roster is that of another network")

// Found is what [Load] has noticed.
type Found struct {
	Bad   int   // lines that are no statements and were left out: the neighbours have what is missing
	Aside bool  // some of it is in the file beside the roster only, until [Save]
	Left  error // why the file beside the roster was left out, nil if it was not
}

// Load reads the roster of a directory. network is the one that the configuration names, zero if
// it names none. Without a file the roster is empty if a network is named, else nil: the network
// is an open one.
//
// A node that may not write the roster writes a file beside it, see [confdir.Layout.RosterNew]. What is in there counts as
// well, if it belongs to the same network: whoever can write only there can neither take anything back, nor
// name the network.
func Load(l confdir.Layout, network roster.ID) (*roster.Roster, Found, error) {
	var found Found
	r, bad, err := load(l.Roster(), network)
	if err != nil {
		return nil, found, err
	}
	found.Bad = bad
	if r != nil {
		network = r.Network()
	}
	if network.IsZero() {
		return nil, found, nil
	}
	switch aside, bad, err := loadAside(l, r, network); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		found.Left = err
	default:
		r, found.Aside = aside, true
		found.Bad += bad
	}
	if r == nil {
		r = roster.New(network)
	}
	return r, found, nil
}

// load reads one file, nil if there is none.
func load(path string, network roster.ID) (*roster.Roster, int, error) {
	data, err := files.Read(path, roster.MaxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("reading the roster: %w", err)
	}
	r, bad, err := roster.DecodeBy(data, onAllProcessors)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", path, err)
	}
	if !network.IsZero() && r.Network() != network {
		return nil, 0, fmt.Errorf("%s: %w: it says %v, the configuration says %v", path, ErrOtherNetwork, r.Network(), network)
	}
	return r, bad, nil
}

// loadAside returns r, nil if there is none, with what is in the file beside it.
func loadAside(l confdir.Layout, r *roster.Roster, network roster.ID) (*roster.Roster, int, error) {
	data, err := files.Read(l.RosterNew(), roster.MaxFile)
	if err != nil {
		return nil, 0, err
	}
	bad := 0
	if r != nil {
		bad, err = r.Update(data)
	} else if r, bad, err = roster.DecodeBy(data, onAllProcessors); err == nil && r.Network() != network {
		err = ErrOtherNetwork
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", l.RosterNew(), err)
	}
	return r, bad, nil
}

// Update takes in what is new in the files of a roster that was read before.
func Update(l confdir.Layout, r *roster.Roster) error {
	read := 0
	for _, path := range []string{l.Roster(), l.RosterNew()} {
		data, err := files.Read(path, roster.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			_, err = r.Update(data)
		}
		if err != nil {
			return fmt.Errorf("reading the roster once more: %w", err)
		}
		read++
	}
	if read == 0 {
		return fmt.Errorf("reading the roster once more: %s: %w", l.Roster(), fs.ErrNotExist)
	}
	return nil
}

// Version is a mark of the files of a roster as they are. It changes when one of them does.
type Version [2]struct {
	at   time.Time
	size int64
}

// FilesVersion returns the mark of a directory. The error is fs.ErrNotExist if there is no roster.
func FilesVersion(l confdir.Layout) (v Version, err error) {
	for i, path := range []string{l.Roster(), l.RosterNew()} {
		info, e := os.Stat(path)
		switch {
		case e == nil:
			v[i].at, v[i].size, err = info.ModTime(), info.Size(), nil
		case i == 0 || !errors.Is(e, fs.ErrNotExist):
			err = e
		}
	}
	return v, err
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

// Save writes the roster, with all that is in the file beside it. It is for members only: from what is in it follows the
// key with which they greet newcomers.
func Save(l confdir.Layout, r *roster.Roster) error {
	if err := confdir.WriteFile(l.Roster(), r.Encode(nil), confdir.SecretMode); err != nil {
		return fmt.Errorf("writing the roster: %w", err)
	}
	if err := files.Remove(l.RosterNew()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("what is in the roster now is left in another file as well: %w", err)
	}
	return nil
}

// saveAnywhere is [Save], or writes the file beside the roster if this process has not the right to write the roster.
func saveAnywhere(l confdir.Layout, r *roster.Roster) error {
	err := Save(l, r)
	if err == nil || confdir.WriteFile(l.RosterNew(), r.Encode(nil), confdir.SecretMode) == nil {
		return nil
	}
	return err
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
