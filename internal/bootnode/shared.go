package bootnode

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/etcd"
	"tincan/internal/node"
)

// shared keeps everything in etcd, for any number of boot nodes that are asked at the same time. Below its prefix there are
//
//	key, tls.pem         the identity of the boot service, which is the same at all boot nodes
//	tokens               all tokens: JSON, without Joined
//	nodes/NAME           the Claim of a node that was admitted: JSON
//	admissions           changes with every change of nodes/; its value counts the claims that were given up
//	nonces/TOKEN/NONCE   nonces of the old protocols
//
// A newcomer is admitted by one transaction, which takes place only if neither the tokens nor the admissions have changed since
// they were read. So all boot nodes together decide as one would: a token is not used once too often, a name or an address not
// given to two nodes, and a token that was revoked is refused from that moment on.
type shared struct {
	etcd   *etcd.Client
	prefix string
	local  string // a directory of this machine, for copies of what is kept once

	mu    sync.Mutex
	known claims
}

// claims is a copy of nodes/ as it was at a revision.
type claims struct {
	cluster  uint64
	revision int64
	released string // value of admissions
	nodes    map[node.Name]Claim
	at       map[node.Name]int64 // revisions of the claims
}

const (
	nodesKey      = "nodes/"
	noncesKey     = "nonces/"
	tokensKey     = "tokens"
	admissionsKey = "admissions"

	claimsPage = 200 // claims that are read at once
	// longestDraw is how long a boot node waits before it tries again, when others were faster.
	longestDraw = 20 * time.Millisecond
)

// unavailable says of an error that it is one of the store.
func unavailable(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &UnavailableError{fmt.Errorf("the store of the tokens: %w", err)}
}

func damaged(key string, err error) error {
	return unavailable(fmt.Errorf("what etcd has as %s is damaged: %w", key, err))
}

// do carries out a transaction on keys below the prefix.
func (s *shared) do(ctx context.Context, t etcd.Txn) (etcd.Result, error) {
	r, err := s.etcd.Do(ctx, t)
	return r, unavailable(err)
}

func (s *shared) close() { s.etcd.Close() }

// get returns a key, nil if there is none, and the revision of its last change.
func get(r etcd.Range) (value []byte, revision int64) {
	if len(r.Pairs) == 0 {
		return nil, 0
	}
	return r.Pairs[0].Value, r.Pairs[0].Revision
}

// once also keeps a copy in the directory, with which the service can be started while etcd does not answer. What the directory
// had before, for itself, is offered to the others.
func (s *shared) once(ctx context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	key, copied := s.prefix+name, filepath.Join(s.local, "shared-"+name)
	read := etcd.Get{Key: key}
	have, err := os.ReadFile(copied)
	if err != nil {
		have = nil
	}
	r, err := s.do(ctx, etcd.Txn{Then: []etcd.Op{read}})
	if err != nil {
		if have != nil {
			return have, nil
		}
		return nil, err
	}
	var data []byte
	if len(r.Gets) == 1 {
		data, _ = get(r.Gets[0])
	}
	if data == nil {
		if data = have; data == nil {
			data, err = os.ReadFile(filepath.Join(s.local, name))
		}
		if errors.Is(err, fs.ErrNotExist) {
			data, err = make()
		}
		if err != nil {
			return nil, err
		}
		r, err := s.do(ctx, etcd.Txn{If: []etcd.At{{Key: key}}, Then: []etcd.Op{etcd.Put{Key: key, Value: data}}, Else: []etcd.Op{read}})
		if err != nil {
			return nil, err
		}
		if !r.Then && len(r.Gets) == 1 { // another one was faster
			data, _ = get(r.Gets[0])
		}
	}
	if !bytes.Equal(data, have) {
		_ = confdir.WriteFile(copied, data, confdir.SecretMode) // without it, the service needs etcd to start
	}
	return data, nil
}

