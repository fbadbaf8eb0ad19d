package bootnode

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/flynn/noise"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/node"
)

// Limits of a store.
const (
	// MaxTokens is how many tokens there can be at a time. A newcomer does not
	// say which one it has, so all are tried.
	MaxTokens = 64
	// maxNonces is how often one token can be used with the old protocols, whose
	// nonces have to be remembered.
	maxNonces = 10000
	maxLabel  = 64
)

// Unlimited is the number of uses of a token that does not count.
const Unlimited = -1

// Token is what a boot node keeps of a token. The text itself is not kept, but
// what is derived from it is as good for whoever wants to join.
type Token struct {
	ID      string // follows from the text
	Label   string
	Created time.Time
	Expires time.Time   `json:",omitzero"` // zero: never
	Left    int         // uses that are left, or Unlimited
	Name    node.Name   `json:",omitempty"` // the only node that may join with it; "" for any
	Joined  []node.Name `json:",omitempty"` // those who have; they may repeat it

	Shared [32]byte  // for the current protocol
	Old    *[32]byte `json:",omitempty"` // for the old protocols; nil: not for them
	// Invitation is the secret of the invitation that the token is in a signed network; nil: the network was open when the
	// token was made.
	Invitation []byte `json:",omitempty"`
}

// String shows nothing secret.
func (t Token) String() string { return t.ID + " " + t.Label }

// GoString shows nothing secret.
func (t Token) GoString() string { return t.String() }

func (t Token) expired(now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// Allows tells why the node may not join with this token now, or returns nil.
func (t Token) Allows(name node.Name, now time.Time) error {
	switch {
	case t.expired(now):
		return errors.New("the token has expired")
	case t.Name != "" && t.Name != name:
		return errors.New("the token is for another node")
	case t.Left == 0 && !slices.Contains(t.Joined, name):
		return errors.New("the token is used up")
	}
	return nil
}

// Limits say what a new token is good for.
type Limits struct {
	Label   string
	Expires time.Time // zero: never
	Uses    int       // or Unlimited
	Name    node.Name // "": any
	Old     bool      // also good for the old protocols
	Network string    // the id of the signed network; "": it is open
}

// Store is the directory CONFBASE/boot.
type Store struct{ dir string }

// Files of the store.
const (
	keyFile     = "key"
	tokensFile  = "tokens.json"
	noncesFile  = "nonces"
	tlsFile     = "tls.pem"
	serviceFile = "service-token"
)

// OpenStore opens the store of a network, and makes it if it is missing.
func OpenStore(l confdir.Layout) (*Store, error) {
	s := &Store{filepath.Join(l.ConfBase, "boot")}
	if err := confdir.MakeDir(s.dir, 0o700); err != nil {
		return nil, err
	}
	return s, nil
}

// ServiceToken is the file that holds the text of the token for a service
// (mode 0600).
func (s *Store) ServiceToken() string { return filepath.Join(s.dir, serviceFile) }

// identity is what the boot node keeps for itself: the key of its service and
// the salt of its tokens.
type identity struct {
	static noise.DHKey
	salt   []byte
}

// identity reads the key, or makes one.
func (s *Store) identity() (identity, error) {
	path := filepath.Join(s.dir, keyFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b := make([]byte, 32+saltSize)
		rand.Read(b)
		err = confdir.Create(path, fmt.Appendf(nil, "%x\n", b), confdir.SecretMode)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return identity{}, err
		}
		data, err = os.ReadFile(path) // whoever was first
	}
	if err != nil {
		return identity{}, err
	}
	b, err := hex.DecodeString(string(bytes.TrimSpace(data)))
	if err != nil || len(b) != 32+saltSize {
		return identity{}, fmt.Errorf("%s is damaged; without it all tokens are void, and a new one will be made", path)
	}
	static, err := noiseSuite.GenerateKeypair(bytes.NewReader(b[:32]))
	return identity{static, b[32:]}, err
}

// Pin is the hash of the service's key, for URLs.
func (s *Store) Pin() (string, error) {
	id, err := s.identity()
	return keyPin(id.static.Public), err
}

// edit changes the list of tokens while nobody else does. What has expired is dropped.
func (s *Store) edit(change func([]Token) ([]Token, error)) error {
	unlock, err := confdir.LockDir(s.dir)
	if err != nil {
		return err
	}
	defer unlock()
	tokens, err := s.read()
	if err != nil {
		return err
	}
	now := time.Now()
	tokens = slices.DeleteFunc(tokens, func(t Token) bool { return t.expired(now) })
	if tokens, err = change(tokens); err != nil {
		return err
	}
	data, err := json.MarshalIndent(tokens, "", " ")
	if err != nil {
		return err
	}
	return confdir.WriteFile(filepath.Join(s.dir, tokensFile), append(data, '\n'), confdir.SecretMode)
}

