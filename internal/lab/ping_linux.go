package lab

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// pinger sends echo requests from one host to one address.
type pinger struct {
	conn net.PacketConn
	dst  netip.Addr
	id   uint16
}

// pingers numbers the echo identifiers, which the whole program shares.
var pingers atomic.Uint32

func (h *Host) pinger(dst netip.Addr) (*pinger, error) {
	network, any := "ip4:icmp", "0.0.0.0"
	if dst.Is6() {
		network, any = "ip6:ipv6-icmp", "::"
	}
	conn, err := h.ListenPacket(network, any)
	if err != nil {
		return nil, fmt.Errorf("pinging from %s: %w", h.name, err)
	}
	return &pinger{conn: conn, dst: dst, id: uint16(pingers.Add(1))}, nil
}

func (p *pinger) close() { _ = p.conn.Close() }

// send sends the echo request number seq with size bytes of payload.
func (p *pinger) send(seq uint16, size int) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(p.id), Seq: int(seq), Data: make([]byte, size)}}
	if p.dst.Is6() {
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	b, err := m.Marshal(nil) // the kernel fills in the ICMPv6 checksum
	if err != nil {
		return err
	}
	_, err = p.conn.WriteTo(b, &net.IPAddr{IP: p.dst.AsSlice(), Zone: p.dst.Zone()})
	return err
}

// receive waits for an answer and returns its number.
func (p *pinger) receive(until time.Time) (seq uint16, err error) {
	var buf [65536]byte
	reply := byte(ipv4.ICMPTypeEchoReply)
	if p.dst.Is6() {
		reply = byte(ipv6.ICMPTypeEchoReply)
	}
	_ = p.conn.SetReadDeadline(until)
	for {
		n, from, err := p.conn.ReadFrom(buf[:])
		if err != nil {
			return 0, err
		}
		b := buf[:n]
		if n < 8 || b[0] != reply || binary.BigEndian.Uint16(b[4:]) != p.id {
			continue
		}
		if a, ok := netip.AddrFromSlice(from.(*net.IPAddr).IP); !ok || a.Unmap() != p.dst.WithZone("") {
			continue
		}
		return binary.BigEndian.Uint16(b[6:]), nil
	}
}

// Ping sends one echo request with size bytes of payload and waits for the
// answer. It returns the round-trip time.
func (h *Host) Ping(dst netip.Addr, size int, within time.Duration) (time.Duration, error) {
	p, err := h.pinger(dst)
	if err != nil {
		return 0, err
	}
	defer p.close()
	began := time.Now()
	if err := p.send(1, size); err != nil {
		return 0, fmt.Errorf("pinging %s from %s: %w", dst, h.name, err)
	}
	if _, err := p.receive(began.Add(within)); err != nil {
		return 0, noAnswer(dst, h, within, err)
	}
	return time.Since(began), nil
}

func noAnswer(dst netip.Addr, h *Host, within time.Duration, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s does not answer %s within %v", dst, h.name, within)
	}
	return fmt.Errorf("pinging %s from %s: %w", dst, h.name, err)
}

// Reach sends an echo request every 50 ms until one is answered, and returns
// how long that took.
func (h *Host) Reach(dst netip.Addr, within time.Duration) (time.Duration, error) {
	p, err := h.pinger(dst)
	if err != nil {
		return 0, err
	}
	defer p.close()
	began := time.Now()
	var last error
	for seq := uint16(1); time.Since(began) < within; seq++ {
		// "Network is unreachable" may pass when an interface comes up.
		if last = p.send(seq, 56); last != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		if _, last = p.receive(time.Now().Add(50 * time.Millisecond)); last == nil {
			return time.Since(began), nil
		}
	}
	return 0, noAnswer(dst, h, within, last)
}

// Echoes is a steady stream of echo requests: [Gaps] of the answers.
type Echoes struct {
	Gaps
	cancel context.CancelFunc
	sender sync.WaitGroup
	taker  sync.WaitGroup
	p      *pinger

	mu       sync.Mutex
	sent     map[uint16]time.Time // not answered yet
	count    EchoCount
	lastGood time.Time
}

// EchoCount is what became of a stream of echo requests.
type EchoCount struct {
	Sent, Answered int
	LongestGap     time.Duration // longest time between two answers
	WorstRTT       time.Duration
}

// Lost is the number of requests without an answer.
func (c EchoCount) Lost() int { return c.Sent - c.Answered }

func (c EchoCount) String() string {
	return fmt.Sprintf("%d of %d echoes lost, longest gap %v, worst round trip %v",
		c.Lost(), c.Sent, c.LongestGap.Round(time.Millisecond), c.WorstRTT.Round(10*time.Microsecond))
}

// Echo sends an echo request to dst at every interval until it is stopped.
func (h *Host) Echo(dst netip.Addr, every time.Duration) (*Echoes, error) {
	p, err := h.pinger(dst)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	e := &Echoes{cancel: cancel, p: p, sent: map[uint16]time.Time{}, lastGood: time.Now()}
	e.sender.Go(func() { e.send(ctx, every) })
	e.taker.Go(e.receive)
	return e, nil
}

func (e *Echoes) send(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for seq := uint16(0); ; seq++ {
		e.mu.Lock()
		e.sent[seq] = time.Now()
		e.count.Sent++
		e.mu.Unlock()
		_ = e.p.send(seq, 56) // an error here is a lost request
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (e *Echoes) receive() {
	for {
		seq, err := e.p.receive(time.Time{})
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		e.mu.Lock()
		if began, ok := e.sent[seq]; ok {
			delete(e.sent, seq)
			now := time.Now()
			e.count.Answered++
			e.count.WorstRTT = max(e.count.WorstRTT, now.Sub(began))
			e.count.LongestGap = max(e.count.LongestGap, now.Sub(e.lastGood))
			e.lastGood = now
			e.arrive(began)
		}
		e.mu.Unlock()
	}
}

// Count returns the count so far. What is under way has not been answered yet.
func (e *Echoes) Count() EchoCount {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.count
}

// Last returns when the last answer came; before the first one, when the stream began.
func (e *Echoes) Last() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lastGood
}

// Unanswered returns when the requests were sent that have had no answer, in order.
func (e *Echoes) Unanswered() (at []time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.SortedFunc(maps.Values(e.sent), time.Time.Compare)
}

// lateness is how long answers are waited for at the end, since the last one came: on a busy machine
// an answer is late, not lost.
const lateness = time.Second

// Stop sends no more, waits until all requests have been answered or no answer has come for a
// second, ends the stream and returns the count.
func (e *Echoes) Stop() EchoCount {
	e.cancel()
	e.sender.Wait() // else it might send one more, for whose answer nobody waits
	for quiet, had := time.Now(), -1; time.Since(quiet) < lateness; time.Sleep(10 * time.Millisecond) {
		c := e.Count()
		if c.Answered == c.Sent {
			break
		}
		if c.Answered != had {
			quiet, had = time.Now(), c.Answered
		}
	}
	e.p.close()
	e.taker.Wait()
	return e.count
}
