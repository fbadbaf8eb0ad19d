package keydist

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"tincan/internal/files"
	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// A node that has let a newcomer in tells all others at once, lest the newcomer be locked out should it be gone when
// the newcomer starts: it sends them the newcomer's host file, signed. Of that they take the key, as one for
// which somebody vouches. The host file follows from the newcomer itself.
//
// A node of tinc 1.0 has an RSA key only. It signs nothing, and sends and receives nothing before that key is in
// hosts/. So that key is written there, and nothing else of the file, if no key at all is known of the node.
// It leaves hosts/ with the file of the node that vouches for it, and gives way to an Ed25519 key that is proven.

const (
	vouchPath   = "/v2/vouch/"
	vouchFor    = 24 * time.Hour // nodes that appear meanwhile are told, too; what is older is not believed
	maxVouches  = 256            // that are told to nodes that appear later
	maxVouched  = 250            // keys that one node may vouch for
	vouchTries  = 3
	vouchPause  = 2 * time.Second
	vouchedText = "# let in by this node: "
)

// vouch is a newcomer that this node has let in.
type vouch struct {
	name node.Name
	at   time.Time
	text []byte // signed
}

// Vouch tells all nodes that this one has let name in, whose host file is here.
func (m *Monitor) Vouch(name node.Name) {
	at := m.cfg.Store.letIn(name)
	data, err := m.cfg.Store.Read(name)
	if err != nil || m.cfg.Sign == nil || name == m.cfg.Self {
		return
	}
	text := append([]byte(vouchedText+string(name)+"\n"), data...)
	v := vouch{name, at, append([]byte(m.cfg.Sign(text)+"\n"), text...)}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vouches = slices.DeleteFunc(m.vouches, func(o vouch) bool { return o.name == name })
	if len(m.vouches) >= maxVouches {
		m.vouches = slices.Delete(m.vouches, 0, 1)
	}
	m.vouches = append(m.vouches, v)
	if m.ctx == nil {
		return
	}
	for _, p := range m.order {
		m.tellOf(m.ctx, p, v)
	}
}

// resumeVouching goes on with what this node was telling before it was stopped.
func (m *Monitor) resumeVouching() {
	for _, name := range m.cfg.Store.lately() {
		m.mu.Lock()
		under := slices.ContainsFunc(m.vouches, func(v vouch) bool { return v.name == name })
		m.mu.Unlock()
		if !under {
			m.Vouch(name)
		}
	}
}

// letIn takes note that others are told about a newcomer, and returns since when.
func (s *Store) letIn(n node.Name) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.load()
	since := time.Unix(st.LetIn[n], 0)
	if age := time.Since(since); age > vouchFor || age < 0 {
		since = time.Now()
		st.LetIn[n], s.dirty = since.Unix(), true
		s.forgetLetIn()
		s.flush()
	}
	return since
}

// forgetLetIn drops those of whom nobody is told any more. The lock is held.
func (s *Store) forgetLetIn() {
	st := s.load()
	byTime := slices.SortedFunc(maps.Keys(st.LetIn), func(a, b node.Name) int {
		return cmp.Or(cmp.Compare(st.LetIn[b], st.LetIn[a]), cmp.Compare(a, b))
	})
	for i, n := range byTime {
		if i >= maxVouches || time.Since(time.Unix(st.LetIn[n], 0)) > vouchFor {
			delete(st.LetIn, n)
			s.dirty = true
		}
	}
}

// lately lists whom this node has let in, if others are still told.
func (s *Store) lately() []node.Name {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetLetIn()
	return sortedNames(s.load().LetIn)
}

// tellOf tells p about a newcomer. The lock is held.
func (m *Monitor) tellOf(ctx context.Context, p *peer, v vouch) {
	if p.name == m.cfg.Self || p.name == v.name || time.Since(v.at) > vouchFor {
		return
	}
	m.wg.Go(func() {
		for range vouchTries {
			select {
			case m.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			told := false
			for _, at := range m.places(p) {
				if told = m.routed(p.name, at) == nil && m.post(ctx, at, v); told {
					break
				}
			}
			<-m.slots
			if told {
				return
			}
			select {
			case <-time.After(vouchPause):
			case <-ctx.Done():
				return
			}
		}
	})
}

func (m *Monitor) post(ctx context.Context, at netip.Addr, v vouch) bool {
	u := url.URL{Scheme: "http", Host: netip.AddrPortFrom(at, m.cfg.Port).String(), Path: vouchPath + string(v.name)}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(v.text))
	if err != nil {
		return false
	}
	r.Header.Set("User-Agent", "tincan")
	_, err = m.do(r)
	return err == nil // whatever it says, it has heard
}