// readTokens reads the answer for tokensKey.
func (s *shared) readTokens(r etcd.Range) (tokens []Token, revision int64, err error) {
	data, revision := get(r)
	if data == nil {
		return nil, revision, nil
	}
	if err := json.Unmarshal(data, &tokens); err != nil {
		return nil, 0, damaged(s.prefix+tokensKey, err)
	}
	return tokens, revision, nil
}

func (s *shared) tokens(ctx context.Context) ([]Token, error) {
	tokens, _, err := s.tokensAt(ctx)
	return tokens, err
}

func (s *shared) tokensAt(ctx context.Context) ([]Token, int64, error) {
	r, err := s.do(ctx, etcd.Txn{Then: []etcd.Op{etcd.Get{Key: s.prefix + tokensKey}}})
	if err != nil {
		return nil, 0, err
	}
	if len(r.Gets) != 1 {
		return nil, 0, unavailable(errIncomplete)
	}
	return s.readTokens(r.Gets[0])
}

var errIncomplete = errors.New("etcd leaves something out of its answer")

func (s *shared) list(ctx context.Context) ([]Token, error) {
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	for i := range v.tokens {
		t := &v.tokens[i]
		for name, c := range v.nodes {
			if slices.Contains(c.Tokens, t.ID) {
				t.Joined = append(t.Joined, name)
			}
		}
		slices.Sort(t.Joined)
	}
	return v.tokens, nil
}

func (s *shared) edit(ctx context.Context, change func([]Token) ([]Token, error)) error {
	for {
		tokens, revision, err := s.tokensAt(ctx)
		if err != nil {
			return err
		}
		before := slices.Clone(tokens)
		if tokens, err = change(valid(tokens)); err != nil {
			return err
		}
		ops, err := s.putTokens(tokens)
		if err != nil {
			return err
		}
		for _, t := range before {
			if !slices.ContainsFunc(tokens, func(o Token) bool { return o.ID == t.ID }) {
				nonces := s.prefix + noncesKey + t.ID + "/"
				ops = append(ops, etcd.Delete{Key: nonces, End: etcd.Below(nonces)})
			}
		}
		r, err := s.do(ctx, etcd.Txn{If: []etcd.At{{Key: s.prefix + tokensKey, Revision: revision}}, Then: ops})
		if err != nil || r.Then {
			return err
		}
		if err := draw(ctx); err != nil {
			return err
		}
	}
}

func (s *shared) putTokens(tokens []Token) ([]etcd.Op, error) {
	if tokens == nil {
		tokens = []Token{}
	}
	data, err := json.Marshal(tokens)
	return []etcd.Op{etcd.Put{Key: s.prefix + tokensKey, Value: data}}, err
}

// draw waits a little, by chance, after another boot node was faster.
func draw(ctx context.Context) error {
	select {
	case <-time.After(mathrand.N(longestDraw)):
		return nil
	case <-ctx.Done():
		return unavailable(errors.New("too many boot nodes change it at the same time"))
	}
}

// view is what the store had at one moment.
type view struct {
	tokens   []Token
	tokensAt int64
	nodes    map[node.Name]Claim
	at       map[node.Name]int64
	released string
	// admissionsAt is the revision of the last admission.
	admissionsAt int64
}

// look reads the tokens, and those claims that it does not know.
func (s *shared) look(ctx context.Context) (v view, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for again := false; ; again = true {
		if again {
			s.known = claims{}
		}
		v, fresh, err := s.lookOnce(ctx)
		switch {
		case etcd.Compacted(err) && !again: // between two pages
			continue
		case err != nil:
			s.known = claims{}
			return v, err
		case fresh || again:
			return v, nil
		}
	}
}

