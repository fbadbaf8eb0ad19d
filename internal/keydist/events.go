package keydist

import (
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
func (m *Monitor) events() http.Handler {
	return websocket.Server{
		Handshake: func(_ *websocket.Config, r *http.Request) error {
			if r.Header.Get("Origin") == "" {
				return errNoOrigin
			}
			return nil
		},
		Handler: m.stream,
	}
}

func (m *Monitor) stream(ws *websocket.Conn) {
	ch := make(chan event, waiting)
	m.mu.Lock()
	ctx := m.ctx
	if ctx == nil || len(m.hearers) >= maxHearers {
		m.mu.Unlock()
		return
	}
	m.hearers[ch] = true
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.hearers, ch)
		m.mu.Unlock()
	}()
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