func (s *Store) read() ([]Token, error) {
	path := filepath.Join(s.dir, tokensFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var tokens []Token
	if err := json.Unmarshal(data, &tokens); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return tokens, nil
}

// List returns the tokens that have not expired.
func (s *Store) List() ([]Token, error) {
	tokens, err := s.read()
	now := time.Now()
	return slices.DeleteFunc(tokens, func(t Token) bool { return t.expired(now) }), err
}

// Add makes a token good. One that is there already (the same text) gets the
// new limits; who has joined with it is not forgotten.
func (s *Store) Add(secret Secret, limits Limits) (Token, error) {
	if len(limits.Label) > maxLabel || strings.ContainsFunc(limits.Label, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Token{}, fmt.Errorf("a label has at most %d characters, and no line breaks", maxLabel)
	}
	id, err := s.identity()
	if err != nil {
		return Token{}, err
	}
	t := Token{
		Label: limits.Label, Created: time.Now().UTC().Truncate(time.Second), Expires: limits.Expires.UTC(), Left: limits.Uses, Name: limits.Name,
		Shared: secret.shared(id.salt),
	}
	t.ID = tokenID(t.Shared)
	if limits.Old {
		key := secret.oldKey()
		t.Old = &key
	}
	if limits.Network != "" {
		t.Invitation = secret.Invitation(limits.Network)
	}
	return t, s.edit(func(tokens []Token) ([]Token, error) {
		for i := range tokens {
			if tokens[i].ID == t.ID {
				t.Joined = tokens[i].Joined
				tokens[i] = t
				return tokens, nil
			}
		}
		if len(tokens) >= MaxTokens {
			return nil, fmt.Errorf("there are %d tokens already; revoke one", len(tokens))
		}
		return append(tokens, t), nil
	})
}

// Revoke makes the tokens with this id or label void and returns them.
func (s *Store) Revoke(which string) (revoked []Token, err error) {
	err = s.edit(func(tokens []Token) ([]Token, error) {
		return slices.DeleteFunc(tokens, func(t Token) bool {
			is := t.ID == which || t.Label == which
			if is {
				revoked = append(revoked, t)
			}
			return is
		}), nil
	})
	return revoked, err
}

// use runs admit while the token is still good, and counts it.
func (s *Store) use(id string, name node.Name, admit func() error) error {
	return s.edit(func(tokens []Token) ([]Token, error) {
		i := slices.IndexFunc(tokens, func(t Token) bool { return t.ID == id })
		if i < 0 {
			return nil, errors.New("the token was revoked or has expired")
		}
		t := &tokens[i]
		if err := t.Allows(name, time.Now()); err != nil {
			return nil, err
		}
		if err := admit(); err != nil {
			return nil, err
		}
		if !slices.Contains(t.Joined, name) {
			t.Joined = append(t.Joined, name)
			if t.Left > 0 {
				t.Left--
			}
		}
		return tokens, nil
	})
}

// nonces is the memory of the nonces of the old protocols, a file of lines
// "TOKEN NONCE". It is kept as long as the tokens are.
type nonces struct {
	path string

	mu    sync.Mutex
	file  *os.File
	seen  map[string]bool // lines
	count map[string]int  // by token
}

// openNonces reads what is remembered of the tokens.
func (s *Store) openNonces() (*nonces, error) {
	n := &nonces{path: filepath.Join(s.dir, noncesFile), seen: map[string]bool{}, count: map[string]int{}}
	unlock, err := confdir.LockDir(s.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	tokens, err := s.read()
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(n.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var kept bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		id, _, ok := strings.Cut(lines.Text(), " ")
		if ok && !n.seen[lines.Text()] && slices.ContainsFunc(tokens, func(t Token) bool { return t.ID == id }) {
			n.seen[lines.Text()] = true
			n.count[id]++
			kept.WriteString(lines.Text() + "\n")
		}
	}
	if err := confdir.WriteFile(n.path, kept.Bytes(), confdir.SecretMode); err != nil {
		return nil, err
	}
	n.file, err = files.Open(n.path, os.O_APPEND|os.O_WRONLY, 0)
	return n, err
}

var errReplay = errors.New("this nonce was used before: the request is a replay")

// spend remembers a nonce on disk. It fails if it was there already.
func (n *nonces) spend(token string, x nonce) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	line := token + " " + x.String()
	switch {
	case n.seen[line]:
		return errReplay
	case n.count[token] >= maxNonces:
		return errors.New("the token was used too often with an old protocol; make a new one")
	}
	if _, err := n.file.WriteString(line + "\n"); err != nil {
		return fmt.Errorf("remembering the nonce: %w", err)
	}
	if err := n.file.Sync(); err != nil {
		return fmt.Errorf("remembering the nonce: %w", err)
	}
	n.seen[line] = true
	n.count[token]++
	return nil
}

func (n *nonces) close() { n.file.Close() }
