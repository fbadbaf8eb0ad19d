package bootnode

import (
	"bufio"
	"bytes"
	"context"
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

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/node"
)

// directory keeps everything in CONFBASE/boot, for one boot node. Names and addresses it need not promise: those that were
// given away are in the host files beside it.
type directory struct {
	dir string

	mu     sync.Mutex
	nonces *nonces
}

func (d *directory) path(name string) string { return filepath.Join(d.dir, name) }

func (d *directory) once(_ context.Context, name string, make func() ([]byte, error)) ([]byte, error) {
	data, err := os.ReadFile(d.path(name))
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	if data, err = make(); err != nil {
		return nil, err
	}
	if err := confdir.Create(d.path(name), data, confdir.SecretMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(d.path(name)) // whoever was first
}

func (d *directory) tokens(context.Context) ([]Token, error) {
	path := d.path(tokensFile)
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

func (d *directory) list(ctx context.Context) ([]Token, error) { return d.tokens(ctx) }

// edit changes the list of tokens while nobody else does. What has expired is dropped.
func (d *directory) edit(ctx context.Context, change func([]Token) ([]Token, error)) error {
	unlock, err := confdir.LockDir(d.dir)
	if err != nil {
		return err
	}
	defer unlock()
	tokens, err := d.tokens(ctx)
	if err != nil {
		return err
	}
	if tokens, err = change(valid(tokens)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(tokens, "", " ")
	if err != nil {
		return err
	}
	return confdir.WriteFile(d.path(tokensFile), append(data, '\n'), confdir.SecretMode)
}

func (d *directory) use(ctx context.Context, token string, c claimant, decide func([]Claim) (Claim, error), admit func() error) error {
	return d.edit(ctx, func(tokens []Token) ([]Token, error) {
		i := slices.IndexFunc(tokens, func(t Token) bool { return t.ID == token })
		if i < 0 {
			return nil, errGone
		}
		t := &tokens[i]
		joined := slices.Contains(t.Joined, c.name)
		if err := t.allows(c.name, joined, time.Now()); err != nil {
			return nil, err
		}
		if _, err := decide(nil); err != nil {
			return nil, err
		}
		if err := admit(); err != nil {
			return nil, err
		}
		if !joined {
			t.Joined = append(t.Joined, c.name)
			t.count()
		}
		return tokens, nil
	})
}

func (d *directory) release(ctx context.Context, name node.Name) (found bool, err error) {
	err = d.edit(ctx, func(tokens []Token) ([]Token, error) {
		for i := range tokens {
			t := &tokens[i]
			t.Used = max(t.Used, len(t.Joined))
			t.Joined = slices.DeleteFunc(t.Joined, func(n node.Name) bool { found = found || n == name; return n == name })
		}
		return tokens, nil
	})
	return found, err
}

func (d *directory) spend(ctx context.Context, token string, n nonce) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nonces == nil {
		var err error
		if d.nonces, err = d.openNonces(ctx); err != nil {
			return err
		}
	}
	return d.nonces.spend(token, n)
}

func (d *directory) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nonces != nil {
		d.nonces.file.Close()
		d.nonces = nil
	}
}

// nonces is the memory of the nonces of the old protocols, a file of lines
// "TOKEN NONCE". It is kept as long as the tokens are.
type nonces struct {
	file  *os.File
	seen  map[string]bool // lines
	count map[string]int  // by token
}

// openNonces reads what is remembered of the tokens.
func (d *directory) openNonces(ctx context.Context) (*nonces, error) {
	n := &nonces{seen: map[string]bool{}, count: map[string]int{}}
	path := d.path(noncesFile)
	unlock, err := confdir.LockDir(d.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	tokens, err := d.tokens(ctx)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
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
	if err := confdir.WriteFile(path, kept.Bytes(), confdir.SecretMode); err != nil {
		return nil, err
	}
	n.file, err = files.Open(path, os.O_APPEND|os.O_WRONLY, 0)
	return n, err
}

// spend remembers a nonce on disk. It fails if it was there already.
func (n *nonces) spend(token string, x nonce) error {
	line := token + " " + x.String()
	switch {
	case n.seen[line]:
		return errReplay
	case n.count[token] >= maxNonces:
		return errTooManyNonces
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