// lookOnce reads what has changed since s.known. fresh is false if that is not enough. s.mu is held.
func (s *shared) lookOnce(ctx context.Context) (v view, fresh bool, err error) {
	k := s.known
	if k.nodes == nil {
		k.nodes, k.at = map[node.Name]Claim{}, map[node.Name]int64{}
	}
	page := etcd.Get{Key: s.prefix + nodesKey, End: etcd.Below(s.prefix + nodesKey), Limit: claimsPage}
	if k.revision > 0 {
		page.Since = k.revision + 1
	}
	r, err := s.do(ctx, etcd.Txn{Then: []etcd.Op{etcd.Get{Key: s.prefix + tokensKey}, etcd.Get{Key: s.prefix + admissionsKey}, page}})
	if err == nil && len(r.Gets) != 3 {
		err = unavailable(errIncomplete)
	}
	if err != nil {
		return v, false, err
	}
	if v.tokens, v.tokensAt, err = s.readTokens(r.Gets[0]); err != nil {
		return v, false, err
	}
	released, at := get(r.Gets[1])
	v.admissionsAt, v.released = at, string(released)
	if k.revision > 0 && (k.cluster != r.Cluster || k.revision > r.Revision || k.released != v.released) {
		return v, false, nil // a claim was given up, or this is another cluster, or one that was restored
	}
	page.Revision = r.Revision
	k.cluster, k.revision, k.released = r.Cluster, r.Revision, v.released
	for pairs := r.Gets[2]; ; pairs = r.Gets[0] {
		for _, p := range pairs.Pairs {
			name, c, err := s.readClaim(p)
			if err != nil {
				return v, false, err
			}
			k.nodes[name], k.at[name] = c, p.Revision
			page.Key = p.Key + "\x00"
		}
		if !pairs.More || len(pairs.Pairs) == 0 {
			break
		}
		if len(k.nodes) > maxNodes+maxNodes/10 {
			return v, false, unavailable(errors.New("there are more nodes in etcd than a network can have"))
		}
		if r, err = s.do(ctx, etcd.Txn{Then: []etcd.Op{page}}); err != nil {
			return v, false, err
		}
		if len(r.Gets) != 1 {
			return v, false, unavailable(errIncomplete)
		}
	}
	s.known = k
	v.nodes, v.at = maps.Clone(k.nodes), maps.Clone(k.at)
	return v, true, nil
}

func (s *shared) readClaim(p etcd.Pair) (name node.Name, c Claim, err error) {
	text, below := strings.CutPrefix(p.Key, s.prefix+nodesKey)
	if name, err = node.ParseName(text); err != nil || !below {
		return name, c, damaged(fmt.Sprintf("%.200q", p.Key), errors.New("that is no name of a node"))
	}
	if err := json.Unmarshal(p.Value, &c); err != nil {
		return name, c, damaged(p.Key, err)
	}
	c.Name = name
	return name, c, nil
}

func (s *shared) use(ctx context.Context, token string, c claimant, decide func([]Claim) (Claim, error), admit func() error) error {
	for {
		v, err := s.look(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(v.tokens, func(t Token) bool { return t.ID == token })
		if i < 0 {
			return errGone
		}
		t := &v.tokens[i]
		before, known := v.nodes[c.name]
		joined := known && before.Key == c.key && slices.Contains(before.Tokens, token)
		if err := t.allows(c.name, joined, time.Now()); err != nil {
			return err
		}
		claim, err := decide(slices.Collect(maps.Values(v.nodes)))
		if err != nil {
			return err
		}
		if known && before.Key == claim.Key {
			claim.Tokens, claim.Since = before.Tokens, before.Since
		}
		if !joined {
			claim.Tokens = append(slices.Clone(claim.Tokens), token)
			t.count()
		}
		if known && joined && slices.Equal(before.Subnets, claim.Subnets) {
			return admit() // nothing new
		}
		revision, err := s.commit(ctx, v, claim)
		if err != nil {
			return err
		}
		if revision == 0 {
			if err := draw(ctx); err != nil {
				return err
			}
			continue
		}
		if err := admit(); err != nil {
			return errors.Join(err, s.undo(ctx, claim, revision, before, !joined))
		}
		return nil
	}
}

// commit puts a claim and the tokens of a view into the store, and returns the revision at which that happened; 0: something has
// changed since the view.
func (s *shared) commit(ctx context.Context, v view, c Claim) (int64, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return 0, err
	}
	return s.change(ctx, v, etcd.Put{Key: s.prefix + nodesKey + string(c.Name), Value: data}, v.released)
}

