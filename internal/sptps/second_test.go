package sptps

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"tincan/internal/aesgcm"
	"tincan/internal/hybrid"
	"tincan/internal/mask"
)

var bothCiphers = []hybrid.Cost{{Cipher: hybrid.Stock, Nanos: 650}, {Cipher: hybrid.AESGCM, Nanos: 600}}

// hybridConfigs are configs of two ends that announce the second key exchange.
func hybridConfigs(seed uint64, postQuantum bool) (initiator, responder Config) {
	i, r := configs(seed)
	i.Hybrid = &Hybrid{PostQuantum: postQuantum, Costs: bothCiphers}
	r.Hybrid = &Hybrid{PostQuantum: true, Costs: bothCiphers}
	return i, r
}

func pairOf(t testing.TB, initiator, responder Config) *pair {
	p := &pair{t: t}
	for i, cfg := range two(initiator, responder) {
		d, kex, err := NewDatagram(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.end[i], p.wire[1-i] = d, [][]byte{kex}
	}
	return p
}

// offer has the responder begin the second exchange, or repeat its message.
func (p *pair) offer() {
	p.t.Helper()
	record, err := p.end[1].Offer()
	if err != nil {
		p.t.Fatal(err)
	}
	p.wire[0] = append(p.wire[0], record)
}

// upgraded is a pair whose second exchange is complete.
func upgraded(t testing.TB) *pair {
	t.Helper()
	i, r := hybridConfigs(1, true)
	p := pairOf(t, i, r)
	p.deliverAll()
	p.offer()
	p.deliverAll()
	return p
}

func (p *pair) seal(i int, text string) []byte {
	t, _, _ := p.end[i].Data()
	return t.Seal(nil, append([]byte{0}, text...))
}

func (p *pair) open(i int, record []byte) (string, error) {
	t, _, _ := p.end[i].Data()
	plain, err := t.Open(nil, record)
	if err != nil {
		return "", err
	}
	return string(plain[1:]), nil
}

// exchanges sends a packet in each direction.
func (p *pair) exchanges() {
	p.t.Helper()
	for i := range p.end {
		if text, err := p.open(1-i, p.seal(i, "packet")); err != nil || text != "packet" {
			p.t.Errorf("from end %d: %q, %v", i, text, err)
		}
	}
}

func TestSecondExchange(t *testing.T) {
	for _, pq := range []bool{true, false} {
		i, r := hybridConfigs(1, pq)
		p := pairOf(t, i, r)
		p.deliverAll()
		for n, d := range p.end {
			if gotPQ, able := d.Hybrid(); !able || gotPQ != pq {
				t.Errorf("end %d: post-quantum %v, able %v", n, gotPQ, able)
			}
			if tunnel, _, ok := d.Data(); ok || tunnel != d.Tunnel() {
				t.Errorf("end %d has new keys before the exchange", n)
			}
		}
		p.offer()
		p.deliverAll()
		for n, d := range p.end {
			if _, keys, ok := d.Data(); !ok || keys.Cipher != hybrid.AESGCM || keys.PostQuantum != pq {
				t.Errorf("end %d: %v, post-quantum %v", n, keys.Cipher, keys.PostQuantum)
			}
		}
		p.exchanges()
		plain := append([]byte{0}, "the same length"...)
		tunnel, _, _ := p.end[0].Data()
		if a, b := tunnel.Seal(nil, plain), p.end[0].Tunnel().Seal(nil, plain); len(a) != len(b) {
			t.Errorf("a record of %d bytes, with the keys of SPTPS %d", len(a), len(b))
		}
	}
}

// Ends that both announce masks tell each other the keys of them. Others have the same session as before.
func TestMasksAreAgreedOn(t *testing.T) {
	for _, c := range []struct{ initiator, responder *mask.Key }{
		{&mask.Key{1}, &mask.Key{2}}, {&mask.Key{1}, nil}, {nil, &mask.Key{2}}, {nil, nil},
	} {
		i, r := hybridConfigs(1, true)
		i.Hybrid.Mask, r.Hybrid.Mask = c.initiator, c.responder
		p := pairOf(t, i, r)
		p.deliverAll()
		p.offer()
		p.deliverAll()
		both := c.initiator != nil && c.responder != nil
		for n, want := range []*mask.Key{c.responder, c.initiator} {
			_, keys, ok := p.end[n].Data()
			switch {
			case !ok || p.end[n].Masking() != both || (keys.Mask != nil) != both:
				t.Errorf("%v: end %d has keys %v, masking %v, a mask %v", c, n, ok, p.end[n].Masking(), keys.Mask != nil)
			case both && *keys.Mask != *want:
				t.Errorf("%v: end %d has another key than the other end", c, n)
			}
		}
	}
}

// Packets do not pass a restriction by being padded.
func TestPaddedRecordsAreRestricted(t *testing.T) {
	i, r := hybridConfigs(1, false)
	p := pairOf(t, i, r)
	p.deliverAll()
	from, to := p.end[0].Tunnel(), p.end[1].Tunnel()
	to.Restrict(4)
	for typ, want := range map[byte]bool{0: false, paddedBit: false, paddedBit | 3: false, 4: true, paddedBit | 4: true, 16: true, paddedBit | 16: true} {
		if _, err := to.Open(nil, from.Seal(nil, []byte{typ, 1, 2})); (err == nil) != want {
			t.Errorf("type %d: %v", typ, err)
		}
	}
}

// Packets are opened by goroutines that learn of new keys a moment later. A record with the new keys may come before.
func TestTheTunnelBeforeOpensRecordsOfTheNewOne(t *testing.T) {
	i, r := hybridConfigs(1, true)
	p := pairOf(t, i, r)
	p.deliverAll()
	for round := range 3 {
		p.offer()
		p.deliver(0) // OFFER
		responder, _, _ := p.end[1].Data()
		p.deliver(1) // ANSWER: the responder switches
		early := p.seal(1, "early")
		initiator, _, _ := p.end[0].Data()
		p.deliver(0) // CONFIRM: the initiator does
		if plain, err := initiator.Open(nil, early); err != nil || string(plain[1:]) != "early" {
			t.Errorf("round %d: the initiator's tunnel of before opens %q, %v", round, plain, err)
		}
		if plain, err := responder.Open(nil, p.seal(0, "early")); err != nil || string(plain[1:]) != "early" {
			t.Errorf("round %d: the responder's tunnel of before opens %q, %v", round, plain, err)
		}
		p.exchanges()
		for n, d := range p.end {
			if now, _, _ := d.Data(); round > 0 && d.Tunnel().beside != nil || now.beside == nil || now.beside.beside != now {
				t.Errorf("round %d, end %d: tunnels of long ago are kept", round, n)
			}
		}
		// A renewal of SPTPS comes first, as always.
		p.rekey(0)
		p.deliverAll()
	}
}

// One that does not announce it is a peer like tinc.
func TestNoSecondExchangeWithOneWhoDoesNotAnnounceIt(t *testing.T) {
	for silent := range 2 {
		i, r := hybridConfigs(1, true)
		if silent == 0 {
			i.Hybrid = nil
		} else {
			r.Hybrid = nil
		}
		p := pairOf(t, i, r)
		p.deliverAll()
		for n, d := range p.end {
			if _, able := d.Hybrid(); able {
				t.Errorf("end %d believes that end %d can", n, silent)
			}
		}
		if _, err := p.end[1].Offer(); !errors.Is(err, ErrNotReady) {
			t.Errorf("an offer all the same: %v", err)
		}
		p.exchanges()
	}
}

// Somebody in between who takes the announcement away, or adds one, breaks the signatures.
func TestAnnouncementsCannotBeForged(t *testing.T) {
	for name, c := range map[string]struct {
		announces bool
		change    func(nonce []byte)
	}{
		"taken away":                {true, func(n []byte) { n[24] ^= 1 }},
		"post-quantum taken away":   {true, func(n []byte) { n[31] = 0 }},
		"another version":           {true, func(n []byte) { n[30] = 9 }},
		"added":                     {false, func(n []byte) { hybrid.Announce(n, true, false) }},
		"taken away, bytes of tinc": {true, func(n []byte) { copy(n[24:], "12345678") }},
	} {
		for from := range 2 {
			i, r := hybridConfigs(1, true)
			if !c.announces {
				i.Hybrid, r.Hybrid = nil, nil
			}
			p := pairOf(t, i, r)
			c.change(p.wire[1-from][0][5+1:][:32])
			var failed error
			for n := 0; len(p.wire[0])+len(p.wire[1]) > 0 && failed == nil; n = 1 - n {
				if len(p.wire[n]) == 0 {
					continue
				}
				record := p.wire[n][0]
				p.wire[n] = p.wire[n][1:]
				out, _, err := p.end[n].Handshake(record)
				p.wire[1-n] = append(p.wire[1-n], out...)
				failed = err
			}
			if !errors.Is(failed, ErrSignature) {
				t.Errorf("%s, from end %d: %v", name, from, failed)
			}
		}
	}
}

// Each message may get lost, and is repeated by the end that waits.
func TestLostMessagesOfTheSecondExchange(t *testing.T) {
	for lost := range 3 {
		i, r := hybridConfigs(1, true)
		p := pairOf(t, i, r)
		p.deliverAll()
		p.offer()
		drop := func(to int) {
			t.Helper()
			if len(p.wire[to]) != 1 {
				t.Fatalf("%d records under way to end %d", len(p.wire[to]), to)
			}
			p.wire[to] = nil
		}
		switch lost {
		case 0:
			drop(0)
			p.offer()
		case 1:
			p.deliver(0)
			drop(1)
			p.offer()
		case 2:
			p.deliver(0)
			p.deliver(1)
			drop(0)
			record, err := p.end[0].Unconfirmed()
			if err != nil || record == nil {
				t.Fatalf("nothing to repeat: %v", err)
			}
			p.wire[1] = append(p.wire[1], record)
		}
		p.exchangesWhile()
		p.deliverAll()
		for n, d := range p.end {
			if _, _, ok := d.Data(); !ok {
				t.Errorf("message %d lost: end %d has no new keys", lost, n)
			}
		}
		if record, _ := p.end[0].Unconfirmed(); record != nil {
			t.Errorf("message %d lost: the answer still waits", lost)
		}
		p.exchanges()
	}
}

// exchangesWhile is exchanges between messages of the key exchanges.
func (p *pair) exchangesWhile() {
	p.t.Helper()
	for len(p.wire[0])+len(p.wire[1]) > 0 {
		for n := range p.wire {
			if len(p.wire[n]) > 0 {
				p.deliver(n)
				p.exchanges()
			}
		}
	}
}

// Packets are never lost by a change of keys, however late they come and however messages are delayed.
func TestPacketsOvertakeTheSecondExchange(t *testing.T) {
	for seed := range uint64(20) {
		i, r := hybridConfigs(1, true)
		p := pairOf(t, i, r)
		p.deliverAll()
		dice := rand.New(rand.NewPCG(seed, 1))
		var late [2][][]byte
		sent, got := 0, 0
		receive := func(n, k int) {
			record := late[n][k]
			late[n] = append(late[n][:k], late[n][k+1:]...)
			text, err := p.open(n, record)
			if err != nil {
				t.Fatalf("seed %d, end %d: %v", seed, n, err)
			}
			got++
			if _, err := p.open(n, record); err == nil {
				t.Fatalf("seed %d, end %d: %q was opened twice", seed, n, text)
			}
		}
		for step := range 400 {
			n := dice.IntN(2)
			switch dice.IntN(8) {
			case 0:
				if len(p.wire[n]) > 0 {
					p.deliver(n)
				}
			case 1:
				if p.end[1].second.offer == nil && len(p.wire[0])+len(p.wire[1]) == 0 && p.end[0].second.answer == nil {
					for n := range late { // those of the tunnel before the last one are not opened any more
						for len(late[n]) > 0 {
							receive(n, 0)
						}
					}
					p.offer()
				}
			case 2, 3, 4:
				late[1-n] = append(late[1-n], p.seal(n, fmt.Sprint(step)))
				sent++
			default:
				if len(late[n]) > 0 {
					receive(n, dice.IntN(len(late[n])))
				}
			}
		}
		p.deliverAll()
		for n := range late {
			for len(late[n]) > 0 {
				receive(n, 0)
			}
		}
		if sent != got {
			t.Fatalf("seed %d: %d of %d packets", seed, got, sent)
		}
		if _, _, ok := p.end[0].Data(); !ok {
			t.Fatalf("seed %d: no new keys", seed)
		}
	}
}

// After a renewal of the SPTPS keys a second exchange renews those for packets. Until then the old ones stay in use: packets
// never go back to the keys of SPTPS.
func TestRenewalKeepsTheKeysForPackets(t *testing.T) {
	p := upgraded(t)
	before, _, _ := p.end[0].Data()
	p.rekey(0)
	for len(p.wire[0])+len(p.wire[1]) > 0 {
		for n := range p.wire {
			if len(p.wire[n]) > 0 {
				p.deliver(n)
			}
			p.exchanges()
			if now, _, _ := p.end[n].Data(); now == p.end[n].Tunnel() {
				t.Fatalf("end %d has fallen back to the keys of SPTPS", n)
			}
		}
	}
	if now, _, _ := p.end[0].Data(); now != before {
		t.Error("the keys changed without a second exchange")
	}
	p.offer()
	p.exchangesWhile()
	now, keys, _ := p.end[0].Data()
	if now == before || keys.Cipher != hybrid.AESGCM || !keys.PostQuantum {
		t.Errorf("not renewed: %v", keys.Cipher)
	}
	p.exchanges()
}

// What was sent once does not count a second time, at the wrong end, or in another session.
func TestAttacksOnTheSecondExchange(t *testing.T) {
	i, r := hybridConfigs(1, true)
	p := pairOf(t, i, r)
	p.deliverAll()
	p.offer()
	offer := p.wire[0][0]
	p.deliver(0)
	answer := p.wire[1][0]
	p.deliver(1)
	confirm := p.wire[0][0]
	refuse := func(what string, d *Datagram, record []byte) {
		t.Helper()
		before, _, _ := d.Data()
		if out, _, err := d.Handshake(record); err == nil || len(out) > 0 {
			t.Errorf("%s: answered by %d records, %v", what, len(out), err)
		}
		if now, _, _ := d.Data(); now != before {
			t.Errorf("%s: other keys", what)
		}
	}
	refuse("OFFER replayed", p.end[0], offer)
	refuse("OFFER reflected", p.end[1], offer)
	refuse("ANSWER replayed", p.end[1], answer)
	refuse("ANSWER reflected", p.end[0], answer)
	refuse("CONFIRM reflected", p.end[1], confirm)
	p.deliver(0)
	refuse("CONFIRM replayed", p.end[0], confirm)

	ci, cr := hybridConfigs(7, true)
	ci.Key, ci.Peer, cr.Key, cr.Peer = i.Key, i.Peer, r.Key, r.Peer
	other := pairOf(t, ci, cr)
	other.deliverAll()
	refuse("OFFER of another session", other.end[0], offer)
	other.offer()
	other.deliver(0)
	refuse("ANSWER of another session", other.end[1], answer)
	other.deliver(1)
	refuse("CONFIRM of another session", other.end[0], confirm)
	other.deliver(0)
	other.exchanges()

	// Messages that authenticate, out of order.
	step := func(n int, data []byte) []byte {
		record, err := p.end[n].Tunnel().sealStep(data)
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	refuse("an ANSWER without an OFFER", p.end[1], step(0, bytes.Repeat([]byte{2}, 50)))
	refuse("an OFFER by the initiator", p.end[1], step(0, append([]byte{1}, make([]byte, 60)...)))
	refuse("an OFFER that is too short", p.end[0], step(1, []byte{1, 1, 1, 0, 0, 0, 1}))
	refuse("nothing", p.end[0], step(1, nil))
	refuse("an unknown message", p.end[0], step(1, []byte{4}))
	if tunnel, _, _ := p.end[0].Data(); tunnel != nil {
		if _, err := tunnel.Open(nil, step(1, []byte{3})); err == nil {
			t.Error("a message of the key exchange was opened as a packet")
		}
	}
	p.exchanges()

	stock := established(t)
	record, err := stock.end[0].Tunnel().sealStep([]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	refuse("a message to one who has announced nothing", stock.end[1], record)
}

func TestTheTunnelBeforeIsForgotten(t *testing.T) {
	i, r := hybridConfigs(1, true)
	p := pairOf(t, i, r)
	p.deliverAll()
	early, late := p.seal(0, "early"), p.seal(0, "late")
	p.offer()
	p.deliverAll()
	tunnel, _, _ := p.end[1].Data()
	if !tunnel.Check(early) {
		t.Error("a packet of the tunnel before is not opened")
	}
	if text, err := p.open(1, early); err != nil || text != "early" {
		t.Errorf("%q, %v", text, err)
	}
	for range oldKeyRecords {
		p.exchanges()
	}
	if _, err := p.open(1, late); err != ErrOpen || tunnel.Check(late) {
		t.Errorf("a packet of long ago: %v", err)
	}
}

func TestSealingAllocatesNothing(t *testing.T) {
	p := upgraded(t)
	tunnel, _, _ := p.end[0].Data()
	theirs, _, _ := p.end[1].Data()
	buf, out := make([]byte, 2000), make([]byte, 0, 2000)
	if n := testing.AllocsPerRun(100, func() {
		buf[4] = 0
		record := tunnel.Seal(buf[:0], buf[4:1404])
		if _, err := theirs.Open(out, record); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations for a packet", n)
	}
}

// hybridStreams lets two ends talk until nothing is left to say. change may change what is under way.
func hybridStreams(t testing.TB, ci, cr Config, change func(from int, b []byte) []byte) (ends [2]*Stream, done [2]bool, err error) {
	var wire [2][]byte
	for i, cfg := range two(ci, cr) {
		s, kex, err := NewStream(cfg)
		if err != nil {
			t.Fatal(err)
		}
		ends[i], wire[1-i] = s, kex
	}
	for len(wire[0])+len(wire[1]) > 0 {
		for i := range wire {
			in := change(1-i, wire[i])
			wire[i] = nil
			for len(in) > 0 {
				n, ev, err := ends[i].Next(in)
				if err != nil || n == 0 {
					return ends, done, err
				}
				in = in[n:]
				done[i] = done[i] || ev.Done
				wire[1-i] = append(wire[1-i], ev.Out...)
			}
		}
	}
	return ends, done, nil
}

func TestStreamWithSecondExchange(t *testing.T) {
	same := func(_ int, b []byte) []byte { return b }
	for _, announces := range []bool{true, false} {
		ci, cr := hybridConfigs(1, true)
		if !announces {
			cr.Hybrid = nil
		}
		ends, done, err := hybridStreams(t, ci, cr, same)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range ends {
			keys, ok := s.Hybrid()
			if !done[i] || !s.Established() || ok != announces {
				t.Errorf("end %d: done %v, established %v, second exchange %v", i, done[i], s.Established(), ok)
			}
			if _, aes := s.out.(*aesgcm.Cipher); aes != announces || keys.PostQuantum != announces {
				t.Errorf("end %d: AES %v, post-quantum %v", i, aes, keys.PostQuantum)
			}
			if _, err := s.Rekey(); announces != errors.Is(err, ErrNotReady) {
				t.Errorf("end %d: renewal: %v", i, err)
			}
			wire, err := s.AppendRecord(nil, 7, []byte("request"))
			if err != nil {
				t.Fatal(err)
			}
			if !announces {
				continue
			}
			if _, ev, err := ends[1-i].Next(wire); err != nil || string(ev.Data) != "request" {
				t.Errorf("from end %d: %q, %v", i, ev.Data, err)
			}
		}
	}
}

// Nothing is sent before the second exchange is over, and who leaves it out does not get further.
func TestStreamCannotBeKeptFromTheSecondExchange(t *testing.T) {
	ci, cr := hybridConfigs(1, true)
	record := 0
	ends, done, _ := hybridStreams(t, ci, cr, func(from int, b []byte) []byte {
		if from == 1 && len(b) > 1000 { // SIG, then OFFER: only SIG arrives
			record++
			return b[:3+sigSize]
		}
		return b
	})
	if record != 1 || done[0] || done[1] {
		t.Fatalf("without the OFFER: done %v", done)
	}
	for i, s := range ends {
		if _, err := s.AppendRecord(nil, 0, nil); !errors.Is(err, ErrNotReady) {
			t.Errorf("end %d sends: %v", i, err)
		}
	}
	forced, err := ends[1].appendRecord(nil, 0, []byte("request"))
	if err != nil {
		t.Fatal(err)
	}
	ends[0].inN++ // as if the OFFER had come
	if _, _, err := ends[0].Next(forced); !errors.Is(err, ErrApplication) {
		t.Errorf("a request before the second exchange: %v", err)
	}

	for what, c := range map[string]struct {
		from int
		size int
	}{"OFFER": {1, 1000}, "ANSWER": {0, 1000}, "CONFIRM": {1, 50}} {
		_, done, err := hybridStreams(t, ci, cr, func(from int, b []byte) []byte {
			if from == c.from && len(b) >= c.size && (c.size > 100 || len(b) < 60) {
				b = bytes.Clone(b)
				b[len(b)-20] ^= 1
			}
			return b
		})
		if !errors.Is(err, ErrOpen) {
			t.Errorf("%s changed: done %v, %v", what, done, err)
		}
	}
}
