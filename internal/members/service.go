package members

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/membership"
	"tincan/internal/node"
	"tincan/internal/reconcile"
	"tincan/internal/roster"
)

const (
	// batch is how many messages of other nodes are taken in before what has changed is judged.
	batch = 64
	// saveAfter is the least time between two versions of the file that follow what others send. What comes after a pause is written at
	// once: it may be a removal, and the node may be killed.
	saveAfter = 500 * time.Millisecond
	// saveAgain is the pause after the file could not be written.
	saveAgain = 10 * time.Second
)

// Config says what a [Service] works with. Its functions are called on the goroutine of
// [Service.Run].
type Config struct {
	Self  node.Name
	Files func() confdir.Layout // where the roster is written
	// Send sends a message to a neighbour. It does not block.
	Send func(reconcile.Out)
	// Changed is called with the new state after each change, and when it has become whole. It does not block.
	Changed func(s *roster.State, whole bool)
	// Failed is called when the file cannot be written, nil when it can again. It may be nil.
	Failed func(error)
}

// Service is a running roster. Its methods are safe for concurrent use.
type Service struct {
	cfg    Config
	keeper *membership.Keeper // on the goroutine of Run only
	state  atomic.Pointer[roster.State]
	whole  atomic.Bool // [membership.Keeper.Whole]

	in    *inbox
	calls chan func()
	done  chan struct{} // closed when Run ends

	mu   sync.Mutex
	near []node.Name // nil: not changed since they were taken over
	anew map[node.Name]bool
	news chan struct{} // the neighbours have changed

	dirty  bool      // the file is behind
	saved  time.Time // when it was written last
	saveAt time.Time // zero: never
	failed bool
}

// New returns the service of a roster, which belongs to it from now on. Changed is called by Run only:
// the first state is that of [Service.State].
func New(cfg Config, r *roster.Roster) *Service {
	s := &Service{
		cfg: cfg, keeper: membership.New(cfg.Self, r, time.Now()),
		in: newInbox(), calls: make(chan func()), done: make(chan struct{}),
		anew: map[node.Name]bool{}, news: make(chan struct{}, 1),
	}
	s.state.Store(s.keeper.State())
	s.whole.Store(s.keeper.Whole())
	return s
}

// State returns what the roster says now.
func (s *Service) State() *roster.State { return s.state.Load() }

// Whole tells whether the roster is more than a part that has been fetched so far.
func (s *Service) Whole() bool { return s.whole.Load() }

// Receive takes in a message of a neighbour, or drops it if that has too many waiting. It never blocks.
// data belongs to the service.
func (s *Service) Receive(from node.Name, data []byte) { s.in.put(message{from, data}) }

// SetNeighbours says with whom the roster is exchanged; anew are those to whom there is a
// new connection. It never blocks.
func (s *Service) SetNeighbours(names, anew []node.Name) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.near = append([]node.Name{}, names...)
	for _, n := range anew {
		s.anew[n] = true
	}
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// ErrEnded: the service does not run any more.
var ErrEnded = errors.New("the node is about to stop")

// Neighbours tells how the exchange with the neighbours stands.
func (s *Service) Neighbours(ctx context.Context) (list []reconcile.Neighbour, err error) {
	err = s.call(ctx, func() { list = s.keeper.Neighbours(time.Now()) })
	return list, err
}

// Submit adds statements of this machine's own. When it returns they are in the file, and on
// their way to the neighbours. The error says that the file could not be written, or that the
// service has ended; what became of each statement is in the results.
func (s *Service) Submit(ctx context.Context, raws [][]byte) ([]roster.Result, error) {
	return s.Sign(ctx, func(*roster.Roster) ([][]byte, error) { return raws, nil })
}

