package sptps

import (
	"bytes"

	"tincan/internal/hybrid"
	"tincan/internal/mask"
)

// second is the second key exchange of a datagram session (package hybrid). It follows each exchange of SPTPS
// itself. Its messages travel like those of SPTPS, sealed with the keys of the session; what it leads to is a tunnel of its
// own for everything else. The responder switches when it has the ANSWER, the initiator when it has the CONFIRM: from then on
// the other end is able to open what comes. Both open what still comes from the tunnel before.
type second struct {
	session hybrid.Session
	able    bool      // both have announced it
	mask    *mask.Key // of the other end's mask, nil: none was told
	data    *Tunnel
	keys    hybrid.Keys // of data

	offer     *hybrid.Offer  // of the responder, nil: none is open
	got, gave []byte         // the last message that was answered, and its answer
	answer    *hybrid.Answer // of the initiator, not confirmed yet
	next      *Tunnel        // with answer
}

// firstDone: an exchange of SPTPS is complete.
func (d *Datagram) firstDone() {
	if _, d.second.able = d.hs.announced(); d.second.able {
		d.second.session = d.hs.session()
	}
	d.second.offer = nil
}

// Hybrid tells whether both ends have announced the second key exchange in the last one of SPTPS, and whether it will be
// post-quantum. Both are certain once the session is established.
func (d *Datagram) Hybrid() (postQuantum, able bool) {
	return d.second.session.PostQuantum, d.second.able
}

// Masking tells whether both ends have announced that they take masked datagrams.
func (d *Datagram) Masking() bool { return d.second.session.Mask != nil }

// Mask is the key of the other end's mask, nil if it has not told it, or not yet. It is known before the second key exchange is
// complete.
func (d *Datagram) Mask() *mask.Key { return d.second.mask }

// Data returns the tunnel for packets: that of the last second key exchange, whose keys are returned as well, else
// [Datagram.Tunnel], and ok is false.
func (d *Datagram) Data() (t *Tunnel, keys hybrid.Keys, ok bool) {
	if d.second.data == nil {
		return d.tunnel, keys, false
	}
	return d.second.data, d.second.keys, true
}

// Offer begins the second key exchange, or repeats its first message if it is under way. Only the responder of the session
// may do so. The record is to be sent after those of the first exchange.
func (d *Datagram) Offer() (record []byte, err error) {
	s := &d.second
	if d.tunnel == nil || !s.able || d.hs.cfg.Initiator {
		return nil, ErrNotReady
	}
	if s.offer == nil {
		if s.offer, err = hybrid.NewOffer(s.session, d.hs.cfg.Hybrid.Costs, d.hs.cfg.Rand); err != nil {
			return nil, err
		}
	}
	return d.tunnel.sealStep(s.offer.Message())
}

// Unconfirmed repeats the ANSWER of the initiator; nil if it has been confirmed, or there is none.
func (d *Datagram) Unconfirmed() (record []byte, err error) {
	if d.second.answer == nil {
		return nil, nil
	}
	return d.tunnel.sealStep(d.second.answer.Message)
}

// hybridMessage takes a message of the second key exchange, which has authenticated.
func (d *Datagram) hybridMessage(data []byte) (out [][]byte, err error) {
	s := &d.second
	if !s.able {
		return nil, ErrUnexpected
	}
	if s.got != nil && bytes.Equal(data, s.got) { // our answer got lost
		return d.hybridSend(s.gave)
	}
	switch kind := hybrid.KindOf(data); {
	case kind == hybrid.OfferKind && d.hs.cfg.Initiator:
		answer, err := hybrid.NewAnswer(s.session, d.hs.cfg.Hybrid.Costs, data, d.hs.cfg.Rand)
		if err != nil {
			return nil, err
		}
		s.mask = answer.Keys.Mask
		s.answer, s.next = answer, d.newTunnel(answer.Keys)
		s.got, s.gave = bytes.Clone(data), answer.Message
		now, _, _ := d.Data()
		now.setBeside(s.next, 0)
		return d.hybridSend(s.gave)
	case kind == hybrid.AnswerKind && s.offer != nil:
		keys, confirm, err := s.offer.Finish(data)
		if err != nil {
			return nil, err
		}
		s.got, s.gave = bytes.Clone(data), confirm
		s.offer, s.mask = nil, keys.Mask
		d.switchTo(d.newTunnel(keys), keys)
		return d.hybridSend(s.gave)
	case kind == hybrid.ConfirmKind && s.answer != nil && s.answer.Confirmed(data):
		d.switchTo(s.next, s.answer.Keys)
		s.answer, s.next = nil, nil
		return nil, nil
	case kind == hybrid.ConfirmKind && d.hs.cfg.Initiator && s.answer == nil && s.data != nil:
		return nil, nil // once more
	}
	return nil, ErrUnexpected
}

// newTunnel is the one of new keys. Classical ones are under the same restriction as those of SPTPS.
func (d *Datagram) newTunnel(keys hybrid.Keys) *Tunnel {
	out, in := hybridCiphers(keys, d.hs.cfg.Initiator)
	t := newTunnel(out, in, 0, d.hs.cfg.Window)
	if !keys.PostQuantum {
		d.tunnel.opening.Lock()
		t.least = d.tunnel.least
		d.tunnel.opening.Unlock()
	}
	return t
}

func (d *Datagram) hybridSend(message []byte) ([][]byte, error) {
	record, err := d.tunnel.sealStep(message)
	if err != nil {
		return nil, err
	}
	return [][]byte{record}, nil
}

// switchTo makes t the tunnel for packets. Who still has the one before opens the records of t with it, too: whoever handles
// packets is told of t only later.
func (d *Datagram) switchTo(t *Tunnel, keys hybrid.Keys) {
	before, _, _ := d.Data()
	if before != d.tunnel { // that lives as long as the session, and must not keep keys of long ago
		d.tunnel.setBeside(nil, 0)
	}
	t.setBeside(before, oldKeyRecords)
	before.setBeside(t, 0)
	d.second.data, d.second.keys = t, keys
}
