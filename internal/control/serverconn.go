package control

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client is one control connection, seen from the daemon. Its own goroutine
// reads requests and writes replies; while it follows a log or captures frames a
// second one writes those. mu keeps their bytes apart.
type client struct {
	server *Server
	conn   net.Conn
	socket int
	reader bool          // may only look
	known  atomic.Bool   // has said who it is
	done   chan struct{} // closed when the connection ends

	held     [][]byte // statements that wait for the last of their batch
	heldSize int

	mu  sync.Mutex
	out *bufio.Writer

	streams    atomic.Uint32 // ConnStatus bits of what is subscribed
	records    chan []byte   // complete records, nil until the first subscription
	cancelLog  func()
	cancelPcap func()
	streaming  sync.WaitGroup
}

func (c *client) run() {
	defer c.streaming.Wait()
	defer c.unsubscribe()
	defer close(c.done)
	defer c.conn.Close()

	in := bufio.NewReaderSize(c.conn, maxAsked)
	c.out = bufio.NewWriterSize(c.conn, 16<<10)

	c.conn.SetReadDeadline(time.Now().Add(greetTimeout))
	line, err := readLine(in)
	if err != nil || !c.server.greeting(line, c.reader) {
		return
	}
	c.known.Store(true)
	c.conn.SetReadDeadline(time.Time{})
	if c.write(func(w *bufio.Writer) {
		fmt.Fprintf(w, "0 %s 17.7\n4 0 %d\n", c.server.backend.Self().Name, os.Getpid())
	}) != nil {
		return
	}
	for {
		line, err := readLine(in)
		if err != nil {
			return
		}
		var stop bool
		var bad error
		if err := c.write(func(w *bufio.Writer) { stop, bad = c.answer(line, w) }); err != nil || bad != nil {
			return
		}
		if stop {
			c.server.backend.Stop()
		}
	}
}

// readLine returns the next line without its end. A line that does not fit the
// reader's buffer is an error.
func readLine(in *bufio.Reader) (string, error) {
	b, err := in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// write runs f with the connection's writer and flushes. The deadline gets rid
// of a client that does not read.
func (c *client) write(f func(*bufio.Writer)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	f(c.out)
	return c.out.Flush()
}

// log subscribes to the log, in place of an earlier subscription. A reader that
// is a whole queue behind is dropped: it would otherwise see a log with holes.
func (c *client) log(level int, color bool) {
	if c.cancelLog != nil {
		c.cancelLog()
	}
	bits := c.streams.Load()&^uint32(ConnLogColor) | uint32(ConnLog)
	if color {
		bits |= uint32(ConnLogColor)
	}
	c.streams.Store(bits)
	c.stream()
	c.cancelLog = c.server.backend.SubscribeLog(min(max(level, -1), 10), func(r LogRecord) {
		text := cut(r.Format(color), maxRecord)
		if !c.enqueue(fmt.Appendf(nil, "18 15 %d\n%s", len(text), text)) {
			c.conn.Close()
		}
	})
}

// pcap subscribes to frames, in place of an earlier subscription. What comes too
// fast is left out, as in every capture.
func (c *client) pcap(snaplen int) {
	if c.cancelPcap != nil {
		c.cancelPcap()
	}
	if snaplen <= 0 || snaplen > maxFrame {
		snaplen = maxFrame
	}
	c.streams.Store(c.streams.Load() | uint32(ConnPcap))
	c.stream()
	c.cancelPcap = c.server.backend.SubscribePcap(snaplen, func(frame []byte) {
		if len(c.records) == cap(c.records) {
			return
		}
		frame = frame[:min(len(frame), snaplen)]
		record := append(make([]byte, 0, 16+len(frame)), "18 14 "...)
		c.enqueue(append(fmt.Appendf(record, "%d\n", len(frame)), frame...))
	})
}

func (c *client) unsubscribe() {
	if c.cancelLog != nil {
		c.cancelLog()
	}
	if c.cancelPcap != nil {
		c.cancelPcap()
	}
}

func (c *client) enqueue(record []byte) bool {
	select {
	case c.records <- record:
		return true
	default:
		return false
	}
}

// stream starts the goroutine that writes records, once. It ends with done.
func (c *client) stream() {
	if c.records != nil {
		return
	}
	c.records = make(chan []byte, streamLength)
	c.streaming.Go(func() {
		for {
			select {
			case <-c.done:
				return
			case r := <-c.records:
				err := c.write(func(w *bufio.Writer) {
					w.Write(r)
					// Whatever waits leaves in the same write.
					for n := len(c.records); n > 0; n-- {
						w.Write(<-c.records)
					}
				})
				if err != nil {
					c.conn.Close()
					return
				}
			}
		}
	})
}