// heard answers somebody who vouches for a newcomer.
func (m *Monitor) heard(w http.ResponseWriter, r *http.Request, text string) {
	body, err := io.ReadAll(r.Body)
	name, bad := node.ParseName(text)
	if err != nil || bad != nil || m.cfg.Engine == nil || m.cfg.ServeOnly {
		forbid(w)
		return
	}
	if err := m.believe(name, body); err != nil {
		m.logf(2, "somebody vouches for %s: %v", name, err)
		forbid(w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// believe takes the word of a node for a newcomer.
func (m *Monitor) believe(name node.Name, body []byte) error {
	signed, err := keys.VerifyFile(body, func(by node.Name) (keys.PublicKey, error) {
		key, good := m.cfg.Engine.Key(by)
		if key == nil || !good || by == name {
			return keys.PublicKey{}, fmt.Errorf("%s may not vouch", by)
		}
		return *key, nil
	})
	if err != nil {
		return err
	}
	data, ok := bytes.CutPrefix(signed.Data, []byte(vouchedText+string(name)+"\n"))
	if age := time.Since(signed.When); !ok || age > vouchFor || age < -vouchFor {
		return fmt.Errorf("what %s has signed is not about that, or too old", signed.Signer)
	}
	clean, _, err := hostfile.Check(name, data, hostfile.Policy{AllowWide: true})
	if err != nil {
		return err
	}
	key, rsa := hostfile.Key(clean)
	known, good := m.cfg.Engine.Key(name)
	switch {
	case key == nil && rsa == nil:
		return errors.New("it has no key")
	case key == nil && known != nil:
		return errors.New("it has no Ed25519 key, but one is known")
	case key == nil:
		return m.believeRSA(name, rsa, signed.Signer)
	case known != nil && good && *known != *key:
		m.changed(name, signed.Signer, clean)
		return nil
	case known != nil && good:
		return nil
	}
	if err := m.cfg.Store.learnVouched(name, *key, signed.Signer); err != nil {
		return err
	}
	m.logf(1, "%s has let %s in", signed.Signer, name)
	if m.cfg.Vouched != nil {
		m.cfg.Vouched(name, *key, signed.Signer)
	}
	return nil
}

// believeRSA stores the RSA key of a newcomer that has no other one, on the word of by.
func (m *Monitor) believeRSA(name node.Name, rsa []byte, by node.Name) error {
	fresh, err := m.cfg.Store.takeVouched(name, rsa, by)
	if err != nil || !fresh {
		return err
	}
	m.logf(1, "%s has let %s in, which has an RSA key only", by, name)
	if m.cfg.Stored != nil {
		m.cfg.Stored(name)
	}
	return nil
}

// takeVouched writes a host file that holds nothing but the RSA key that by vouches for. It reports
// false if there is a host file already.
func (s *Store) takeVouched(n node.Name, rsa []byte, by node.Name) (fresh bool, err error) {
	if n == s.Self {
		return false, errOwn
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Lock != nil {
		s.Lock.Lock()
		defer s.Lock.Unlock()
	}
	if s.deleted(n) {
		return false, errRemoved
	}
	if _, err := s.Read(n); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := s.mayVouch(n, by); err != nil {
		return false, err
	}
	if count, err := s.count(); err != nil || count >= maxPeers {
		return false, errors.Join(err, errMany)
	}
	if err := s.write(n, rsa); err != nil {
		return false, err
	}
	st := s.load()
	f := st.Files[n]
	f.By = by
	st.Files[n], s.dirty = f, true
	s.flush()
	return true, nil
}

// vouched tells whether a host file is as it was written on another node's word alone. The lock is held.
func (s *Store) vouched(n node.Name, data []byte) bool {
	f := s.load().Files[n]
	return f.By != "" && f.Sum == sum(data)
}

// dropVouched deletes the host files that stand on nothing but the word of by, which has been removed. The lock is held.
func (s *Store) dropVouched(by node.Name) (dropped []node.Name) {
	for n, f := range s.load().Files {
		if f.By != by {
			continue
		}
		if data, err := s.Read(n); err != nil || !s.vouched(n, data) || files.Remove(s.Layout.Host(n)) != nil {
			continue
		}
		delete(s.state.Files, n)
		delete(s.state.Hosts, n)
		s.owned, s.dirty = nil, true
		dropped = append(dropped, n)
	}
	return dropped
}

// mayVouch tells why by may not vouch for n: one node can vouch for so many. The lock is held.
func (s *Store) mayVouch(n, by node.Name) error {
	count := 0
	st := s.load()
	for other, l := range st.Learned {
		if l.By == by && other != n {
			count++
		}
	}
	for other, f := range st.Files {
		if f.By == by && other != n {
			count++
		}
	}
	if count >= maxVouched {
		return fmt.Errorf("%s vouches for %d nodes already", by, count)
	}
	return nil
}

// learnVouched is Learn for a key that was never proven here.
func (s *Store) learnVouched(n node.Name, k keys.PublicKey, by node.Name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.mayVouch(n, by); err != nil {
		return err
	}
	if err := s.learn(n, k, by); err != nil {
		return err
	}
	s.flush()
	return nil
}
