package invite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/b64"
	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// DefaultExpire is how long an invitation is open, counted from the
// modification time of its file.
const DefaultExpire = 7 * 24 * time.Hour

const (
	keyFile    = "ed25519_key.priv"
	usedSuffix = ".used"
	spentFile  = "spent"

	// leftover is the age from which a .used file is nobody's any more.
	leftover = time.Hour
	// abandoned is the age from which a conversation that left a .used file
	// behind is certainly over, so that the URL may be tried again.
	abandoned = 2 * time.Minute
	// spentKept and spentMax bound what is remembered of old invitations.
	spentKept = 30 * 24 * time.Hour
	spentMax  = 1000
)

// store is the directory CONFBASE/invitations:
//
//	ed25519_key.priv  key of all open invitations
//	<24 characters>   an open invitation
//	<...>.used        one that is being used
//	spent             notes about used and expired ones, to tell latecomers why
//
// Whatever is more than a single rename happens under its lock.
type store struct{ dir string }

func storeIn(confBase string) store { return store{filepath.Join(confBase, "invitations")} }

func (s store) path(name string) string { return filepath.Join(s.dir, name) }

// lock keeps other processes and goroutines that lock the store out.
func (s store) lock() (unlock func(), err error) {
	unlock, err = confdir.LockDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("locking %s: %w", s.dir, err)
	}
	return unlock, nil
}

// key reads the invitation key. The error is fs.ErrNotExist if there is none.
func (s store) key() (*keys.PrivateKey, error) {
	pem, err := s.load(keyFile)
	if err != nil {
		return nil, err
	}
	k, err := keys.ParsePrivatePEM(pem)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.path(keyFile), err)
	}
	return k, nil
}

// names lists the invitations, open and in use.
func (s store) names() []string {
	entries, _ := os.ReadDir(s.dir)
	var out []string
	for _, e := range entries {
		if IsInvitation(strings.TrimSuffix(e.Name(), usedSuffix)) {
			out = append(out, e.Name())
		}
	}
	return out
}

// IsInvitation tells whether a file in the directory of the invitations is one, by its name.
func IsInvitation(name string) bool {
	_, err := b64.Decode(name)
	return len(name) == tokenText && err == nil
}

// read reads the invitation in the named file.
func (s store) read(name string) (text, error) {
	data, err := s.load(name)
	if err != nil {
		return text{}, err
	}
	return parseText(data)
}

// load reads a file of the directory, none of which is longer than an invitation may be.
func (s store) load(name string) ([]byte, error) {
	return files.Read(s.path(name), maxText)
}

