package device

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
)

// streamDepth is how many packets wait for a [FromStream] device that takes them slowly.
const streamDepth = 256

// errFull says that a packet was lost because too many others are waiting.
var errFull = errors.New("the device takes packets more slowly than they come")

// FromStream makes a device of something that returns one packet from each Read
// and takes one with each Write; frames says whether these are Ethernet frames. It has no
// name and no offloads.
//
// Write never waits for rw: up to 256 packets are kept for it, and more are lost.
// Close closes rw, which must end the calls that wait in it, and waits for the last Write.
func FromStream(rw io.ReadWriteCloser, frames bool) Device {
	s := &stream{rw: rw, ethernet: frames, queue: newLane(streamDepth), written: make(chan struct{})}
	go s.run()
	return s
}

type stream struct {
	rw       io.ReadWriteCloser
	ethernet bool
	queue    *pipeDirection
	written  chan struct{} // closed when run has ended

	once sync.Once
	err  error // of closing rw
}

// run hands over what is queued until the queue is closed.
func (s *stream) run() {
	defer close(s.written)
	buf := make([]byte, MaxPacket)
	for {
		n, _, err := s.queue.take(buf, true)
		if err != nil {
			return
		}
		// A packet that is not taken is lost, as on any network. If the device is broken Read says so.
		_, _ = s.rw.Write(buf[:n])
	}
}

func (s *stream) Name() string            { return "" }
func (s *stream) frames() bool            { return s.ethernet }
func (s *stream) MaxSegments(GSOType) int { return 0 }

func (s *stream) Read(buf []byte) (int, Offload, error) {
	n, err := s.rw.Read(buf)
	switch {
	case n < 0 || n > len(buf):
		return 0, Offload{}, fmt.Errorf("%w: Read returned a length of %d bytes", os.ErrClosed, n)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrClosedPipe), errors.Is(err, net.ErrClosed):
		err = fmt.Errorf("%w: %w", os.ErrClosed, err) // there is no point in trying again
	}
	return n, Offload{}, err
}

// TryRead always reports ErrAgain: rw cannot tell without waiting.
func (s *stream) TryRead([]byte) (int, Offload, error) { return 0, Offload{}, ErrAgain }

func (s *stream) Write(buf []byte, start int, off Offload) error {
	if err := complete(buf, start, off); err != nil {
		return err
	}
	return s.queue.put(buf[start:], Offload{}, false)
}

func (s *stream) Close() error {
	s.once.Do(func() {
		s.queue.close()
		s.err = s.rw.Close()
		<-s.written
	})
	return s.err
}
