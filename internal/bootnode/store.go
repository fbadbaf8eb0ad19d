package bootnode

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/flynn/noise"

	"tincan/internal/confdir"
	"tincan/internal/node"
	"tincan/internal/subnet"
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
	// storeLimit is how long a store may take for one newcomer, or for one command.
	storeLimit = 8 * time.Second
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
	Used    int         `json:",omitempty"` // uses that were counted
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

// allows tells why the node may not join with this token now, or returns nil. joined: it has joined with the token before.
func (t Token) allows(name node.Name, joined bool, now time.Time) error {
	switch {
	case t.expired(now):
		return Refusal("the token has expired")
	case t.Name != "" && t.Name != name:
		return Refusal("the token is for another node")
	case t.Left == 0 && !joined:
		return Refusal("the token is used up")
	}
	return nil
}

// count counts a use.
func (t *Token) count() {
	t.Used++
	if t.Left > 0 {
		t.Left--
	}
}

const errGone = Refusal("the token was revoked or has expired")

// Limits say what a new token is good for.
type Limits struct {
	Label   string
	Expires time.Time // zero: never
	Uses    int       // or Unlimited
	Name    node.Name // "": any
	Old     bool      // also good for the old protocols
	Network string    // the id of the signed network; "": it is open
}

// Store keeps the tokens of a network, who has joined with them, and the key of the boot service: in the directory
// CONFBASE/boot, or in a store that several boot nodes share. What only this machine needs is in the directory in both
// cases. It is safe for concurrent use.
type Store struct {
	dir   string
	limit time.Duration // for one newcomer, or for one command
	kept
}

// kept is what a store keeps, and where: see directory and shared. They keep it alike (TestStores).
type kept interface {
	// once returns what is kept by a name. If there is nothing, it keeps what make returns, and all see the same from then on.
	once(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error)
	// tokens returns the tokens, maybe without Joined, maybe expired ones, too.
	tokens(ctx context.Context) ([]Token, error)
	// list returns the tokens with Joined.
	list(ctx context.Context) ([]Token, error)
	// edit changes the tokens while nobody else does; change may be called more than once, and does not see expired ones. If it
	// fails nothing is changed, and the error is its own.
	edit(ctx context.Context, change func([]Token) ([]Token, error)) error
	// use admits a newcomer while the token is good, and counts it unless the newcomer has joined with the token before.
	// decide, which may be called more than once, is given what others have been promised, and says what the newcomer gets;
	// then admit stores it. If decide or admit fails nothing is counted or promised, and the error is theirs.
	use(ctx context.Context, token string, c claimant, decide func(others []Claim) (Claim, error), admit func() error) error
	// spend remembers a nonce of an old protocol. It fails if it was there already.
	spend(ctx context.Context, token string, n nonce) error
	// release gives up what was promised to a node, and tells whether there was anything.
	release(ctx context.Context, name node.Name) (bool, error)
	// close ends what is open. The store can be used again.
	close()
}

// claimant is a newcomer as the store knows it: a name, and the identity of a key.
type claimant struct {
	name node.Name
	key  string // see keyID
}

// Claim is what a store has promised to a node that was admitted: nobody else is admitted with that name or with one of those
// subnets.
type Claim struct {
	Name    node.Name `json:"-"`
	Key     string    // see keyID
	Subnets []string  `json:",omitempty"`
	Tokens  []string  `json:",omitempty"` // ids of those that it has joined with
	Since   time.Time
}

// owned lists the subnets of a claim.
func (c Claim) owned() (list []Owned) {
	for _, text := range c.Subnets {
		if s, err := subnet.Parse(text); err == nil {
			list = append(list, Owned{s, c.Name})
		}
	}
	return list
}

// UnavailableError tells that a newcomer cannot be admitted at the moment, because the shared store cannot be asked. Nothing is
// wrong with the newcomer or its token.
type UnavailableError struct{ Err error }

func (e *UnavailableError) Error() string { return e.Err.Error() }
func (e *UnavailableError) Unwrap() error { return e.Err }

// Files of the directory, and names of what a shared store keeps once.
const (
	keyFile     = "key"
	tokensFile  = "tokens.json"
	noncesFile  = "nonces"
	tlsFile     = "tls.pem"
	serviceFile = "service-token"
)

