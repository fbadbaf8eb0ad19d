package invite

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/b64"
	"tincan/internal/files"
	"tincan/internal/keys"
)

// A newcomer that has sent its key and hears nothing does not know whether it has been let in. So what it
// has prepared stays on its disk, beside the place where the configuration would go:
//
//	.join-<16 characters of the URL's hash>-<random>/
//	  invitation   the text of the invitation
//	  conf/        the configuration, with the private key
//
// Join with the same URL takes the key from there and uses it for the key exchange, too. An inviter that has stored
// that key knows by this whom it talks to, and says "accepted" once more. If it has not, the invitation is still open,
// and everything goes as it does for the first time.
const (
	preparedConf = "conf"
	preparedText = "invitation"
)

// UnansweredError is an error of a join whose key has been sent and not been answered.
type UnansweredError struct {
	Kept string // the directory that holds what was prepared
	Err  error
}

func (e *UnansweredError) Error() string {
	return fmt.Sprintf("%v; it is not known whether the inviter has stored this node", e.Err)
}

func (e *UnansweredError) Unwrap() error { return e.Err }

// Hint says how to go on.
func (e *UnansweredError) Hint() string {
	return "run the same command again: it continues with the same key. If the inviter does not answer that (tinc does not), but has a host file " +
		"of this node, move " + filepath.Join(e.Kept, preparedConf) + " to where the configuration belongs"
}

// prepared is what an earlier attempt has left.
type prepared struct {
	key  *keys.PrivateKey
	rsa  *keys.RSAPrivateKey // nil: none
	text []byte
}

// preparedPrefix begins the names of the directories for this URL.
func (u URL) preparedPrefix() string {
	sum := sha512.Sum512(append(u.keyHash[:], u.cookie[:]...))
	return ".join-" + b64.EncodeURL(sum[:12]) + "-"
}

// findPrepared looks for what an earlier Join with this URL has left. The name of the network may come from the
// invitation, so that its directory is one below the place that is known now.
func (j *joiner) findPrepared() {
	l, err := j.Place.Layout()
	if err != nil {
		return
	}
	for _, in := range []string{l.ConfBase, filepath.Dir(l.ConfBase)} {
		entries, _ := os.ReadDir(in)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), j.url.preparedPrefix()) {
				continue
			}
			dir := filepath.Join(in, e.Name())
			j.left = append(j.left, dir)
			if p, err := loadPrepared(dir); err == nil && j.sent == nil {
				j.sent = p
			}
		}
	}
}

func loadPrepared(dir string) (*prepared, error) {
	var p prepared
	pem, err := files.Read(filepath.Join(dir, preparedConf, "ed25519_key.priv"), maxText)
	if err != nil {
		return nil, err
	}
	if p.key, err = keys.ParsePrivatePEM(pem); err != nil {
		return nil, err
	}
	if pem, err := files.Read(filepath.Join(dir, preparedConf, "rsa_key.priv"), maxText); err == nil {
		if p.rsa, err = keys.ParseRSAPrivate(pem); err != nil {
			return nil, err
		}
	}
	p.text, err = files.Read(filepath.Join(dir, preparedText), maxText)
	return &p, err
}

// forget removes what attempts have left, but for one directory.
func (j *joiner) forget(but string) {
	for _, dir := range j.left {
		if dir != but {
			os.RemoveAll(dir)
		}
	}
	j.left = nil
	if but != "" {
		j.left = []string{but}
	}
}

// unanswered adds to an error what is left for another attempt.
func (j *joiner) unanswered(err error) error {
	if len(j.left) == 0 || errors.Is(err, ErrOccupied) {
		return err
	}
	return &UnansweredError{Kept: j.left[0], Err: err}
}

// syncDirs makes the names in directories survive a power failure. Not all systems can.
func syncDirs(dirs ...string) {
	for _, dir := range dirs {
		if f, err := os.Open(dir); err == nil {
			_ = f.Sync()
			f.Close()
		}
	}
}
