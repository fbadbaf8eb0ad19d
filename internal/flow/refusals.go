package flow

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"tincan/internal/node"
	"tincan/internal/policy"
	"tincan/internal/rate"
)

// Refusal is what was refused: packets with one peer, of one protocol and destination port.
type Refusal struct {
	Peer     node.Name // "" if the packets were for everybody
	Dir      Direction
	Protocol policy.Protocol // AnyProtocol if there is none: no IP packet, or one that cannot be read
	Port     uint16
	Why      Verdict
}

// Refused is how often that was, and when last.
type Refused struct {
	Refusal
	Count uint64
	Last  time.Time
}

// maxRefusals is how many kinds of refused packets are remembered.
const maxRefusals = 256

// refusalLimit is how fast new kinds are taken; the rest is not listed.
var refusalLimit = rate.Limit{Burst: 64, Every: 10 * time.Millisecond}

// refusals are the latest kinds of packets that were refused.
type refusals struct {
	mu    sync.Mutex
	kinds map[Refusal]*Refused
	new   rate.Bucket // kinds that are not there yet
}

// Note takes note of a packet that was refused: p is the IP packet, or what else a frame holds.
func (f *Filter) Note(dir Direction, peer *Peer, p []byte, why Verdict, now time.Duration) {
	kind := Refusal{Dir: dir, Protocol: policy.AnyProtocol, Why: why}
	if peer != nil {
		kind.Peer = peer.Name
	}
	if d, ok := parse(p); ok && why != Malformed {
		kind.Protocol = policy.OfIP(d.proto)
		if kind.Protocol.HasPorts() {
			kind.Port = d.dstPort
		}
	}
	f.refusals.add(kind, f.start.Add(now))
}

func (r *refusals) add(kind Refusal, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.kinds[kind]
	if one == nil {
		if !r.new.Take(refusalLimit, now) {
			return
		}
		if len(r.kinds) >= maxRefusals {
			r.forget()
		}
		if r.kinds == nil {
			r.kinds = make(map[Refusal]*Refused)
		}
		one = &Refused{Refusal: kind}
		r.kinds[kind] = one
	}
	one.Count++
	one.Last = now
}

// forget makes room: the oldest of the peer that has the most goes.
func (r *refusals) forget() {
	held := make(map[node.Name]int)
	for k := range r.kinds {
		held[k.Peer]++
	}
	var oldest *Refused
	for _, one := range r.kinds {
		if oldest == nil || held[one.Peer] > held[oldest.Peer] || held[one.Peer] == held[oldest.Peer] && one.Last.Before(oldest.Last) {
			oldest = one
		}
	}
	delete(r.kinds, oldest.Refusal)
}

// Refused lists what was refused lately, as far as [Filter.Note] was told, the latest first. It may not be complete.
func (f *Filter) Refused() (list []Refused) {
	r := &f.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.kinds {
		list = append(list, *one)
	}
	slices.SortFunc(list, func(a, b Refused) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Peer, b.Peer), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return list
}