// OpenStore opens the store of a network, and makes its directory if it is missing.
func OpenStore(l confdir.Layout) (*Store, error) { return OpenStoreAt(l, StoreURL{}) }

// OpenStoreAt opens the store of a network at a place that several boot nodes share. It connects to nobody.
func OpenStoreAt(l confdir.Layout, at StoreURL) (*Store, error) {
	s := &Store{dir: filepath.Join(l.ConfBase, "boot"), limit: max(storeLimit, at.attempt)}
	if err := confdir.MakeDir(s.dir, 0o700); err != nil {
		return nil, err
	}
	s.kept = &directory{dir: s.dir}
	if at.prefix != "" {
		client, err := at.client()
		if err != nil {
			return nil, err
		}
		s.kept = &shared{etcd: client, prefix: at.prefix + "/", local: s.dir}
	}
	return s, nil
}

// Close ends the store's connections.
func (s *Store) Close() { s.close() }

// ServiceToken is the file that holds the text of the token for a service
// (mode 0600).
func (s *Store) ServiceToken() string { return filepath.Join(s.dir, serviceFile) }

// identity is what a boot service is known by: its key and the salt of its tokens.
type identity struct {
	static noise.DHKey
	salt   []byte
}

// identity reads the key, or makes one.
func (s *Store) identity(ctx context.Context) (identity, error) {
	data, err := s.once(ctx, keyFile, func() ([]byte, error) {
		b := make([]byte, 32+saltSize)
		rand.Read(b)
		return fmt.Appendf(nil, "%x\n", b), nil
	})
	if err != nil {
		return identity{}, err
	}
	b, err := hex.DecodeString(string(bytes.TrimSpace(data)))
	if err != nil || len(b) != 32+saltSize {
		return identity{}, fmt.Errorf("the %s of the boot service in %s is damaged; without it all tokens are void, and a new one will be made", keyFile, s.dir)
	}
	static, err := noiseSuite.GenerateKeypair(bytes.NewReader(b[:32]))
	return identity{static, b[32:]}, err
}

// within limits how long the store is asked.
func (s *Store) within(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.limit)
}

// Pin is the hash of the service's key, for URLs.
func (s *Store) Pin() (string, error) {
	ctx, cancel := s.within(context.Background())
	defer cancel()
	id, err := s.identity(ctx)
	if err != nil {
		return "", err
	}
	return keyPin(id.static.Public), nil
}

// List returns the tokens that have not expired.
func (s *Store) List() ([]Token, error) {
	ctx, cancel := s.within(context.Background())
	defer cancel()
	tokens, err := s.list(ctx)
	return valid(tokens), err
}

// valid leaves out the tokens that have expired.
func valid(tokens []Token) []Token {
	now := time.Now()
	return slices.DeleteFunc(tokens, func(t Token) bool { return t.expired(now) })
}

// Add makes a token good. One that is there already (the same text) gets the
// new limits; who has joined with it is not forgotten, and counts as one of the uses.
func (s *Store) Add(secret Secret, limits Limits) (Token, error) {
	if len(limits.Label) > maxLabel || strings.ContainsFunc(limits.Label, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return Token{}, fmt.Errorf("a label has at most %d characters, and no line breaks", maxLabel)
	}
	ctx, cancel := s.within(context.Background())
	defer cancel()
	id, err := s.identity(ctx)
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
	return t, s.edit(ctx, func(tokens []Token) ([]Token, error) {
		for i := range tokens {
			if tokens[i].ID == t.ID {
				t.Joined, t.Used = tokens[i].Joined, max(tokens[i].Used, len(tokens[i].Joined))
				if t.Left = limits.Uses; t.Left != Unlimited {
					t.Left = max(0, t.Left-t.Used)
				}
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
	ctx, cancel := s.within(context.Background())
	defer cancel()
	err = s.edit(ctx, func(tokens []Token) ([]Token, error) {
		revoked = nil
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

// Release makes name and addresses of a node that has joined with a token free for others, and tells whether the store knew
// the node. A use that was counted stays counted.
func (s *Store) Release(name node.Name) (bool, error) {
	ctx, cancel := s.within(context.Background())
	defer cancel()
	return s.release(ctx, name)
}

var errReplay = errors.New("this nonce was used before: the request is a replay")

var errTooManyNonces = errors.New("the token was used too often with an old protocol; make a new one")
