package members

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func key(n byte) *keys.PrivateKey { return keys.FromSeed([32]byte{n, 1}) }

// genesis begins a network whose owner is key 0.
func genesis(t *testing.T) *roster.Roster {
	t.Helper()
	raw, id, err := roster.NewGenesis(roster.Genesis{Created: 1, OwnerList: roster.OwnerList{
		Threshold: 1, Owners: []roster.Owner{{Key: key(0).Public(), Rights: roster.AllRights, Name: "owner"}},
	}}, key(0))
	must(t, err)
	r := roster.New(id)
	_, err = r.Add(raw)
	must(t, err)
	return r
}

// admit makes a member of a key.
func admit(name node.Name, n byte) func(*roster.Roster) ([][]byte, error) {
	return func(r *roster.Roster) ([][]byte, error) {
		return r.SignMember(roster.Member{Name: name, Key: key(n).Public()}, 0, key(0))
	}
}

// pair is two services with a connection between them.
type pair struct {
	a, b *Service
	dir  string
	wg   sync.WaitGroup
}

func newPair(t *testing.T, a, b *roster.Roster) *pair {
	p := &pair{dir: t.TempDir()}
	make := func(name node.Name, r *roster.Roster, to **Service) *Service {
		return New(Config{
			Self: name, Files: func() confdir.Layout { return p.files(name) },
			Send:    func(o reconcile.Out) { (*to).Receive(name, o.Data) },
			Changed: func(*roster.State, bool) {},
		}, r)
	}
	for _, name := range []node.Name{"a", "b"} {
		must(t, os.Mkdir(p.files(name).ConfBase, 0o700))
	}
	p.a = make("a", a, &p.b)
	p.b = make("b", b, &p.a)
	ctx, cancel := context.WithCancel(t.Context())
	p.wg.Go(func() { p.a.Run(ctx) })
	p.wg.Go(func() { p.b.Run(ctx) })
	t.Cleanup(func() { cancel(); p.wg.Wait() })
	p.a.SetNeighbours([]node.Name{"b"}, nil)
	p.b.SetNeighbours([]node.Name{"a"}, nil)
	return p
}

// files are those of one of the services.
func (p *pair) files(name node.Name) confdir.Layout {
	return confdir.Layout{ConfBase: filepath.Join(p.dir, string(name))}
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

func TestWhatIsSubmittedHereIsOnDiskAndArrivesThere(t *testing.T) {
	r := genesis(t)
	p := newPair(t, r, roster.New(r.Network()))
	results, err := p.a.Sign(t.Context(), admit("bob", 1))
	must(t, err)
	if len(results) != 1 || results[0].Outcome != roster.Added {
		t.Fatalf("results %v", results)
	}
	onDisk, found, err := Load(p.files("a"), r.Network())
	must(t, err)
	if found != (Found{}) || onDisk.State().Member("bob") == nil {
		t.Errorf("%+v; bob: %v", found, onDisk.State().Member("bob"))
	}
	eventually(t, "b has all of it", p.b.Whole)
	eventually(t, "bob is a member at b", func() bool { return p.b.State().Member("bob") != nil })
	eventually(t, "b has written its file", func() bool {
		onDisk, _, err := Load(p.files("b"), r.Network())
		return err == nil && onDisk != nil && onDisk.State().Member("bob") != nil
	})
}

func TestAnErrorOfTheMakerChangesNothing(t *testing.T) {
	r := genesis(t)
	p := newPair(t, r, roster.New(r.Network()))
	want := errors.New("no")
	if _, err := p.a.Sign(t.Context(), func(*roster.Roster) ([][]byte, error) { return nil, want }); !errors.Is(err, want) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(p.files("a").Roster()); err == nil {
		t.Error("a file was written")
	}
}

func TestTheRosterOfAnotherNetworkIsNotUsed(t *testing.T) {
	l := confdir.Layout{ConfBase: t.TempDir()}
	r := genesis(t)
	must(t, Save(l, r))
	if _, _, err := Load(l, roster.ID{1}); !errors.Is(err, ErrOtherNetwork) {
		t.Errorf("error %v", err)
	}
	if info, err := os.Stat(l.Roster()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want mode 0600", info, err)
	}
	if got, _, err := Load(l, roster.ID{}); err != nil || got.Network() != r.Network() {
		t.Errorf("%v, %v", got, err)
	}
}

func TestWithoutAFileTheNetworkIsOpenOrToBeFetched(t *testing.T) {
	l := confdir.Layout{ConfBase: t.TempDir()}
	if r, _, err := Load(l, roster.ID{}); r != nil || err != nil {
		t.Errorf("%v, %v; want an open network", r, err)
	}
	id := genesis(t).Network()
	if r, _, err := Load(l, id); err != nil || r.Network() != id {
		t.Errorf("%v, %v; want an empty roster", r, err)
	}
}

// The statements of a file are verified by several goroutines.
func TestALargeFileIsReadAsItWasWritten(t *testing.T) {
	r := genesis(t)
	var raws [][]byte
	for i := range 300 {
		raw, err := roster.Sign(r.Network(), 1, 0, &roster.Member{Name: node.Name(fmt.Sprintf("n%d", i)), Key: keys.FromSeed([32]byte{byte(i), byte(i >> 8), 7}).Public()}, key(0))
		must(t, err)
		raws = append(raws, raw)
	}
	r.Merge(raws)
	l := confdir.Layout{ConfBase: t.TempDir()}
	must(t, Save(l, r))
	data, err := os.ReadFile(l.Roster())
	must(t, err)
	lines := bytes.SplitAfter(data, []byte("\n"))
	lines[100] = []byte("this is no statement\n")
	lines[200][50] ^= 1
	must(t, os.WriteFile(l.Roster(), bytes.Join(lines, nil), 0o600))
	got, found, err := Load(l, r.Network())
	must(t, err)
	if found.Bad != 2 || len(got.State().Members) != 298 {
		t.Errorf("%d bad lines, %d members; want 2 and 298", found.Bad, len(got.State().Members))
	}
}
