package members

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/roster"
)

// JudgeHost says what the roster of a signed network has against a host file of a node, nil if nothing.
func JudgeHost(s *roster.State, name node.Name, data []byte, now time.Time) error {
	member := s.Member(name)
	ed, pem := hostfile.Key(data)
	switch rsa, err := keys.ParseRSAPublic(pem); {
	case member == nil || member.Ended(now.Unix()):
		return fmt.Errorf("%s is no member of the network", name)
	case ed != nil && *ed != member.Key:
		return fmt.Errorf("its key is not the one that the roster has for %s", name)
	case err == nil && rsa.Hash() != member.RSA:
		return fmt.Errorf("its RSA key is not the one that the roster has for %s", name)
	}
	return nil
}

// OnDisk is the roster of a directory whose node does not keep one, as tincd of tinc 1.0. It is read again when its
// file has changed.
type OnDisk struct {
	layout  confdir.Layout
	network roster.ID

	mu    sync.Mutex
	read  Version // the files as they were read
	state *roster.State
}

// OpenOnDisk reads the roster of a directory. It returns nil if the network is not a signed one.
func OpenOnDisk(l confdir.Layout) (*OnDisk, error) {
	n, _, err := confdir.Load(l, nil)
	if err != nil || n.Settings.Roster != config.RosterSigned {
		return nil, err
	}
	f := &OnDisk{layout: l}
	if text := n.Settings.NetworkID; text != "" {
		if f.network, err = roster.ParseID(text); err != nil {
			return nil, config.Problem{Where: l.TincConf(), Text: "NetworkID: " + err.Error()}
		}
	}
	if _, err = f.State(); err != nil || f.state == nil {
		return nil, err
	}
	return f, nil
}

// State is what the roster says now; nil: there is none, and never was. If the file is gone or cannot be read, that is what it
// said before.
func (f *OnDisk) State() (*roster.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, err := FilesVersion(f.layout)
	if err == nil && f.state != nil && now == f.read {
		return f.state, nil
	}
	r, _, err := Load(f.layout, f.network)
	switch {
	case f.state != nil && (err != nil || r == nil || r.State().Root.IsZero()):
		return f.state, err
	case err != nil:
		return nil, err
	case r == nil:
		return nil, nil
	case r.State().Root.IsZero():
		return nil, fmt.Errorf("%s: %w", f.layout.Roster(), errNoRoster)
	}
	f.read, f.state = now, r.State()
	return f.state, nil
}

var errNoRoster = errors.New("NetworkID names a signed network, and its roster is not here")

// Judge is [JudgeHost] by the roster as it is now.
func (f *OnDisk) Judge(name node.Name, data []byte) error {
	s, err := f.State()
	if s == nil {
		return err
	}
	return JudgeHost(s, name, data, time.Now())
}
