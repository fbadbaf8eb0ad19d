package sptps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"tincan/internal/keys"
)

// seeded is a source of bytes that is the same in every run.
func seeded(n uint64) *rand.ChaCha8 {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], n)
	return rand.NewChaCha8(seed)
}

func configs(seed uint64) (initiator, responder Config) {
	r := seeded(seed)
	a, _ := keys.Generate(r)
	b, _ := keys.Generate(r)
	label := LabelUDP("alice", "bob")
	return Config{Initiator: true, Key: a, Peer: b.Public(), Label: label, Rand: seeded(seed + 1)},
		Config{Key: b, Peer: a.Public(), Label: label, Rand: seeded(seed + 2)}
}

// pair is two ends of a datagram session and the records under way to each
// (0 is the initiator).
type pair struct {
	t    testing.TB
	end  [2]*Datagram
	wire [2][][]byte // records on their way to end i
}

func newPair(t testing.TB) *pair {
	p := &pair{t: t}
	for i, cfg := range two(configs(1)) {
		d, kex, err := NewDatagram(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p.end[i], p.wire[1-i] = d, [][]byte{kex}
	}
	return p
}

func two(a, b Config) []Config { return []Config{a, b} }

// deliver hands the oldest record under way to end i over.
func (p *pair) deliver(i int) (done bool) {
	p.t.Helper()
	record := p.wire[i][0]
	p.wire[i] = p.wire[i][1:]
	out, done, err := p.end[i].Handshake(record)
	if err != nil {
		p.t.Fatalf("end %d: %v", i, err)
	}
	p.wire[1-i] = append(p.wire[1-i], out...)
	return done
}

func (p *pair) deliverAll() {
	p.t.Helper()
	for len(p.wire[0])+len(p.wire[1]) > 0 {
		for i := range p.wire {
			for len(p.wire[i]) > 0 {
				p.deliver(i)
			}
		}
	}
}

func (p *pair) rekey(i int) {
	p.t.Helper()
	out, err := p.end[i].Rekey()
	if err != nil {
		p.t.Fatal(err)
	}
	p.wire[1-i] = append(p.wire[1-i], out...)
}

// data sends a record from end i and opens it at the other.
func (p *pair) data(i int) error {
	plain := []byte{0, 'd', 'a', 't', 'a'}
	got, err := p.end[1-i].Tunnel().Open(nil, p.end[i].Tunnel().Seal(nil, plain))
	if err == nil && !bytes.Equal(got, plain) {
		return fmt.Errorf("opened to %x", got)
	}
	return err
}

func established(t testing.TB) *pair {
	p := newPair(t)
	p.deliverAll()
	if !p.end[0].Established() || !p.end[1].Established() {
		t.Fatal("not established")
	}
	return p
}

// TestRekeyInAnyOrder lets both sides begin key exchanges at arbitrary moments
// and delivers handshake records with arbitrary delays, while data overtakes
// them. Nothing may be lost, since the new key is known before it is used.
func TestRekeyInAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := established(t)
		exchanges := 0
		for range 200 {
			i := r.IntN(2)
			switch action := r.IntN(6); {
			case action < 2 && len(p.wire[i]) > 0:
				if p.deliver(i) {
					exchanges++
				}
			case action == 2 && r.IntN(5) == 0 && !p.end[i].Rekeying():
				p.rekey(i)
			default:
				if err := p.data(i); err != nil {
					t.Fatalf("seed %d: data from %d: %v", seed, i, err)
				}
			}
		}
		p.deliverAll()
		if p.end[0].Rekeying() || p.end[1].Rekeying() || exchanges == 0 {
			t.Fatalf("seed %d: stuck, %d exchanges", seed, exchanges)
		}
		for i := range 2 {
			if err := p.data(i); err != nil {
				t.Fatalf("seed %d: afterwards: %v", seed, err)
			}
		}
	}
}

