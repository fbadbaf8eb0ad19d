package keydist

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// A node that has let a newcomer in tells all others at once, lest the newcomer be locked out should it be gone when
// the newcomer starts: it sends them the newcomer's host file, signed. Of that they take the key, as one for
// which somebody vouches. The host file follows from the newcomer itself.

const (
	vouchPath   = "/v2/vouch/"
	vouchFor    = 24 * time.Hour // nodes that appear meanwhile are told, too; what is older is not believed
	maxVouches  = 256            // that are told to nodes that appear later
	maxVouched  = 250            // learned keys that one node may stand behind
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
	data, err := m.cfg.Store.Read(name)
	if err != nil || m.cfg.Sign == nil || name == m.cfg.Self {
		return
	}
	text := append([]byte(vouchedText+string(name)+"\n"), data...)
	v := vouch{name, time.Now(), append([]byte(m.cfg.Sign(text)+"\n"), text...)}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.vouches) >= maxVouches {
		m.vouches = m.vouches[1:]
	}
	m.vouches = append(m.vouches, v)
	if m.ctx == nil {
		return
	}
	for _, p := range m.order {
		m.tellOf(m.ctx, p, v)
	}
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
	answer, err := m.client.Do(r)
	if err != nil {
		return false
	}
	answer.Body.Close()
	return true // whatever it says, it has heard
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
			return keys.PublicKey{}, fmt.Errorf("%s is not somebody who may", by)
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
	key, _ := hostfile.Key(clean)
	known, good := m.cfg.Engine.Key(name)
	switch {
	case key == nil:
		return fmt.Errorf("it has no Ed25519 key")
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

// learnVouched is Learn for a key that was never proven here: one node can stand behind so many.
func (s *Store) learnVouched(n node.Name, k keys.PublicKey, by node.Name) error {
	s.mu.Lock()
	count := 0
	for other, l := range s.load().Learned {
		if l.By == by && other != n {
			count++
		}
	}
	s.mu.Unlock()
	if count >= maxVouched {
		return fmt.Errorf("%s stands behind %d nodes already", by, count)
	}
	return s.Learn(n, k, by)
}
