package daemon

import (
	"context"
	"os"
	"os/signal"

	"tincan/internal/mesh"
)

// signals are those that a daemon acts on, from the moment of catchSignals on:
// by default most of them would end the process and leave its interface and
// files behind. Those that end it properly are the caller's, who cancels our context.
type signals struct {
	got  chan os.Signal
	pipe chan os.Signal
}

// catchSignals begins to hold signals back.
func catchSignals() signals {
	s := signals{got: make(chan os.Signal, 8), pipe: make(chan os.Signal, 1)}
	if len(acted) > 0 {
		signal.Notify(s.got, acted...)
	}
	// Nobody reads this one: a log whose reader has gone is no reason to end. It is
	// not ignored, since scripts would inherit that.
	if len(ignored) > 0 {
		signal.Notify(s.pipe, ignored...)
	}
	return s
}

func (s signals) release() {
	signal.Stop(s.got)
	signal.Stop(s.pipe)
}

// serve acts on signals until ctx ends.
func (s signals) serve(ctx context.Context, d *Daemon) {
	for {
		select {
		case sig := <-s.got:
			d.log.printf(0, mesh.Notice, "got the signal %s", sig)
			act(d, sig)
		case <-ctx.Done():
			return
		}
	}
}
