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
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/keys"
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
//	spent             names of used and expired ones, to tell latecomers why
//
// Whatever is more than a single rename happens under its lock.
type store struct{ dir string }

func storeIn(confBase string) store { return store{filepath.Join(confBase, "invitations")} }

func (s store) path(name string) string { return filepath.Join(s.dir, name) }

// lock keeps other processes and goroutines that lock the store out.
func (s store) lock() (unlock func(), err error) {
	unlock, err = config.LockDir(s.dir)
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
		if isInvitation(strings.TrimSuffix(e.Name(), usedSuffix)) {
			out = append(out, e.Name())
		}
	}
	return out
}

func isInvitation(name string) bool {
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

// sweep removes what is out of date and returns how many invitations are open.
// The caller holds the lock.
func (s store) sweep(now time.Time, expire time.Duration) (open int, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		base, inUse := strings.CutSuffix(e.Name(), usedSuffix)
		if !isInvitation(base) {
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
		if err := files.Remove(s.path(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		s.remember(base, Expired, now)
	}
	s.forget(now)
	return open, nil
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
	if err != nil {
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
		return nil, errors.Join(err, c.release())
	}
	// From now on its age says how long it has been in use.
	return c, files.Chtimes(used, now)
}

// rewrite stores another text, as long as the invitation is claimed.
func (c *claimed) rewrite(data []byte) error {
	c.data = data
	return config.WriteFile(c.store.path(c.name+usedSuffix), data, config.SecretMode)
}

// release puts the invitation back as it was.
func (c *claimed) release() error {
	used := c.store.path(c.name + usedSuffix)
	if err := files.Chtimes(used, c.made); err != nil {
		return err
	}
	return files.Rename(used, c.store.path(c.name))
}

// spend removes the invitation for good.
func (c *claimed) spend(now time.Time) error {
	unlock, err := c.store.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c.store.remember(c.name, Used, now)
	return files.Remove(c.store.path(c.name + usedSuffix))
}

// remember notes why an invitation is gone. It is only there for better
// messages, so its errors do not matter.
func (s store) remember(name string, why Refusal, now time.Time) {
	f, err := files.Open(s.path(spentFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s %d %s\n", name, now.Unix(), string(why))
}

// recall tells why there is no invitation in the named file.
func (s store) recall(name string) Refusal {
	data, _ := s.load(spentFile)
	for _, row := range slices.Backward(rows(data)) {
		if words := strings.Fields(row); len(words) == 3 && words[0] == name {
			if why := Refusal(words[2]); why.known() {
				return why
			}
		}
	}
	return Unknown
}

// forget drops old notes.
func (s store) forget(now time.Time) {
	data, err := s.load(spentFile)
	if err != nil {
		return
	}
	all := rows(data)
	kept := slices.DeleteFunc(slices.Clone(all), func(row string) bool {
		words := strings.Fields(row)
		if len(words) != 3 {
			return true
		}
		at, err := strconv.ParseInt(words[1], 10, 64)
		return err != nil || now.Sub(time.Unix(at, 0)) > spentKept
	})
	kept = kept[max(0, len(kept)-spentMax):]
	if len(kept) == len(all) {
		return
	}
	var w writer
	for _, row := range kept {
		w.WriteString(row + "\n")
	}
	_ = config.WriteFile(s.path(spentFile), w.Bytes(), config.SecretMode)
}
