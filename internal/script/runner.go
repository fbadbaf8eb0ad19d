package script

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"tincan/internal/node"
)

// QueueLength is the number of scripts that may wait. A mesh whose scripts are
// slower than its changes loses the newest beyond that.
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
	queue   chan *job
	stopped chan struct{}
	lost    atomic.Int64

	mu  sync.Mutex
	cfg Config
}

// job is one script to be run.
type job struct {
	name string
	env  Env
	ctx  context.Context
	done chan error // with room for one; nil if nobody waits
}

// NewRunner makes a Runner. log is told what is run and what fails; it is
// called from the goroutine of Run and from that of Queue.
func NewRunner(cfg Config, log func(level int, text string)) *Runner {
	return &Runner{log: log, queue: make(chan *job, QueueLength), stopped: make(chan struct{}), cfg: cfg}
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
		select {
		case <-ctx.Done():
			return ctx.Err()
		case j := <-r.queue:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r.run(ctx, j)
		}
	}
}

// run executes one job, which ends early if either context does.
func (r *Runner) run(ctx context.Context, j *job) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if j.ctx != nil {
		defer context.AfterFunc(j.ctx, func() { cancel(context.Cause(j.ctx)) })()
	}
	if n := r.lost.Swap(0); n > 0 {
		r.log(LevelError, fmt.Sprintf("%d scripts were left out because %d others were waiting", n, QueueLength))
	}
	if j.ctx != nil && j.ctx.Err() != nil {
		return // nobody waits for it any more
	}
	cfg := r.config()
	path, err := cfg.find(j.name)
	switch {
	case path == "":
	case cfg.Forbidden != "":
		r.log(LevelStatus, fmt.Sprintf("the script %s is not run: %s", j.name, cfg.Forbidden))
	default:
		r.log(LevelStatus, "executing script "+j.name)
		_, err = cfg.Exec(ctx, j.name, j.env)
	}
	if err != nil {
		r.log(LevelError, err.Error())
	}
	if j.done != nil {
		j.done <- err
	}
}

// Queue has the script called name run after those asked for before, and
// returns at once. Its failure is logged. A missing script is nothing.
func (r *Runner) Queue(name string, env Env) {
	select {
	case r.queue <- &job{name: name, env: env}:
	default:
		r.lost.Add(1) // said later, once for all of them
	}
}

// NodeUp queues what runs when the node env.Node becomes reachable.
func (r *Runner) NodeUp(env Env) {
	r.Queue(HostUp, env)
	r.Queue(NodeUp(node.Name(env.Node)), env)
}

// NodeDown queues what runs when the node env.Node becomes unreachable.
func (r *Runner) NodeDown(env Env) {
	r.Queue(HostDown, env)
	r.Queue(NodeDown(node.Name(env.Node)), env)
}

// Do runs the script called name after those asked for before, and waits for
// it. Its failure is logged as well as returned. If ctx is cancelled the script is killed, or
// not begun.
func (r *Runner) Do(ctx context.Context, name string, env Env) error {
	j := &job{name: name, env: env, ctx: ctx, done: make(chan error, 1)}
	select {
	case r.queue <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-r.stopped:
		return ErrStopped
	}
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
