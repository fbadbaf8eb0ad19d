package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
)

// maxLog is how many bytes of a process's output are kept: the newest.
const maxLog = 4 << 20

// Process is a program that was started on a host. Its output is kept.
type Process struct {
	host *Host
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended and err is set
	err  error

	mu   sync.Mutex
	log  []byte
	part int // start in log of a line without its end
}

// Command prepares a program to be run on the host. A path without slash is
// looked up in PATH. The caller may set its Env, Stdin and Dir; nothing else.
func (h *Host) Command(path string, args ...string) *exec.Cmd {
	cmd := exec.Command(path, args...)
	cmd.Dir, _ = os.Getwd() // a thread with its own mounts starts in /
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	return cmd
}

// Start runs a program in the background until it ends, is stopped or killed,
// or the lab is closed. What it prints is kept, both streams together.
func (h *Host) Start(path string, args ...string) (*Process, error) {
	return h.StartCommand(h.Command(path, args...))
}

// StartCommand is [Host.Start] for a command made by [Host.Command].
func (h *Host) StartCommand(cmd *exec.Cmd) (*Process, error) {
	p := &Process{host: h, name: filepath.Base(cmd.Path), cmd: cmd, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p, p
	if err := h.onThread(cmd.Start); err != nil {
		return nil, fmt.Errorf("starting %s on %s: %w", p.name, h.name, err)
	}
	h.mu.Lock()
	h.procs = append(h.procs, p)
	h.mu.Unlock()
	go func() {
		// A grandchild may hold the output open: it must not keep us.
		cmd.WaitDelay = time.Second
		p.err = cmd.Wait()
		if errors.Is(p.err, exec.ErrWaitDelay) {
			p.err = nil
		}
		close(p.done)
	}()
	return p, nil
}

// Run runs a program on the host, waits for its end and returns what it
// printed to its standard output. If it fails the error holds the end of its
// standard error.
func (h *Host) Run(path string, args ...string) (string, error) {
	return h.RunCommand(h.Command(path, args...))
}

// RunCommand is [Host.Run] for a command made by [Host.Command].
func (h *Host) RunCommand(cmd *exec.Cmd) (string, error) {
	var out, bad bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &bad
	cmd.WaitDelay = time.Second // a daemon left behind may hold the output open
	if err := h.onThread(cmd.Start); err != nil {
		return "", fmt.Errorf("running %s on %s: %w", cmd.Path, h.name, err)
	}
	err := cmd.Wait()
	for line := range strings.Lines(bad.String()) {
		h.lab.logf("%s %s: %s", h.name, filepath.Base(cmd.Path), strings.TrimSuffix(line, "\n"))
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return out.String(), &RunError{Host: h.name, Args: cmd.Args, Stderr: bad.String(), Err: err}
	}
	return out.String(), nil
}

// RunError says that a program on a host failed.
type RunError struct {
	Host   string
	Args   []string
	Stderr string
	Err    error
}

func (e *RunError) Error() string {
	return fmt.Sprintf("%s: %s: %v: %s", e.Host, strings.Join(e.Args, " "), e.Err, strings.TrimSpace(lastLines(e.Stderr, 10)))
}

func (e *RunError) Unwrap() error { return e.Err }

// Write keeps what the process prints and copies whole lines to the lab's log.
func (p *Process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.log = append(p.log, b...)
	for {
		end := bytes.IndexByte(p.log[p.part:], '\n')
		if end < 0 {
			break
		}
		p.host.lab.logf("%s %s: %s", p.host.name, p.name, p.log[p.part:p.part+end])
		p.part += end + 1
	}
	if cut := len(p.log) - maxLog; cut > 0 {
		p.log = append(p.log[:0], p.log[cut:]...)
		p.part = max(0, p.part-cut)
	}
	return len(b), nil
}

// Log returns what the process has printed so far.
func (p *Process) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.log)
}

// Tail returns the last n lines that the process printed.
func (p *Process) Tail(n int) string { return lastLines(p.Log(), n) }

func lastLines(s string, n int) string {
	lines := strings.SplitAfter(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n-1):], "")
}

// WaitLog waits until something that the process printed matches pattern.
func (p *Process) WaitLog(pattern string, within time.Duration) error {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return err
	}
	for end := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		ended := p.Ended()
		switch {
		case re.MatchString(p.Log()):
			return nil
		case ended:
			return fmt.Errorf("%s on %s ended without printing %q: %v\n%s", p.name, p.host.name, pattern, p.err, p.Tail(10))
		case time.Now().After(end):
			return fmt.Errorf("%s on %s did not print %q within %v\n%s", p.name, p.host.name, pattern, within, p.Tail(10))
		}
	}
}

// PID is the process's id, as all processes of the lab see it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Ended says whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Wait waits for the end of the process. The error is that of [exec.Cmd.Wait],
// or says that it did not end in time.
func (p *Process) Wait(within time.Duration) error {
	select {
	case <-p.done:
		return p.err
	case <-time.After(within):
		return fmt.Errorf("%s on %s did not end within %v\n%s", p.name, p.host.name, within, p.Tail(10))
	}
}

// Signal sends a signal to the process.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the process without warning (SIGKILL) and waits for that.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// RSS is the resident memory of the process in bytes.
func (p *Process) RSS() (int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		var kib int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &kib); err == nil {
			return kib * 1024, nil
		}
	}
	return 0, fmt.Errorf("no VmRSS of process %d", p.PID())
}