func TestBothSidesRekeyAtOnce(t *testing.T) {
	p := established(t)
	p.rekey(0)
	p.rekey(1)
	if _, err := p.end[0].Rekey(); !errors.Is(err, ErrBusy) {
		t.Errorf("a second one at the same end: %v", err)
	}
	p.deliverAll()
	for i := range 2 {
		if p.end[i].Rekeying() {
			t.Errorf("end %d is not finished", i)
		}
		if err := p.data(i); err != nil {
			t.Error(err)
		}
	}
}

func TestOldKeyIsKeptForLateRecords(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(*pair)
		accepted  bool
	}{
		"at once":             {func(*pair) {}, true},
		"after some records":  {func(p *pair) { p.some(oldKeyRecords - 10) }, true},
		"after many records":  {func(p *pair) { p.some(oldKeyRecords) }, false},
		"after it is dropped": {func(p *pair) { p.end[1].Tunnel().DropOldKey() }, false},
	} {
		p := established(t)
		late := p.end[0].Tunnel().Seal(nil, []byte{0})
		p.rekey(0)
		p.deliverAll()
		c.meanwhile(p)
		_, err := p.end[1].Tunnel().Open(nil, late)
		if (err == nil) != c.accepted {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (p *pair) some(n int) {
	for range n {
		if err := p.data(0); err != nil {
			p.t.Fatal(err)
		}
	}
}

func TestDatagramErrorsLeaveTheSessionAsItWas(t *testing.T) {
	clear := func(n uint32, typ byte, data []byte) []byte {
		return append(append(binary.BigEndian.AppendUint32(nil, n), typ), data...)
	}
	kexWithVersion := func(v byte) []byte { return append([]byte{v}, make([]byte, 64)...) }

	p := newPair(t)
	refuse := func(what string, record []byte, want error) {
		t.Helper()
		out, done, err := p.end[1].Handshake(record)
		if !errors.Is(err, want) || done || out != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse("empty", nil, ErrShort)
	refuse("4 bytes", make([]byte, 4), ErrShort)
	refuse("another version", clear(0, 128, kexWithVersion(1)), ErrVersion)
	refuse("KEX too long", clear(0, 128, make([]byte, 66)), ErrUnexpected)
	refuse("wrong number", clear(1, 128, make([]byte, 65)), ErrNumber)
	refuse("application record", clear(0, 0, []byte("x")), ErrApplication)
	refuse("alert", clear(0, 129, nil), ErrType)
	refuse("degenerate ephemeral key", clear(0, 128, make([]byte, 65)), ErrDegenerate)
	kex := p.wire[1][0]
	p.deliver(1)
	refuse("KEX repeated", kex, ErrNumber)
	refuse("second KEX", clear(1, 128, kex[5:]), ErrUnexpected)
	refuse("forged SIG", clear(1, 128, make([]byte, 64)), ErrSignature)
	p.deliverAll()

	old := p.end[0].Tunnel().Seal(nil, []byte{0})
	step := func(data []byte) []byte {
		record, err := p.end[0].Tunnel().sealer.step(typeHandshake, data)
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	refuse("clear record in an established session", clear(2, 128, kex[5:]), ErrOpen)
	refuse("data record", old, ErrType)
	refuse("zero bytes for a KEX", step(make([]byte, 65)), ErrDegenerate)
	refuse("SIG without KEX", step(make([]byte, 64)), ErrUnexpected)
	refuse("ACK without KEX", step(nil), ErrUnexpected)
	late := step(kex[5:])
	if _, _, err := p.end[1].Handshake(step(kex[5:])); err != nil {
		t.Errorf("good KEX: %v", err)
	}
	refuse("a record older than the last one", late, ErrReplay)
	refuse("ACK before SIG", step(nil), ErrUnexpected)
	if err := p.data(0); err != nil {
		t.Errorf("data after all that: %v", err)
	}
}

func TestTunnelRefusals(t *testing.T) {
	p := established(t)
	from, to := p.end[0].Tunnel(), p.end[1].Tunnel()
	good := from.Seal(nil, []byte("\x00text"))
	refuse := func(what string, record []byte, want error) {
		t.Helper()
		if to.Check(record) {
			t.Errorf("%s: Check says yes", what)
		}
		dst := make([]byte, 1, 200)
		out, err := to.Open(dst, record)
		if !errors.Is(err, want) || len(out) != 1 {
			t.Errorf("%s: %v", what, err)
		}
		if n := max(0, len(record)-RecordOverhead); !bytes.Equal(dst[:1+n], make([]byte, 1+n)) {
			t.Errorf("%s: plain text was left behind", what)
		}
	}
	refuse("nothing", nil, ErrShort)
	refuse("shorter than number, type and tag", good[:20], ErrShort)
	refuse("a record without type", from.Seal(nil, nil), ErrShort)
	refuse("our own record", to.Seal(nil, []byte{0, 1, 2}), ErrOpen)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x80
		refuse("a flipped bit", bad, ErrOpen)
	}
	step, _ := from.sealer.step(typeHandshake, []byte("x"))
	refuse("a handshake record", step, ErrType)
	refuse("an alert", from.Seal(nil, []byte{129}), ErrType)
	if _, err := to.Open(nil, good); err != nil {
		t.Errorf("the good record: %v", err)
	}
	refuse("the same again", good, ErrReplay)
}

func TestRecordNumbersAreNeverUsedTwice(t *testing.T) {
	p := established(t)
	from := p.end[0].Tunnel()
	from.sealer.next = maxNumber
	if got := from.SealedCount(); got != maxNumber {
		t.Errorf("SealedCount = %d", got)
	}
	last := from.Seal(nil, []byte{0})
	if _, err := p.end[1].Tunnel().Open(nil, last); err != nil {
		t.Errorf("the last record: %v", err)
	}
	if got := from.Seal([]byte("x"), []byte{0}); string(got) != "x" {
		t.Errorf("sealed %x with a used number", got)
	}
	if _, err := p.end[0].Rekey(); !errors.Is(err, ErrExhausted) {
		t.Errorf("Rekey: %v", err)
	}
}

func TestStreamRefusals(t *testing.T) {
	first := func(typ byte, data []byte) []byte {
		return append(append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), typ), data...)
	}
	for name, c := range map[string]struct {
		in   []byte
		want error
	}{
		"application record first": {first(0, []byte("hello")), ErrApplication},
		"close":                    {first(130, nil), ErrType},
		"a long record":            {[]byte{0xff, 0xff}, ErrTooLong},
		"KEX too short":            {first(128, make([]byte, 64)), ErrUnexpected},
	} {
		cfg, _ := configs(1)
		s, _, err := NewStream(cfg)
		if err != nil {
			t.Fatal(err)
		}
		n, _, err := s.Next(c.in)
		if n != 0 || !errors.Is(err, c.want) {
			t.Errorf("%s: consumed %d, %v", name, n, err)
		}
		if _, _, again := s.Next(first(128, make([]byte, 65))); again != err {
			t.Errorf("%s: the stream went on with %v", name, again)
		}
	}
}

// streams returns both ends of an established stream.
func streams(t testing.TB, mitm func(from int, b []byte)) (a, b *Stream, err error) {
	ci, cr := configs(1)
	a, toB, err := NewStream(ci)
	if err != nil {
		t.Fatal(err)
	}
	b, toA, err := NewStream(cr)
	if err != nil {
		t.Fatal(err)
	}
	for len(toA)+len(toB) > 0 {
		mitm(0, toB)
		mitm(1, toA)
		inA, inB := toA, toB
		toA, toB = nil, nil
		for len(inB) > 0 {
			n, ev, err := b.Next(inB)
			if err != nil || n == 0 {
				return a, b, err
			}
			inB, toA = inB[n:], append(toA, ev.Out...)
		}
		for len(inA) > 0 {
			n, ev, err := a.Next(inA)
			if err != nil || n == 0 {
				return a, b, err
			}
			inA, toB = inA[n:], append(toB, ev.Out...)
		}
	}
	return a, b, nil
}

func TestStreamRecords(t *testing.T) {
	a, b, err := streams(t, func(int, []byte) {})
	if err != nil || !a.Established() || !b.Established() {
		t.Fatalf("not established: %v", err)
	}
	var wire []byte
	sizes := []int{0, 1, 300, MaxData}
	for typ, size := range sizes {
		if wire, err = a.AppendRecord(wire, byte(typ), bytes.Repeat([]byte{byte(size)}, size)); err != nil {
			t.Fatal(err)
		}
	}
	for typ, size := range sizes {
		n, ev, err := b.Next(wire)
		if err != nil || n != size+19 || !ev.HasRecord || ev.Type != byte(typ) || len(ev.Data) != size {
			t.Fatalf("record of %d bytes: consumed %d, %v", size, n, err)
		}
		wire = wire[n:]
	}
	if _, err := a.AppendRecord(nil, 0, make([]byte, MaxData+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	if _, err := a.AppendRecord(nil, 128, nil); !errors.Is(err, ErrType) {
		t.Errorf("handshake type: %v", err)
	}
	closing := a.out.Seal(nil, []byte{130}, a.outN)
	if _, _, err := b.Next(append([]byte{0, 0}, closing...)); !errors.Is(err, ErrType) {
		t.Errorf("close record: %v", err)
	}
}

func TestStreamOfTheWrongPeer(t *testing.T) {
	_, _, err := streams(t, func(from int, b []byte) {
		if from == 0 && len(b) == 3+sigSize {
			b[10] ^= 1
		}
	})
	if !errors.Is(err, ErrSignature) {
		t.Errorf("forged SIG: %v", err)
	}
	s, _, _ := NewStream(first(configs(1)))
	if _, err := s.AppendRecord(nil, 0, nil); !errors.Is(err, ErrNotReady) {
		t.Errorf("record before the key exchange: %v", err)
	}
	if _, err := s.Rekey(); !errors.Is(err, ErrNotReady) {
		t.Errorf("rekey before the key exchange: %v", err)
	}
}

func first(a, _ Config) Config { return a }

func TestWideWindow(t *testing.T) {
	w := newWindow(DefaultWindow, 2, 0)
	order := rand.New(rand.NewPCG(1, 2)).Perm(DefaultWindow)
	for round := range 5 {
		for _, i := range order {
			q := uint32(2 + round*DefaultWindow + i)
			if !w.Accept(q) || w.Accept(q) {
				t.Fatalf("round %d, number %d", round, q)
			}
		}
	}
	if !w.Accept(1e6) || w.Accept(1e6-DefaultWindow) || !w.Accept(1e6-DefaultWindow+1) || w.Accept(1e6) {
		t.Error("after a jump")
	}
	if !w.Accept(maxNumber) || w.Accept(maxNumber) || !w.Accept(maxNumber-1) {
		t.Error("at the end of the numbers")
	}
}

func TestTunnelIsSafeForConcurrentUse(t *testing.T) {
	p := established(t)
	from, to := p.end[0].Tunnel(), p.end[1].Tunnel()
	var wg sync.WaitGroup
	var underWay sync.RWMutex // a record may be older than one exchange of keys, but not older than two
	for range 4 {
		wg.Go(func() {
			for range 200 {
				from.SealN(func(s *Sealer) {
					for range 3 {
						s.Seal(nil, []byte{0})
					}
				})
				underWay.RLock()
				if _, err := to.Open(nil, from.Seal(nil, []byte{0, 1})); err != nil {
					t.Error(err)
				}
				underWay.RUnlock()
				from.SealedCount()
			}
		})
	}
	for range 5 {
		p.rekey(1)
		p.deliverAll()
		func() { // those that were sealed before are opened now
			underWay.Lock()
			defer underWay.Unlock()
		}()
	}
	wg.Wait()
}

func FuzzStream(f *testing.F) {
	for _, v := range sessions(f) {
		var all []byte
		for _, e := range v.Events {
			all = append(all, unhex(f, e.Wire)...)
		}
		f.Add(all, false)
	}
	f.Add([]byte{0, 1, 0, 'x'}, true)
	fresh, _, _ := NewStream(first(configs(1)))
	established, _, _ := streams(f, func(int, []byte) {})
	f.Fuzz(func(t *testing.T, in []byte, ready bool) {
		s := *fresh // the next input begins here, too
		if ready {
			s = *established
			s.plain = nil
		}
		for {
			n, _, err := s.Next(in)
			if err != nil || n == 0 {
				return
			}
			in = in[n:]
		}
	})
}

// again returns a copy of the pair from which it can go on without changing it.
func (p *pair) again(t testing.TB) *pair {
	c := &pair{t: t}
	for i, d := range p.end {
		copied := *d
		if old := d.tunnel; old != nil {
			copied.tunnel = &Tunnel{
				sealer: Sealer{cipher: old.sealer.cipher, next: old.sealer.next, end: old.sealer.end},
				keys:   old.keys, left: old.left, window: newWindow(DefaultWindow, uint32(old.window.next), 0), lastStep: old.lastStep,
			}
		}
		c.end[i], c.wire[i] = &copied, slices.Clone(p.wire[i])
	}
	return c
}

func FuzzDatagram(f *testing.F) {
	for _, v := range sessions(f) {
		for _, e := range v.Events {
			f.Add(unhex(f, e.Wire), true)
			f.Add(unhex(f, e.Wire), false)
		}
	}
	fresh, ready := newPair(f), established(f)
	f.Fuzz(func(t *testing.T, in []byte, sealed bool) {
		p := fresh.again(t)
		if sealed {
			p = ready.again(t)
			// An authenticated peer may send any nonsense too.
			record := p.end[0].Tunnel().Seal(nil, in)
			_, _, _ = p.end[1].Handshake(record)
			_, _ = p.end[1].Tunnel().Open(nil, record)
			if _, err := p.end[1].Tunnel().Open(nil, in); err == nil {
				t.Fatal("a forged record was opened")
			}
		}
		_, _, _ = p.end[1].Handshake(in)
	})
}

func TestNoAllocation(t *testing.T) {
	p := established(t)
	from, to := p.end[0].Tunnel(), p.end[1].Tunnel()
	plain, wire, out := make([]byte, 1400), make([]byte, 0, 1500), make([]byte, 0, 1500)
	n := testing.AllocsPerRun(100, func() {
		if _, err := to.Open(out, from.Seal(wire, plain)); err != nil {
			t.Fatal(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTunnelSeal(b *testing.B) {
	from := established(b).end[0].Tunnel()
	plain, wire := make([]byte, 1400), make([]byte, 0, 1500)
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		from.Seal(wire, plain)
	}
}

func BenchmarkTunnelOpen(b *testing.B) {
	p := established(b)
	from, to := p.end[0].Tunnel(), p.end[1].Tunnel()
	record, out := from.Seal(nil, make([]byte, 1400)), make([]byte, 0, 1500)
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		to.window.next = 2 // as if it were new
		if _, err := to.Open(out, record); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkHandshake(b *testing.B) {
	for b.Loop() {
		established(b)
	}
}

// Two answers to the same start: the copies go their own ways, and the one that is the peer's comes about.
func TestCloneTriesAnotherAnswer(t *testing.T) {
	p := newPair(t)
	a, b := p.end[0], p.end[1]
	kexB, kexA := p.wire[0][0], p.wire[1][0]
	_, forging := configs(9)
	_, forged, err := NewDatagram(forging)
	if err != nil {
		t.Fatal(err)
	}
	first, second := a.Clone(), a.Clone()
	if _, _, err := first.Handshake(forged); err != nil {
		t.Fatal(err)
	}
	sig, _, err := second.Handshake(kexB)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.Handshake(kexA); err != nil {
		t.Fatal(err)
	}
	answer, done, err := b.Handshake(sig[0])
	if err != nil || !done {
		t.Fatal(done, err)
	}
	if _, done, err := first.Handshake(answer[0]); done || err == nil {
		t.Error("the copy with the forged answer is established")
	}
	if _, done, err := second.Handshake(answer[0]); !done || err != nil {
		t.Errorf("the copy with the right answer: %v, %v", done, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("an established session was copied")
		}
	}()
	second.Clone()
}
