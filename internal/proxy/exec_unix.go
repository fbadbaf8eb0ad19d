//go:build unix

package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// grace is how long a program has between SIGTERM and SIGKILL.
const grace = time.Second

// lastWords is how long what a program has said may still be read after its end.
const lastWords = 100 * time.Millisecond

// kept are the variables of our own environment that a program gets.
var kept = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_ALL", "TZ", "SSH_AUTH_SOCK"}

// Program is a connection that is the standard input and output of a program. It ends
// with the connection, and all of its process group.
type Program struct {
	*net.UnixConn
	end func()
}

// Close closes the connection and ends the program. It does not wait.
func (p *Program) Close() error {
	p.end()
	return p.UnixConn.Close()
}

// run starts command. As in tinc a shell reads it, so that it may name the variables
// below. Nothing that came from the network is part of what the shell reads: it stands
// in variables, and is an address, a number and the names of nodes.
func run(command string, own Own, to Target) (net.Conn, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("the proxy: make a socket: %w", err)
	}
	defer theirs.Close()
	defer ours.Close()
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Stdin, cmd.Stdout = theirs, theirs
	var words *os.File
	if own.Said != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, fmt.Errorf("the proxy: make a pipe: %w", err)
		}
		defer w.Close()
		words, cmd.Stderr = r, w
	}
	cmd.Env = environ(own, to)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	conn, err := net.FileConn(ours)
	if err != nil {
		words.Close()
		return nil, fmt.Errorf("the proxy: make a socket: %w", err)
	}
	if err := cmd.Start(); err != nil {
		words.Close()
		conn.Close()
		return nil, fmt.Errorf("the proxy: run its command: %w", plain(err))
	}
	group := -cmd.Process.Pid
	stop := make(chan struct{})
	if words != nil {
		go relate(words, own.Said)
	}
	go attend(cmd, group, stop, words)
	return &Program{UnixConn: conn.(*net.UnixConn), end: sync.OnceFunc(func() {
		_ = syscall.Kill(group, syscall.SIGTERM)
		close(stop)
	})}, nil
}

// attend waits for the program until stop is closed, and then sees to it that nobody of
// its process group is left. It asks again and again: the program may have been starting
// somebody when it was asked first. Whoever has left the group may still hold words: nobody
// listens to that any more.
func attend(cmd *exec.Cmd, group int, stop <-chan struct{}, words *os.File) {
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	<-stop
	signal := syscall.SIGTERM
	// Dead ones that nobody buries still count as there; so there is an end to it.
	for began := time.Now(); syscall.Kill(group, signal) == nil && time.Since(began) < 2*grace; time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > grace {
			signal = syscall.SIGKILL
		}
	}
	<-ended
	words.SetReadDeadline(time.Now().Add(lastWords))
}

// environ is the environment of a program.
func environ(own Own, to Target) []string {
	var out []string
	for _, name := range kept {
		if v, ok := os.LookupEnv(name); ok {
			out = append(out, name+"="+v)
		}
	}
	out = append(out, "NAME="+own.Name, "REMOTEADDRESS="+to.Host, fmt.Sprintf("REMOTEPORT=%d", to.Port))
	if to.Node != "" {
		out = append(out, "NODE="+to.Node)
	}
	if own.NetName != "" {
		out = append(out, "NETNAME="+own.NetName)
	}
	return out
}

// pair returns two ends of a stream.
func pair() (ours, theirs *os.File, err error) {
	// Together with the flag no other child can inherit them.
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "proxy"), os.NewFile(uintptr(fds[1]), "proxy"), nil
}

// plain is the system's own error, without the path of the shell.
func plain(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
