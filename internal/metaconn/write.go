package metaconn

import (
	"errors"
	"fmt"

	"tincan/internal/wire"
)

const (
	// freshBurst is how many bytes of packets may wait while the kernel has not
	// refused any: one segmented super-packet of the data plane or more, which
	// comes faster than the writer can wake up.
	freshBurst = 256 << 10
	// keptBuffer is the largest buffer that is kept when it is empty.
	keptBuffer = 64 << 10
)

// sendLine sends clear text.
func (c *conn) sendLine(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.codec != nil || c.ending {
		return
	}
	c.out = append(append(c.out, text...), '\n')
	c.wakeWriter()
}

// send seals a request. It is never dropped; a peer that does not read loses the
// connection instead. An urgent one overtakes the backlog.
func (c *conn) send(text string, urgent bool) {
	c.mu.Lock()
	err := c.request(text, urgent)
	if queued := c.queued(); err == nil && queued > c.t.cfg.MaxQueue {
		err = fmt.Errorf("the peer does not read: %d bytes wait for it", queued)
	}
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
	}
}

// request sends a record with one request, or lets it wait if much waits already and it is not urgent. The lock is held.
func (c *conn) request(text string, urgent bool) error {
	if c.ending {
		return nil
	}
	if c.codec == nil {
		return errors.New("a request was to be sent before the key exchange")
	}
	if !urgent && (!c.later.empty() || c.queued() >= holdBack) {
		c.later.put(text)
		c.wakeWriter()
		return nil
	}
	return c.seal(text)
}

// seal appends a record with one request. The lock is held.
func (c *conn) seal(text string) error {
	c.scratch = append(append(c.scratch[:0], text...), '\n')
	return c.sealed(c.codec.request(c.out, c.scratch))
}

// sealLater seals as much of the backlog as may wait. The lock is held.
func (c *conn) sealLater() error {
	for !c.later.empty() && len(c.out) < holdBack {
		if err := c.seal(c.later.take()); err != nil {
			return err
		}
	}
	return nil
}

// sealed takes out, which a codec has extended, as what waits for the writer. The
// lock is held.
func (c *conn) sealed(out []byte, err error) error {
	if err != nil {
		return fmt.Errorf("send a request: %w", err)
	}
	c.out = out
	c.wakeWriter()
	return nil
}

// announce appends the request that announces a blob or a frame, which was made in c.scratch. The lock is held.
func (c *conn) announce(request []byte) error {
	c.scratch = append(request, '\n')
	return c.sealed(c.codec.request(c.out, c.scratch))
}

// TrySPTPS sends an SPTPS_PACKET (destination id 6 | source id 6 | record). No
// neighbour with the protocol of tinc 1.0 takes one.
func (c *conn) TrySPTPS(blob []byte) bool {
	if len(blob) < minBlob || len(blob) > wire.MaxBlob {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.room(len(blob)) || !c.codec.blobs() || c.announce(wire.SPTPSPacket{Len: len(blob)}.Append(c.scratch[:0])) != nil {
		return false
	}
	c.out = append(c.out, blob...)
	return true
}

// TryPacket sends a PACKET (a whole Ethernet frame).
func (c *conn) TryPacket(frame []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(frame) > 0 && c.room(len(frame)) && len(frame) <= c.codec.maxFrame() &&
		c.announce(wire.Packet{Len: len(frame)}.Append(c.scratch[:0])) == nil && c.sealed(c.codec.frame(c.out, frame)) == nil
}

// TryRequest sends a request that carries a packet, and so may be dropped.
func (c *conn) TryRequest(text string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.room(len(text)) && c.request(text, false) == nil
}

// room decides whether a packet of n bytes is sent or dropped. tinc writes to the
// socket at once and counts what it does not take. We write a little later, from
// another goroutine, so only bytes after a refusal are counted like that. The
// lock is held.
func (c *conn) room(n int) bool {
	if c.ending || c.hop == "" {
		return false
	}
	queued := c.queued()
	if !c.stalled {
		return queued+n <= freshBurst
	}
	half := c.t.cfg.MaxOutput / 2
	return queued <= half || c.dice.IntN(half) >= queued-half
}

// queued is how many bytes the kernel has not taken. The lock is held.
func (c *conn) queued() int { return len(c.out) + c.inflight + c.later.bytes }

func (c *conn) wakeWriter() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// writer hands what waits to the kernel, all of it at a time, until the
// connection ends.
func (c *conn) writer() {
	defer close(c.written)
	var spare []byte
	for {
		c.mu.Lock()
		if len(c.out) == 0 {
			if err := c.sealLater(); err != nil {
				c.mu.Unlock()
				c.fail(err)
				return
			}
		}
		batch := c.out
		ending := c.ending
		if len(batch) > 0 {
			c.out = spare[:0]
			c.inflight = len(batch)
		}
		c.mu.Unlock()
		switch {
		case len(batch) > 0:
			err := c.write(batch)
			c.mu.Lock()
			c.inflight, c.stalled = 0, false
			c.mu.Unlock()
			if err != nil {
				c.fail(fmt.Errorf("send: %w", describe(err)))
				return
			}
			if spare = batch; cap(spare) > keptBuffer {
				spare = nil
			}
		case ending:
			return
		default:
			<-c.wake
		}
	}
}

// took notes that the kernel took n bytes of the batch.
func (c *conn) took(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inflight -= n
}

// refused notes that the kernel takes nothing for the moment.
func (c *conn) refused() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalled = true
}
