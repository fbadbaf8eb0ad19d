package script

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"tincan/internal/node"
)

// QueueLength is the number of scripts that wait, each in its turn. When the changes of a mesh are faster than its scripts
// and more would have to wait, those that undo each other are left out, such as a subnet that came and is gone again: what has
// been told stays right in the end, however long it takes. Scripts for mere news are lost beyond that.
const QueueLength = 4096

// ErrStopped is returned by [Runner.Do] when the runner has ended.
var ErrStopped = errors.New("scripts are not run any more")

// Levels of debugging at which something is said, as tinc has them.
const (
	LevelError  = 0 // a script failed
	LevelStatus = 2 // a script is run
)

// Runner runs scripts in the order in which they are asked for. Its methods may
// be used from any goroutine. Nothing runs before and after [Runner.Run] does.
type Runner struct {
	log     func(level int, text string)
	wake    chan struct{} // room for one
	stopped chan struct{}

	mu      sync.Mutex
	cfg     Config
	waiting list.List                 // of *job
	last    map[subject]*list.Element // the last one of each that waits
	lost    int
}

// job is one change, with the scripts to be run for it.
type job struct {
	names []string
	env   Env
	ctx   context.Context
	done  chan error // with room for one; nil if nobody waits

	about    subject       // zero: it is news, which nothing undoes
	up       bool          // of two changes of the same, one up and one down undo each other
	previous *list.Element // the one about the same that waits before it
	next     *job          // the one after it
}

// subject is whose coming and going scripts are told.
type subject struct {
	node, subnet string
	weight       int
}

// NewRunner makes a Runner. log is told what is run and what fails; it is
// called from the goroutine of Run and from that of Queue.
func NewRunner(cfg Config, log func(level int, text string)) *Runner {
	return &Runner{log: log, wake: make(chan struct{}, 1), last: map[subject]*list.Element{}, stopped: make(chan struct{}), cfg: cfg}
}

// Configure replaces the configuration from the next script on (a reload).
func (r *Runner) Configure(cfg Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cfg = cfg
}

func (r *Runner) config() Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cfg
}

// Run runs scripts until ctx is cancelled, and returns then. A script that runs
// at that moment is killed; those that wait are given up. It is called once.
func (r *Runner) Run(ctx context.Context) error {
	defer close(r.stopped)
	for {
		j, lost := r.next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if lost > 0 {
			r.log(LevelError, fmt.Sprintf("%d scripts were left out because %d others were waiting", lost, QueueLength))
		}
		if j != nil {
			r.run(ctx, j)
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.wake:
		}
	}
}

// next takes the first job that waits, nil if there is none.
func (r *Runner) next() (j *job, lost int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, r.lost = r.lost, 0
	e := r.waiting.Front()
	if e == nil {
		return nil, lost
	}
	j = r.waiting.Remove(e).(*job)
	if j.next != nil {
		j.next.previous = nil
	} else {
		delete(r.last, j.about)
	}
	return j, lost
}

// add has a job wait. If too many do already it is lost, unless it is a change or somebody waits for it.
func (r *Runner) add(j *job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	full := r.waiting.Len() >= QueueLength
	change := j.about != subject{}
	switch last := r.last[j.about]; {
	case change && full && last != nil && last.Value.(*job).up != j.up:
		r.waiting.Remove(last)
		if previous := last.Value.(*job).previous; previous != nil {
			previous.Value.(*job).next = nil
			r.last[j.about] = previous
		} else {
			delete(r.last, j.about)
		}
	case change:
		if last != nil {
			j.previous, last.Value.(*job).next = last, j
		}
		r.last[j.about] = r.waiting.PushBack(j)
	case full && j.done == nil:
		r.lost++ // said later, once for all of them
	default:
		r.waiting.PushBack(j)
	}
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run executes one job, which ends early if either context does.
func (r *Runner) run(ctx context.Context, j *job) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if j.ctx != nil {
		defer context.AfterFunc(j.ctx, func() { cancel(context.Cause(j.ctx)) })()
	}
	if j.ctx != nil && j.ctx.Err() != nil {
		return // nobody waits for it any more
	}
	var err error
	for _, name := range j.names {
		err = r.runOne(ctx, name, j.env)
	}
	if j.done != nil {
		j.done <- err
	}
}

func (r *Runner) runOne(ctx context.Context, name string, env Env) error {
	cfg := r.config()
	path, err := cfg.Path(name)
	switch {
	case path == "":
	case cfg.Forbidden != "":
		r.log(LevelStatus, fmt.Sprintf("the script %s is not run: %s", name, cfg.Forbidden))
	default:
		r.log(LevelStatus, "executing script "+name)
		_, err = cfg.Exec(ctx, name, env)
	}
	if err != nil {
		r.log(LevelError, err.Error())
	}
	return err
}

// Queue has the script called name run after those asked for before, and
// returns at once. Its failure is logged. A missing script is nothing.
func (r *Runner) Queue(name string, env Env) {
	r.add(&job{names: []string{name}, env: env})
}

// NodeUp queues what runs when the node env.Node becomes reachable.
func (r *Runner) NodeUp(env Env) {
	r.add(&job{names: []string{HostUp, NodeUp(node.Name(env.Node))}, env: env, about: subject{node: env.Node}, up: true})
}

// NodeDown queues what runs when the node env.Node becomes unreachable.
func (r *Runner) NodeDown(env Env) {
	r.add(&job{names: []string{HostDown, NodeDown(node.Name(env.Node))}, env: env, about: subject{node: env.Node}})
}

// SubnetUp queues what runs when env.Subnet of env.Node can be reached.
func (r *Runner) SubnetUp(env Env) {
	r.add(&job{names: []string{SubnetUp}, env: env, about: subject{env.Node, env.Subnet, env.Weight}, up: true})
}

// SubnetDown queues what runs when env.Subnet of env.Node cannot be reached any more.
func (r *Runner) SubnetDown(env Env) {
	r.add(&job{names: []string{SubnetDown}, env: env, about: subject{env.Node, env.Subnet, env.Weight}})
}

// Do runs the script called name after those asked for before, and waits for
// it. Its failure is logged as well as returned. If ctx is cancelled the script is killed, or
// not begun.
func (r *Runner) Do(ctx context.Context, name string, env Env) error {
	j := &job{names: []string{name}, env: env, ctx: ctx, done: make(chan error, 1)}
	r.add(j)
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.stopped:
		select {
		case err := <-j.done:
			return err
		default:
			return ErrStopped
		}
	}
}

// Wait waits until all scripts that were asked for before have run. It returns
// an error if ctx or the runner ends first.
func (r *Runner) Wait(ctx context.Context) error { return r.Do(ctx, "", Env{}) }