// giveUp deletes a claim, and puts the tokens of a view into the store. It returns what commit does.
func (s *shared) giveUp(ctx context.Context, v view, name node.Name) (int64, error) {
	n, _ := strconv.ParseUint(v.released, 10, 63)
	return s.change(ctx, v, etcd.Delete{Key: s.prefix + nodesKey + string(name)}, strconv.FormatUint(n+1, 10))
}

// change changes a claim, the tokens and the value of admissions at once, unless tokens or claims have changed since the view.
func (s *shared) change(ctx context.Context, v view, claim etcd.Op, released string) (int64, error) {
	ops, err := s.putTokens(v.tokens)
	if err != nil {
		return 0, err
	}
	r, err := s.do(ctx, etcd.Txn{
		If:   []etcd.At{{Key: s.prefix + tokensKey, Revision: v.tokensAt}, {Key: s.prefix + admissionsKey, Revision: v.admissionsAt}},
		Then: append(ops, claim, etcd.Put{Key: s.prefix + admissionsKey, Value: []byte(released)}),
	})
	if err != nil || !r.Then {
		return 0, err
	}
	return r.Revision, nil
}

// undo takes a claim back that was made at a revision, because the node could not be admitted after all: before is what the node
// had, without a Name if nothing.
func (s *shared) undo(ctx context.Context, c Claim, revision int64, before Claim, counted bool) error {
	for {
		v, err := s.look(ctx)
		if err != nil || v.at[c.Name] != revision {
			return err // it has joined elsewhere meanwhile
		}
		for i := range v.tokens {
			if t := &v.tokens[i]; counted && slices.Contains(c.Tokens, t.ID) && !slices.Contains(before.Tokens, t.ID) {
				t.Used--
				if t.Left != Unlimited {
					t.Left++
				}
			}
		}
		var at int64
		if before.Name == "" {
			at, err = s.giveUp(ctx, v, c.Name)
		} else {
			at, err = s.commit(ctx, v, before)
		}
		if err != nil || at != 0 {
			return err
		}
		if err := draw(ctx); err != nil {
			return err
		}
	}
}

func (s *shared) release(ctx context.Context, name node.Name) (bool, error) {
	for {
		v, err := s.look(ctx)
		if err != nil {
			return false, err
		}
		if _, known := v.nodes[name]; !known {
			return false, nil
		}
		if at, err := s.giveUp(ctx, v, name); err != nil || at != 0 {
			return at != 0, err
		}
		if err := draw(ctx); err != nil {
			return false, err
		}
	}
}

func (s *shared) spend(ctx context.Context, token string, n nonce) error {
	all := s.prefix + noncesKey + token + "/"
	r, err := s.do(ctx, etcd.Txn{Then: []etcd.Op{etcd.Get{Key: all, End: etcd.Below(all), CountOnly: true}}})
	switch {
	case err != nil:
		return err
	case len(r.Gets) != 1:
		return unavailable(errIncomplete)
	case r.Gets[0].Count >= maxNonces:
		return errTooManyNonces
	}
	key, mine := all+n.String(), []byte(rand.Text())
	r, err = s.do(ctx, etcd.Txn{If: []etcd.At{{Key: key}}, Then: []etcd.Op{etcd.Put{Key: key, Value: mine}}, Else: []etcd.Op{etcd.Get{Key: key}}})
	if err != nil || r.Then {
		return err
	}
	if len(r.Gets) == 1 {
		if value, _ := get(r.Gets[0]); bytes.Equal(value, mine) {
			return nil // the answer was lost, and it was sent again
		}
	}
	return errReplay
}
