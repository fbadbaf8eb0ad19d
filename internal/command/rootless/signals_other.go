//go:build !unix

package rootless

import (
	"os"
	"os/signal"
	"sync"

	"tincan/internal/userns"
)

// terminate asks a program to end.
var terminate = os.Kill

// signals are those that come to this process while it stands for a program, which there is none of on this system.
type signals struct {
	c    chan os.Signal
	once sync.Once
}

func catch() *signals {
	s := &signals{c: make(chan os.Signal, 1)}
	signal.Notify(s.c, os.Interrupt)
	return s
}

func (s *signals) release() { s.once.Do(func() { signal.Stop(s.c); close(s.c) }) }

func (s *signals) before(stop func()) {
	if _, ok := <-s.c; ok {
		stop()
	}
}

func (s *signals) status() int { return 1 }

func (s *signals) passTo(*userns.Namespace) {}
