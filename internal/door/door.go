//go:build linux || darwin || windows || freebsd || openbsd

package door

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	wireguard "golang.zx2c4.com/wireguard/device"

	"tincan/internal/packet"
	"tincan/internal/roster"
)

// reportEvery bounds how often a device changes from one door to another: two that have the same configuration would do so
// with each packet.
const reportEvery = time.Second

// entry is a device of a door.
type entry struct {
	Device
	attached atomic.Bool
	reported atomic.Int64 // when, Unix nanoseconds
	last     time.Time    // its last handshake that was looked at; belongs to the watcher
}

// Door lets devices in. Its methods are safe for concurrent use, but for those of [device.Device], which have its rules.
type Door struct {
	cfg  Config
	bind *bind
	tun  *tunnel
	from *queue // devices to the packet path
	to   *queue // the packet path to devices

	table atomic.Pointer[map[netip.Addr]*entry]

	mu      sync.Mutex
	wg      *wireguard.Device // nil: there is no key yet
	secret  roster.DoorSecret
	devices map[roster.WireGuardKey]*entry
	closed  bool

	initiated chan struct{}
	ended     chan struct{}
	watching  sync.WaitGroup
}

// Open opens a door for no devices. Close has to be called.
func Open(cfg Config) (*Door, error) {
	d := &Door{
		cfg: cfg, from: newQueue(), to: newQueue(), devices: map[roster.WireGuardKey]*entry{},
		initiated: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	d.table.Store(&map[netip.Addr]*entry{})
	var err error
	if d.bind, err = openBind(cfg.Port, cfg.Mark, d.begun); err != nil {
		return nil, err
	}
	d.tun = newTunnel(d)
	d.watching.Go(d.watch)
	return d, nil
}

// Port is the UDP port at which devices come in.
func (d *Door) Port() uint16 { return d.bind.port }

// Set says which devices may come in, and what the doors' secret is; zero: it stays, and if there was none the door stays
// shut. Sessions of devices that are not in the list have ended when it returns.
func (d *Door) Set(secret roster.DoorSecret, devices []Device) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	if secret == (roster.DoorSecret{}) {
		if d.wg == nil {
			return nil
		}
		secret = d.secret
	}
	var conf strings.Builder
	if d.wg == nil || secret != d.secret {
		fmt.Fprintf(&conf, "private_key=%s\n", hex.EncodeToString(secret[:]))
	}
	if d.wg == nil {
		fmt.Fprintf(&conf, "listen_port=%d\n", d.bind.port)
	}
	next := make(map[roster.WireGuardKey]*entry, len(devices))
	for _, dev := range devices {
		old := d.devices[dev.Key]
		if old != nil && old.equal(dev) {
			next[dev.Key] = old
			continue
		}
		next[dev.Key] = &entry{Device: dev}
		fmt.Fprintf(&conf, "public_key=%s\nreplace_allowed_ips=true\n", hex.EncodeToString(dev.Key[:]))
		for _, a := range dev.Addrs {
			fmt.Fprintf(&conf, "allowed_ip=%v\n", netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for key := range d.devices {
		if next[key] == nil {
			fmt.Fprintf(&conf, "public_key=%s\nremove=true\n", hex.EncodeToString(key[:]))
		}
	}
	table := make(map[netip.Addr]*entry, len(next))
	for _, e := range next {
		for _, a := range e.Addrs {
			table[a] = e
		}
	}
	if d.wg == nil {
		d.wg = wireguard.NewDevice(d.tun, d.bind, &wireguard.Logger{Verbosef: wireguard.DiscardLogf, Errorf: d.failed})
	}
	d.secret, d.devices = secret, next
	d.table.Store(&table)
	if conf.Len() == 0 {
		return nil
	}
	if err := d.wg.IpcSet(conf.String()); err != nil {
		return fmt.Errorf("configuring WireGuard: %w", err)
	}
	if err := d.wg.Up(); err != nil {
		return fmt.Errorf("starting WireGuard: %w", err)
	}
	return nil
}

func (d *Door) failed(format string, args ...any) {
	if d.cfg.Failed != nil {
		d.cfg.Failed(fmt.Errorf("WireGuard: "+format, args...))
	}
}

// Detach says that the device with an address is attached to another door now, until it is heard from again.
func (d *Door) Detach(addr netip.Addr) {
	if e := (*d.table.Load())[addr]; e != nil {
		e.attached.Store(false)
	}
}

// active notes that a device was heard from. It reports false if that has to be said again, since it was too early.
func (d *Door) active(e *entry) bool {
	if e.attached.Load() {
		return true
	}
	now, last := time.Now().UnixNano(), e.reported.Load()
	if now-last < int64(reportEvery) || !e.reported.CompareAndSwap(last, now) {
		return false
	}
	e.attached.Store(true)
	if !d.cfg.Active(e.Device) {
		e.attached.Store(false)
		e.reported.Store(last)
		return false
	}
	return true
}

// heard notes the sender of a packet that WireGuard has let through.
func (d *Door) heard(p []byte) {
	if src, ok := packet.Src(p); ok {
		if e := (*d.table.Load())[src]; e != nil {
			d.active(e)
		}
	}
}

// begun: somebody has sent the first message of a handshake.
func (d *Door) begun() {
	select {
	case d.initiated <- struct{}{}:
	default:
	}
}

const (
	lookEvery = 250 * time.Millisecond
	lookFor   = 3 * time.Second // after the first message of a handshake
)

// watch looks for handshakes that are complete, for a while after one has begun: WireGuard does not tell. The first message
// proves nothing, since it could have been recorded at another door.
func (d *Door) watch() {
	for {
		select {
		case <-d.ended:
			return
		case <-d.initiated:
		}
		for until := time.Now().Add(lookFor); time.Now().Before(until); {
			began := time.Now()
			for _, s := range d.sessions() {
				if e := s.entry; s.Last.After(e.last) && d.active(e) {
					e.last = s.Last
				}
			}
			select {
			case <-d.ended:
				return
			case <-time.After(max(lookEvery, 20*time.Since(began))): // a twentieth of one core at most
			}
		}
	}
}

// known is a session and its device.
type known struct {
	Session
	entry *entry
}

// Sessions are the devices that have been here since the start, by name.
func (d *Door) Sessions() (list []Session) {
	for _, s := range d.sessions() {
		if !s.Last.IsZero() {
			list = append(list, s.Session)
		}
	}
	slices.SortFunc(list, func(a, b Session) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return list
}

// sessions asks WireGuard.
func (d *Door) sessions() (list []known) {
	d.mu.Lock()
	wg, devices := d.wg, d.devices
	d.mu.Unlock()
	if wg == nil {
		return nil
	}
	var text bytes.Buffer
	if wg.IpcGetOperation(&text) != nil {
		return nil
	}
	return parseSessions(&text, devices)
}

// parseSessions reads what WireGuard says of its peers (its cross-platform userspace configuration protocol).
func parseSessions(text *bytes.Buffer, devices map[roster.WireGuardKey]*entry) (list []known) {
	lines := bufio.NewScanner(text)
	var s *known
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), "=")
		if key == "public_key" {
			s = nil
			if b, err := hex.DecodeString(value); err == nil && len(b) == len(roster.WireGuardKey{}) {
				if e := devices[roster.WireGuardKey(b)]; e != nil {
					list = append(list, known{Session{Name: e.Name}, e})
					s = &list[len(list)-1]
				}
			}
			continue
		}
		if s == nil {
			continue
		}
		n, _ := strconv.ParseInt(value, 10, 64)
		switch key {
		case "endpoint":
			s.Endpoint = value
		case "last_handshake_time_sec":
			if n > 0 {
				s.Last = time.Unix(n, 0)
			}
		case "last_handshake_time_nsec":
			if !s.Last.IsZero() {
				s.Last = s.Last.Add(time.Duration(n))
			}
		case "rx_bytes":
			s.Rx = uint64(n)
		case "tx_bytes":
			s.Tx = uint64(n)
		}
	}
	return list
}

// Close ends all sessions and closes the sockets.
func (d *Door) Close() error {
	d.mu.Lock()
	wg := d.wg
	done := d.closed
	d.closed = true
	d.mu.Unlock()
	if done {
		return nil
	}
	close(d.ended)
	d.from.close()
	d.to.close()
	if wg != nil {
		wg.Close()
	}
	d.bind.end()
	d.watching.Wait()
	return nil
}
