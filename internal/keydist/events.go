package keydist

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/websocket"
)

// event is something that a listener at /rpc/ws hears of, as one text frame.
type event struct {
	Event   string `json:"event"` // Connected, Fetched, Disconnected
	Payload view   `json:"payload"`
}

const (
	maxHearers = 16
	waiting    = 256 // events of one that does not read; then it is cut off
)

// tell queues an event for all who listen. The lock is held.
func (m *Monitor) tell(e event) {
	for ch := range m.hearers {
		select {
		case ch <- e:
		default:
			delete(m.hearers, ch)
			close(ch)
		}
	}
}

var errNoOrigin = errors.New("a WebSocket needs an Origin")

// events is the WebSocket. The guard has compared Origin and Host already; here
// it must also be there, as in the original.
func (m *Monitor) events(w http.ResponseWriter, r *http.Request) {
	ch := make(chan event, waiting)
	m.mu.Lock()
	ctx, full := m.ctx, len(m.hearers) >= maxHearers
	if ctx == nil || full {
		m.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	m.hearers[ch] = true // before the handshake, so that nothing is missed after it
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.hearers, ch)
		m.mu.Unlock()
	}()
	websocket.Server{
		Handshake: func(_ *websocket.Config, r *http.Request) error {
			if r.Header.Get("Origin") == "" {
				return errNoOrigin
			}
			return nil
		},
		Handler: func(ws *websocket.Conn) { m.stream(ctx, ws, ch) },
	}.ServeHTTP(w, r)
}

func (m *Monitor) stream(ctx context.Context, ws *websocket.Conn, ch chan event) {
	_ = ws.SetDeadline(time.Time{}) // the server's own limits are for short requests
	gone := make(chan struct{})
	go func() { // what is sent here is ignored, but its end is noticed
		defer close(gone)
		_, _ = io.Copy(io.Discard, ws)
	}()
	for {
		select {
		case <-gone:
			return
		case <-ctx.Done():
			return
		case <-m.killed:
			return
		case e, ok := <-ch:
			if !ok {
				return
			}
			text, err := json.Marshal(e)
			if err != nil {
				return
			}
			_ = ws.SetWriteDeadline(time.Now().Add(httpTimeout))
			if _, err := ws.Write(text); err != nil {
				return
			}
		}
	}
}
