package api

import (
	"bytes"
	"context"
	"net/http"
	"sync"
	"time"
)

// eventStream is an answer of server-sent events. It is safe for concurrent use.
type eventStream struct {
	mu  sync.Mutex
	w   http.ResponseWriter
	ctl *http.ResponseController
	buf bytes.Buffer
}

// newStream begins the answer.
func newStream(w http.ResponseWriter) *eventStream {
	h := w.Header()
	h.Set("Content-Type", string(stream))
	h.Set("X-Accel-Buffering", "no")
	s := &eventStream{w: w, ctl: http.NewResponseController(w)}
	_ = s.ctl.SetReadDeadline(time.Time{})
	_ = s.write([]byte(": \n\n")) // so that the reader sees the head of the answer
	return s
}

// write writes and flushes. Who does not read for a while loses the connection.
func (s *eventStream) write(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.ctl.SetWriteDeadline(time.Now().Add(writeTime))
	if _, err := s.w.Write(b); err != nil {
		return err
	}
	return s.ctl.Flush()
}

// send sends an event with one line of data.
func (s *eventStream) send(id, event string, data []byte) error {
	s.buf.Reset()
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	s.buf.WriteString("event: " + event + "\ndata: ")
	s.buf.Write(data)
	s.buf.WriteString("\n\n")
	return s.write(s.buf.Bytes())
}

// keepAlive writes a comment now and then until the returned function is called, so that both ends notice a connection that is gone.
func (s *eventStream) keepAlive(ctx context.Context) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		t := time.NewTicker(keepAlive)
		defer t.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
				_ = s.write([]byte(": \n\n"))
			}
		}
	})
	return func() { cancel(); done.Wait() }
}
