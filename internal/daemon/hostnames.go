package daemon

import (
	"context"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// hostnames puts names in the place of addresses in the log (Hostnames = yes).
//
// Nothing ever waits for a name: an address that is new is written as it is, and
// looked up meanwhile, so that the next line has the name.
type hostnames struct {
	on     atomic.Bool
	lookUp func(netip.Addr) string // "" if there is no name
	busy   chan struct{}           // has room for those that are being looked up

	mu    sync.Mutex
	known map[netip.Addr]knownName
}

type knownName struct {
	name  string // "" for none, or not yet
	until time.Time
}

const (
	maxNames    = 1024
	maxLookUps  = 4
	nameExpires = 10 * time.Minute
)

func newHostnames(lookUp func(netip.Addr) string) *hostnames {
	return &hostnames{lookUp: lookUp, busy: make(chan struct{}, maxLookUps), known: map[netip.Addr]knownName{}}
}

// lookUpName asks the system.
func lookUpName(a netip.Addr) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, a.String())
	if err != nil || len(names) == 0 {
		return ""
	}
	return strings.TrimSuffix(oneWord(names[0]), ".")
}

// oneWord is a name as the log may have it: whoever owns an address chooses its name.
func oneWord(s string) string {
	if len(s) > 253 || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return s
}

// addresses as the log writes them: bare, with a port after a colon, or in brackets.
var addresses = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\[[0-9a-fA-F:.]+\]|\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b|\b[0-9a-fA-F]{1,4}(?::[0-9a-fA-F]{0,4}){2,7}`)
})

// replace puts the names that are known into a line.
func (h *hostnames) replace(text string) string {
	if !h.on.Load() {
		return text
	}
	var b strings.Builder
	last := 0
	for _, at := range addresses().FindAllStringIndex(text, -1) {
		word := text[at[0]:at[1]]
		a, err := netip.ParseAddr(strings.Trim(word, "[]"))
		behind := text[at[1]:]
		if err != nil || strings.HasPrefix(behind, "/") { // a network has no name
			continue
		}
		if name := h.name(a.Unmap()); name != "" {
			b.WriteString(text[last:at[0]])
			b.WriteString(name)
			last = at[1]
		}
	}
	b.WriteString(text[last:])
	return b.String()
}

// name is the name of an address if it is known, and has it looked up if not.
func (h *hostnames) name(a netip.Addr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	k, ok := h.known[a]
	if ok && now.Before(k.until) {
		return k.name
	}
	select {
	case h.busy <- struct{}{}:
	default:
		return k.name // next time
	}
	if !ok && len(h.known) >= maxNames {
		for old, k := range h.known { // those that are stale, or else any
			if len(h.known) < maxNames && now.Before(k.until) {
				break
			}
			delete(h.known, old)
			if len(h.known) < maxNames/2 {
				break
			}
		}
	}
	h.known[a] = knownName{k.name, now.Add(nameExpires)}
	go func() {
		defer func() { <-h.busy }()
		name := h.lookUp(a)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.known[a] = knownName{name, time.Now().Add(nameExpires)}
	}()
	return k.name
}
