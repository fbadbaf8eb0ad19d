package sptps

import (
	"bytes"
	"errors"
	"math"
	"sync"
	"testing"
)

// TestRecordsSealedAndOpenedByManyGoroutines has goroutines seal reserved records, and others open them, while the
// keys change. All arrive, once, in the order in which they were reserved.
func TestRecordsSealedAndOpenedByManyGoroutines(t *testing.T) {
	p := established(t)
	from, to := p.end[0].Tunnel(), p.end[1].Tunnel()
	const batches, each = 60, 40
	type opened struct {
		plain  []byte
		number uint32
	}
	for round := range 3 {
		var wg sync.WaitGroup
		var got [batches][each]opened
		for i := range batches {
			s := from.Reserve(each)
			wg.Go(func() {
				var records [each][]byte
				for k := range each {
					records[k] = s.Seal(nil, []byte{0, byte(i), byte(k)})
				}
				from.Release(s)
				o := to.Lend()
				for k, record := range records {
					plain, number, err := o.Open(nil, record)
					if err != nil {
						t.Errorf("round %d: record %d of batch %d: %v", round, k, i, err)
					}
					got[i][k] = opened{bytes.Clone(plain), number}
				}
				to.Return(o)
			})
		}
		wg.Wait()
		for i := range got {
			for k, o := range got[i] {
				if !bytes.Equal(o.plain, []byte{0, byte(i), byte(k)}) || to.Accept(o.number) != nil {
					t.Fatalf("round %d: record %d of batch %d: %v", round, k, i, o)
				}
				if err := to.Accept(o.number); !errors.Is(err, ErrReplay) {
					t.Fatalf("received twice: %v", err)
				}
			}
		}
		p.rekey(round % 2)
		p.deliverAll()
	}
	if len(from.sealers) > maxSpare || len(to.openers) > maxSpare {
		t.Error("more idle ones are kept than should be")
	}
}

// TestReservedNumbersEnd checks that neither a reserved range nor all numbers together are exceeded.
func TestReservedNumbersEnd(t *testing.T) {
	tun := established(t).end[0].Tunnel()
	s := tun.Reserve(2)
	one, two, three := s.Seal(nil, []byte{0}), s.Seal(nil, []byte{0}), s.Seal(nil, []byte{0})
	if len(one) == 0 || len(two) == 0 || len(three) != 0 {
		t.Errorf("of two reserved records %d, %d, %d bytes", len(one), len(two), len(three))
	}
	if next := tun.Seal(nil, []byte{0}); next[3] != two[3]+1 {
		t.Errorf("the record after number % x has % x", two[:4], next[:4])
	}
	tun.sealer.next = math.MaxUint32
	if s := tun.Reserve(5); len(s.Seal(nil, []byte{0})) == 0 || len(s.Seal(nil, []byte{0})) != 0 {
		t.Error("the last number, and only that, can be reserved")
	}
	if len(tun.Reserve(1).Seal(nil, []byte{0})) != 0 || len(tun.Seal(nil, []byte{0})) != 0 {
		t.Error("there is a record after the last one")
	}
}

// TestASealerWithTheOldKeyIsNotKept checks that new records are not sealed with a key that was replaced.
func TestASealerWithTheOldKeyIsNotKept(t *testing.T) {
	p := established(t)
	s := p.end[0].Tunnel().Reserve(1)
	p.rekey(0)
	p.deliverAll()
	p.end[0].Tunnel().Release(s)
	o := p.end[1].Tunnel().Lend()
	for range 3000 { // the previous key is forgotten
		record := p.end[0].Tunnel().Seal(nil, []byte{0})
		if _, err := p.end[1].Tunnel().Open(nil, record); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := p.end[1].Tunnel().Lend().Open(nil, p.end[0].Tunnel().Reserve(1).Seal(nil, []byte{0})); err != nil {
		t.Error(err)
	}
	late := s.Seal(nil, []byte{0})
	if _, _, err := o.Open(nil, late); err != nil {
		t.Errorf("an opener from before: %v", err)
	}
	if _, _, err := p.end[1].Tunnel().Lend().Open(nil, late); !errors.Is(err, ErrOpen) {
		t.Errorf("after the key was forgotten: %v", err)
	}
}
