package lab

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"time"
)

// Lab is a set of hosts and the links between them.
type Lab struct {
	mu     sync.Mutex
	hosts  []*Host
	cables []*cable
	log    io.Writer
	began  time.Time
}

// New makes an empty lab. The program must have entered the private namespaces.
func New() (*Lab, error) {
	if !Entered() {
		return nil, errors.New("the lab runs only inside private namespaces: call lab.Enter first")
	}
	return &Lab{began: time.Now()}, nil
}

// LogTo copies every line that a process of the lab prints to w, after the
// time since the lab was made and the names of host and program.
func (l *Lab) LogTo(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = w
}

func (l *Lab) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.log != nil {
		fmt.Fprintf(l.log, "%8.3f "+format+"\n", append([]any{time.Since(l.began).Seconds()}, args...)...)
	}
}

// Close kills every process of the lab and removes its hosts.
func (l *Lab) Close() {
	l.mu.Lock()
	hosts, cables := l.hosts, l.cables
	l.hosts, l.cables = nil, nil
	l.mu.Unlock()
	for _, c := range cables {
		c.close()
	}
	for _, h := range hosts {
		h.close()
	}
}

// Hosts are named like interfaces, because a router names its links after them.
var hostName = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)

// Host adds a host: a network of its own with nothing but a loopback, and its
// own empty /etc/tinc, /run and /var/log. The name is a lower-case word of at
// most 12 letters and digits.
func (l *Lab) Host(name string) (*Host, error) {
	if !hostName.MatchString(name) {
		return nil, fmt.Errorf("%q is no name for a host of the lab", name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, h := range l.hosts {
		if h.name == name {
			return nil, fmt.Errorf("there is already a host %s in the lab", name)
		}
	}
	h, err := newHost(l, name)
	if err != nil {
		return nil, fmt.Errorf("making host %s: %w", name, err)
	}
	l.hosts = append(l.hosts, h)
	return h, nil
}

// Router adds a host that forwards packets between the links attached to it.
func (l *Lab) Router(name string) (*Router, error) {
	h, err := l.Host(name)
	if err != nil {
		return nil, err
	}
	return h.Router()
}

// Router makes the host forward packets between its links.
func (h *Host) Router() (*Router, error) {
	r := &Router{Host: h}
	if err := r.forward(); err != nil {
		return nil, fmt.Errorf("making %s a router: %w", h.name, err)
	}
	return r, nil
}
