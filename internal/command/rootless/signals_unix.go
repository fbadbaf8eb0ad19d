//go:build unix

package rootless

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	"tincan/internal/userns"
)

// terminate asks a program to end.
var terminate os.Signal = syscall.SIGTERM

// forwarded are the signals that a program is to get which come to us.
var forwarded = []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM}

// signals are those that come to this process while it stands for a program.
type signals struct {
	c     chan os.Signal
	begun chan struct{} // closed when the program begins
	done  chan struct{}

	mu   sync.Mutex
	last syscall.Signal // that has ended us before the program began
}

func catch() *signals {
	s := &signals{c: make(chan os.Signal, 8), begun: make(chan struct{}), done: make(chan struct{})}
	signal.Notify(s.c, forwarded...)
	return s
}

func (s *signals) release() {
	signal.Stop(s.c)
	close(s.done)
}

// before calls stop for a signal that comes before there is a program.
func (s *signals) before(stop func()) {
	select {
	case got := <-s.c:
		s.mu.Lock()
		s.last = got.(syscall.Signal)
		s.mu.Unlock()
		stop()
	case <-s.begun:
	case <-s.done:
	}
}

// status is the exit status after such a signal.
func (s *signals) status() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == 0 {
		return 1
	}
	return 128 + int(s.last)
}

// passTo passes signals on from now on.
func (s *signals) passTo(n *userns.Namespace) {
	close(s.begun)
	go func() {
		for {
			select {
			case <-s.done:
				return
			case got := <-s.c:
				// The terminal sends Ctrl-C and Ctrl-\ to the program, too: it is in our process group.
				if fromTerminal(got) {
					continue
				}
				n.Signal(got)
			}
		}
	}()
}

// fromTerminal tells whether a signal has come from the keyboard, most likely: we are in the foreground of a terminal.
func fromTerminal(s os.Signal) bool {
	if s != syscall.SIGINT && s != syscall.SIGQUIT {
		return false
	}
	for _, f := range []*os.File{os.Stdin, os.Stdout, os.Stderr} {
		if fd := int(f.Fd()); term.IsTerminal(fd) && inForeground(fd) {
			return true
		}
	}
	return false
}