// sweep removes what is out of date and returns how many invitations are open, or were used a moment ago by a
// newcomer who may come again.
// The caller holds the lock.
func (s store) sweep(now time.Time, expire time.Duration) (open int, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		base, inUse := strings.CutSuffix(e.Name(), usedSuffix)
		if !IsInvitation(base) {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // gone in the meantime
		}
		limit := expire
		if inUse {
			limit = leftover
		}
		if now.Sub(info.ModTime()) <= limit {
			open++
			continue
		}
		gone := note{file: base, at: now, why: Expired}
		if inUse { // its newcomer may have been stored
			if t, err := s.read(e.Name()); err == nil {
				gone.by, gone.until = t.name, info.ModTime().Add(expire)
			}
		}
		if err := files.Remove(s.path(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		s.note(gone)
	}
	return open + s.forget(now), nil
}

// claimed is an invitation that is being used. Nobody else can use it.
type claimed struct {
	store store
	name  string
	data  []byte
	made  time.Time // modification time, from which its end follows
}

// claim takes the invitation in the named file out of circulation. The error
// is a Refusal if it is not there or too old.
func (s store) claim(name string, now time.Time, expire time.Duration) (*claimed, error) {
	unlock, err := s.lock()
	if errors.Is(err, fs.ErrNotExist) { // a member of a signed network that has never invited anybody
		return nil, Unknown
	} else if err != nil {
		return nil, err
	}
	defer unlock()
	used := s.path(name + usedSuffix)
	// This rename is what makes an invitation work once, also if a tinc daemon
	// looks after the same directory.
	if err := files.Rename(s.path(name), used); errors.Is(err, fs.ErrNotExist) {
		info, err := os.Lstat(used)
		if err != nil {
			return nil, s.recall(name)
		}
		if now.Sub(info.ModTime()) < abandoned {
			return nil, Busy
		}
	} else if err != nil {
		return nil, err
	}
	info, err := os.Lstat(used)
	if err != nil {
		return nil, err
	}
	c := &claimed{store: s, name: name, made: info.ModTime()}
	if now.Sub(c.made) > expire {
		s.remember(name, Expired, now)
		if err := files.Remove(used); err != nil {
			return nil, err
		}
		return nil, Expired
	}
	if c.data, err = s.load(name + usedSuffix); err != nil {
		return nil, errors.Join(err, c.putBack())
	}
	// From now on its age says how long it has been in use.
	return c, files.Chtimes(used, now)
}

// Recover opens the invitations again whose conversations ended with the process that led them, so that their newcomers
// need not wait. Nobody may serve the invitations below confBase at this moment.
func Recover(confBase string) error { return storeIn(confBase).recover() }

func (s store) recover() error {
	if _, err := os.Stat(s.dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	for _, name := range s.names() {
		base, inUse := strings.CutSuffix(name, usedSuffix)
		if !inUse {
			continue
		}
		t, err := s.read(name)
		if err != nil {
			continue
		}
		// One whose newcomer is stored waits for that one alone.
		if _, err := os.Lstat(filepath.Join(filepath.Dir(s.dir), "hosts", string(t.name))); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := files.Rename(s.path(name), s.path(base)); err != nil {
			return err
		}
	}
	return nil
}

// rewrite stores another text, as long as the invitation is claimed.
func (c *claimed) rewrite(data []byte) error {
	c.data = data
	return confdir.WriteFile(c.store.path(c.name+usedSuffix), data, confdir.SecretMode)
}

// release puts the invitation back as it was. Whoever looks for it meanwhile finds it at one of its two places.
func (c *claimed) release() error {
	unlock, err := c.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.putBack()
}

// putBack is release; the caller holds the lock.
func (c *claimed) putBack() error {
	used := c.store.path(c.name + usedSuffix)
	if err := files.Chtimes(used, c.made); err != nil {
		return err
	}
	return files.Rename(used, c.store.path(c.name))
}

// spend removes an invitation that is being used for good, since a node has joined with it; until is its end.
// The error is fs.ErrNotExist if somebody else has done that.
func (s store) spend(name string, by node.Name, now, until time.Time) error {
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	used := s.path(name + usedSuffix)
	if _, err := os.Lstat(used); err != nil {
		return err
	}
	s.note(note{file: name, at: now, why: Used, by: by, until: until})
	return files.Remove(used)
}

// note is what is remembered of an invitation that is gone: a line of the file "spent".
type note struct {
	file  string
	at    time.Time
	why   Refusal
	by    node.Name // who has joined, if it was used
	until time.Time // when it would have ended then
}

func (n note) String() string {
	text := fmt.Sprintf("%s %d %s", n.file, n.at.Unix(), string(n.why))
	if n.by != "" {
		text += fmt.Sprintf(" %s %d", n.by, n.until.Unix())
	}
	return text
}

func parseNote(row string) (n note, ok bool) {
	words := strings.Fields(row)
	if len(words) != 3 && len(words) != 5 {
		return note{}, false
	}
	at, err := strconv.ParseInt(words[1], 10, 64)
	n = note{file: words[0], at: time.Unix(at, 0), why: Refusal(words[2])}
	if err != nil || !n.why.known() {
		return note{}, false
	}
	if len(words) == 5 {
		until, err := strconv.ParseInt(words[4], 10, 64)
		if err != nil {
			return note{}, false
		}
		if n.by, err = node.ParseName(words[3]); err != nil {
			return note{}, false
		}
		n.until = time.Unix(until, 0)
	}
	return n, true
}

// remember notes why an invitation is gone.
func (s store) remember(name string, why Refusal, now time.Time) {
	s.note(note{file: name, at: now, why: why})
}

// note adds a note. Notes are only there for better messages, and for a newcomer who has missed that it was
// accepted, so errors do not matter.
func (s store) note(n note) {
	f, err := files.Open(s.path(spentFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintln(f, n)
}

// recallNote returns the last note about the named file, or one that says Unknown.
func (s store) recallNote(name string) note {
	data, _ := s.load(spentFile)
	for _, row := range slices.Backward(rows(data)) {
		if n, ok := parseNote(row); ok && n.file == name {
			return n
		}
	}
	return note{file: name, why: Unknown}
}

// recall tells why there is no invitation in the named file.
func (s store) recall(name string) Refusal { return s.recallNote(name).why }

// forget drops old notes, and returns how many say that a newcomer was let in a moment ago.
func (s store) forget(now time.Time) (fresh int) {
	data, err := s.load(spentFile)
	if err != nil {
		return 0
	}
	all := rows(data)
	kept := slices.DeleteFunc(slices.Clone(all), func(row string) bool {
		n, ok := parseNote(row)
		if ok && n.why == Used && now.Sub(n.at) <= leftover {
			fresh++
		}
		return !ok || now.Sub(n.at) > spentKept
	})
	kept = kept[max(0, len(kept)-spentMax):]
	if len(kept) == len(all) {
		return fresh
	}
	var w writer
	for _, row := range kept {
		w.WriteString(row + "\n")
	}
	_ = confdir.WriteFile(s.path(spentFile), w.Bytes(), confdir.SecretMode)
	return fresh
}
