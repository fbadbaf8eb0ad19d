package members

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"

	"tincan/internal/confdir"
	"tincan/internal/roster"
)

// aside makes a directory whose roster cannot be written any more, and the directory that can be.
func aside(t *testing.T, r *roster.Roster) confdir.Layout {
	l := confdir.Layout{ConfBase: t.TempDir()}
	must(t, os.Mkdir(l.RosterAside(), 0o700))
	if r != nil {
		must(t, Save(l, r))
	}
	return l
}

// with returns a copy of r to which the statements of make were added.
func with(t *testing.T, r *roster.Roster, make func(*roster.Roster) ([][]byte, error)) *roster.Roster {
	c := r.Clone()
	raws, err := make(c)
	must(t, err)
	for _, result := range c.Merge(raws) {
		must(t, result.Err())
	}
	return c
}

func remove(n byte) func(*roster.Roster) ([][]byte, error) {
	return func(r *roster.Roster) ([][]byte, error) { return r.SignRemoval(key(n).Public(), "", key(0)) }
}

func TestWhatCannotBeWrittenToTheRosterIsKeptBesideIt(t *testing.T) {
	r := with(t, genesis(t), admit("bob", 1))
	l := aside(t, nil)
	must(t, os.Mkdir(l.Roster(), 0o700)) // it cannot be replaced by a file
	must(t, saveAnywhere(l, r))
	must(t, os.Remove(l.Roster()))
	must(t, confdir.WriteFile(l.Roster(), r.Encode(nil), confdir.SecretMode))
	before, err := FilesVersion(l)
	must(t, err)

	old := r.Clone()
	removed := with(t, r, remove(1))
	must(t, os.WriteFile(l.RosterNew(), removed.Encode(nil), 0o600))
	got, found, err := Load(l, roster.ID{})
	must(t, err)
	if !found.Aside || got.State().Removed(key(1).Public()) == nil {
		t.Errorf("%+v, bob removed: %v", found, got.State().Removed(key(1).Public()))
	}
	if after, err := FilesVersion(l); err != nil || after == before {
		t.Errorf("%v, %v; want another version", after, err)
	}
	must(t, Update(l, old))
	if old.State().Removed(key(1).Public()) == nil {
		t.Error("whoever reads once more does not see the removal")
	}

	must(t, Save(l, got))
	if _, err := os.Stat(l.RosterNew()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v; the file beside the roster is still there", err)
	}
	again, found, err := Load(l, roster.ID{})
	must(t, err)
	if found.Aside || !bytes.Equal(again.Encode(nil), removed.Encode(nil)) {
		t.Errorf("%+v; the roster is not what both files had", found)
	}
}

// A node that has only joined has no roster yet, and may not be able to write one.
func TestARosterCanBeBesideNone(t *testing.T) {
	r := with(t, genesis(t), admit("bob", 1))
	l := aside(t, nil)
	must(t, os.WriteFile(l.RosterNew(), r.Encode(nil), 0o600))
	got, found, err := Load(l, r.Network())
	must(t, err)
	if !found.Aside || got.State().Member("bob") == nil {
		t.Errorf("%+v", found)
	}
	empty := roster.New(r.Network())
	must(t, Update(l, empty))
	if empty.State().Member("bob") == nil {
		t.Error("whoever reads once more does not see bob")
	}
}

// Whoever can write only the file beside the roster can neither take anything back nor make a network signed.
func TestTheFileBesideTheRosterDecidesNothingAlone(t *testing.T) {
	whole := with(t, with(t, genesis(t), admit("bob", 1)), remove(1))
	other := roster.New(roster.ID{7})
	for _, c := range []struct {
		name    string
		data    []byte
		pin     roster.ID
		main    *roster.Roster
		left    bool
		bad     int
		removed bool
	}{
		{name: "an older copy", data: genesis(t).Encode(nil), main: whole, removed: true},
		{name: "nothing", data: nil, main: whole, left: true, removed: true},
		{name: "another network", data: other.Encode(nil), main: whole, left: true, removed: true},
		{name: "another network, pinned", data: other.Encode(nil), pin: whole.Network(), left: true},
		{name: "rubbish", data: append(genesis(t).Encode(nil), "AAAA\n"...), main: whole, bad: 1, removed: true},
		{name: "an open network", data: whole.Encode(nil)},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := aside(t, c.main)
			must(t, os.WriteFile(l.RosterNew(), c.data, 0o600))
			got, found, err := Load(l, c.pin)
			must(t, err)
			if (found.Left != nil) != c.left || found.Bad != c.bad {
				t.Errorf("%+v", found)
			}
			if c.main == nil && c.pin.IsZero() {
				if got != nil {
					t.Errorf("the network has become %v", got.Network())
				}
				return
			}
			if removed := got.State().Removed(key(1).Public()) != nil; removed != c.removed {
				t.Errorf("removed: %v", removed)
			}
		})
	}
}