// Sign calls make with the roster as it is, which make must neither change nor keep, and adds the
// statements that it returns as [Service.Submit] does. Nothing comes between.
func (s *Service) Sign(ctx context.Context, make func(*roster.Roster) ([][]byte, error)) (results []roster.Result, err error) {
	called := s.call(ctx, func() {
		var raws [][]byte
		if raws, err = make(s.keeper.Roster()); err != nil || len(raws) == 0 {
			return
		}
		results = s.keeper.Merge(time.Now(), raws)
		s.send() // first: whoever is removed is to hear of it, before the connection with him ends
		s.look()
		err = s.save()
	})
	return results, errors.Join(called, err)
}

// Encoded returns the file form of the roster.
func (s *Service) Encoded(ctx context.Context) (data []byte, err error) {
	err = s.call(ctx, func() { data = s.keeper.Roster().Encode(nil) })
	return data, err
}

// call runs fn on the goroutine of Run and waits for it.
func (s *Service) call(ctx context.Context, fn func()) error {
	ran := make(chan struct{})
	select {
	case s.calls <- func() { fn(); close(ran) }:
		<-ran
		return nil
	case <-s.done:
		return ErrEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run keeps the roster until ctx ends.
func (s *Service) Run(ctx context.Context) {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = s.save()
			return
		case <-s.in.some:
			s.receive()
		case fn := <-s.calls:
			fn()
		case <-s.news:
			s.takeNeighbours()
		case <-timer.C:
		}
		now := time.Now()
		if at := s.keeper.Next(); !at.IsZero() && !at.After(now) {
			s.keeper.Tick(now)
		}
		s.send()
		s.look()
		if !s.saveAt.IsZero() && !s.saveAt.After(now) {
			_ = s.save()
		}
		timer.Reset(s.wait(now))
	}
}

// wait is how long nothing is due.
func (s *Service) wait(now time.Time) time.Duration {
	wait := time.Hour
	for _, at := range []time.Time{s.keeper.Next(), s.saveAt} {
		if !at.IsZero() {
			wait = min(wait, max(at.Sub(now), 0))
		}
	}
	return wait
}

// receive takes in messages that wait. A wrong one is no reason for anything: the exchange has judged its sender.
func (s *Service) receive() {
	for range batch {
		m, ok := s.in.take()
		if !ok {
			return
		}
		_ = s.keeper.Receive(time.Now(), m.from, m.data)
	}
	s.in.more()
}

func (s *Service) takeNeighbours() {
	s.mu.Lock()
	near, anew := s.near, s.anew
	s.near, s.anew = nil, map[node.Name]bool{}
	s.mu.Unlock()
	now := time.Now()
	if near != nil {
		s.keeper.SetNeighbours(now, near)
	}
	for n := range anew {
		s.keeper.Restart(now, n)
	}
}

func (s *Service) send() {
	for _, out := range s.keeper.Flush(time.Now()) {
		s.cfg.Send(out)
	}
}

// look tells of a new state, which has to be saved.
func (s *Service) look() {
	state, whole := s.keeper.State(), s.keeper.Whole()
	if state == s.state.Load() && whole == s.whole.Load() {
		return
	}
	s.state.Store(state)
	s.whole.Store(whole)
	s.cfg.Changed(state, whole)
	s.dirty = true
	if s.saveAt.IsZero() {
		s.saveAt = s.saved.Add(saveAfter)
	}
}

// save writes the file if it is behind. If that fails it is tried again later. A part of a roster is not
// written: after a restart it would count as the whole.
func (s *Service) save() error {
	s.saveAt = time.Time{}
	if !s.dirty || !s.whole.Load() {
		return nil
	}
	err := saveAnywhere(s.cfg.Files(), s.keeper.Roster())
	s.saved = time.Now()
	s.dirty = err != nil
	if err != nil {
		s.saveAt = s.saved.Add(saveAgain)
	}
	if s.cfg.Failed != nil && (err != nil) != s.failed {
		s.failed = err != nil
		s.cfg.Failed(err)
	}
	return err
}
