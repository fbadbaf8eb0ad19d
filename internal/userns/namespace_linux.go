package userns

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/device"
)

// childName is the first word of the command line of a child.
const childName = "tincan-namespace"

// setUpTime is how long the child may take to set up the namespace.
const setUpTime = 20 * time.Second

// Between the processes goes a socket pair that keeps the borders of messages. To the child: first its Config as JSON, then single bytes.
// From the child: first a report as JSON with three descriptors, then one byte with a descriptor, or the number of an error, for each request.
const (
	startProgram = 'x' // become the program
	// Any other byte asks for a socket; see socketKinds.
)

// report is what the child answers.
type report struct {
	Interface string
	Err       string
	Tip       string
}

// Namespace is a namespace with a child in it.
type Namespace struct {
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the child has
	dev     device.Device
	packets net.PacketConn
	streams net.Listener

	mu   sync.Mutex // one request at a time
	sock *os.File   // nil: the child has become a program
}

// Start makes a namespace. in, out and err are the standard streams of cfg.Command. The error is an [*Error] if the system does not let us.
//
// The child ends when this process ends, however that happens.
func Start(cfg Config, in io.Reader, out, err io.Writer) (*Namespace, error) {
	n := &Namespace{ended: make(chan struct{})}
	pair, e := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if e != nil {
		return nil, fmt.Errorf("making a socket pair: %w", e)
	}
	n.sock = os.NewFile(uintptr(pair[0]), "namespace")
	far := os.NewFile(uintptr(pair[1]), "namespace")
	defer far.Close()
	if e := unix.SetsockoptTimeval(pair[0], unix.SOL_SOCKET, unix.SO_RCVTIMEO, new(unix.NsecToTimeval(setUpTime.Nanoseconds()))); e != nil {
		n.sock.Close()
		return nil, fmt.Errorf("limiting the time of a socket: %w", e)
	}
	n.cmd = exec.Command("/proc/self/exe", cfg.Command...)
	n.cmd.Args[0] = childName
	n.cmd.ExtraFiles = []*os.File{far}
	if len(cfg.Command) > 0 {
		n.cmd.Stdin, n.cmd.Stdout, n.cmd.Stderr = in, out, err
	}
	if e := n.start(); e != nil {
		n.sock.Close()
		return nil, explain(e)
	}
	far.Close()
	if e := n.setUp(cfg); e != nil {
		n.Close()
		return nil, e
	}
	return n, nil
}

// start starts the child.
func (n *Namespace) start() error {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS}
	if os.Geteuid() != 0 || !mayWithout() {
		// The user stays who he is. So the child needs its capabilities as ambient ones, to have them after execve.
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN, unix.CAP_NET_BIND_SERVICE}
	}
	n.cmd.SysProcAttr = attr
	started := make(chan error)
	go func() {
		// The signal at the death of the parent comes when the thread dies that has started the child: this one is kept.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := n.cmd.Start()
		started <- err
		if err == nil {
			_ = n.cmd.Wait()
			close(n.ended)
		}
	}()
	return <-started
}

// mayWithout tells whether this process may make a network namespace without a user namespace.
func mayWithout() bool {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&head, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0 && data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0
}

// setUp tells the child what to do, and takes what it hands over.
func (n *Namespace) setUp(c Config) error {
	c.Command = c.Command[:min(len(c.Command), 1)] // the rest is on its command line
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if _, err := unix.Write(int(n.sock.Fd()), text); err != nil {
		return fmt.Errorf("telling the child of the namespace: %w", err)
	}
	buf := make([]byte, maxMessage)
	size, fds, err := receive(int(n.sock.Fd()), buf)
	closeAll := func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
	var r report
	switch {
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("the namespace was not set up within %v", setUpTime)
	case err != nil:
		return fmt.Errorf("waiting for the child of the namespace: %w", err)
	case size == 0:
		return fmt.Errorf("the child of the namespace has ended")
	case json.Unmarshal(buf[:size], &r) != nil:
		closeAll()
		return errors.New("the child of the namespace has sent something else than a report")
	case r.Err != "":
		closeAll()
		return &Error{Err: errors.New(r.Err), Tip: r.Tip}
	case len(fds) != 3:
		closeAll()
		return fmt.Errorf("the child of the namespace has handed over %d descriptors instead of 3", len(fds))
	}
	n.dev, err = device.TakeTUN(fds[0], r.Interface)
	packets, err2 := packetConn(fds[1])
	streams, err3 := listener(fds[2])
	n.packets, n.streams = packets, streams
	return errors.Join(err, err2, err3)
}

// Device is the interface of the namespace. It belongs to the caller.
func (n *Namespace) Device() device.Device { return n.dev }

// Queries are the sockets where programs in the namespace ask for names: UDP and TCP. They belong to the caller.
func (n *Namespace) Queries() (net.PacketConn, net.Listener) { return n.packets, n.streams }

// Exec lets the child become the program. Errors of starting it are for the program's standard error, and its exit status is that of a
// shell then: 127 if there is no such program, 126 if it cannot be run.
func (n *Namespace) Exec() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sock == nil {
		return os.ErrClosed
	}
	_, err := unix.Write(int(n.sock.Fd()), []byte{startProgram})
	n.sock.Close()
	n.sock = nil
	return err
}

// Ended is closed when the child, or the program, has ended.
func (n *Namespace) Ended() <-chan struct{} { return n.ended }

// Status is the exit status of the child when it has ended: 128 and the number of the signal if one has ended it.
func (n *Namespace) Status() int {
	<-n.ended
	ws, ok := n.cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return n.cmd.ProcessState.ExitCode()
}

// Signal sends a signal to the child. It is no error if that has ended.
func (n *Namespace) Signal(s os.Signal) { _ = n.cmd.Process.Signal(s) }

// Close ends the child and waits for it. Sockets that it has opened stay open, but lead nowhere once the device is closed.
func (n *Namespace) Close() {
	n.mu.Lock()
	if n.sock != nil {
		n.sock.Close()
		n.sock = nil
	}
	n.mu.Unlock()
	_ = n.cmd.Process.Kill()
	<-n.ended
	for _, c := range []io.Closer{n.dev, n.packets, n.streams} {
		if c != nil {
			c.Close()
		}
	}
}
