package mesh

import (
	"math"

	"tincan/internal/hybrid"
	"tincan/internal/sptps"
)

// Protection is what protects the packets or requests between us and a node.
type Protection struct {
	Cipher      hybrid.Cipher
	PostQuantum bool
}

// postQuantum is what is wanted of post-quantum keys with the node whose host file h is.
func (e *env) postQuantum(h *Host) hybrid.Mode {
	if h.PostQuantum != nil {
		return *h.PostQuantum
	}
	return e.cfg.PostQuantum
}

// hybridInSession is hybridWith for sessions between nodes, which agree on masks as well.
func (e *env) hybridInSession(h *Host) *sptps.Hybrid {
	out := e.hybridWith(h)
	if out != nil {
		out.Mask = e.cfg.Mask
	}
	return out
}

// hybridWith is what is wanted of the second key exchange with that node; nil: there is none.
func (e *env) hybridWith(h *Host) *sptps.Hybrid {
	if !e.cfg.Hybrid {
		return nil
	}
	want := e.cfg.Cipher
	if h.Cipher != nil {
		want = *h.Cipher
	}
	out := &sptps.Hybrid{PostQuantum: e.postQuantum(h) != hybrid.No}
	costs := []hybrid.Cost{{Cipher: hybrid.Stock}}
	if e.deps.Costs != nil {
		costs = e.deps.Costs()
	}
	for _, c := range costs {
		switch {
		case want == hybrid.Stock && c.Cipher != hybrid.Stock:
			continue
		case want != 0 && c.Cipher == want:
			c.Nanos = 0
		case want != 0:
			c.Nanos = math.MaxUint32
		}
		out.Costs = append(out.Costs, c)
	}
	return out
}
