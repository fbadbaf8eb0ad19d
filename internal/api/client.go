package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"tincan/internal/events"
	"tincan/internal/oserr"
	"tincan/internal/pidfile"
)

// Client asks a running node over its socket. It is safe for concurrent use.
type Client struct{ http *http.Client }

// NewClient returns a client of the node behind pidFile. It connects when it is asked something.
func NewClient(pidFile string) *Client {
	return &Client{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := pidfile.DialAPI(ctx, pidFile)
			if err != nil {
				err = fmt.Errorf("%w: %w", ErrNoSocket, err)
			}
			return conn, err
		},
	}}}
}

// ErrNoSocket: the socket is not there, nobody listens at it, or it is not for this user.
var ErrNoSocket = errors.New("no answer at the socket of the HTTP API")

// Events follows what happens until ctx ends, f fails or the node ends, which is no error. all begins with what is remembered.
func (c *Client) Events(ctx context.Context, all bool, f func(events.Event) error) error {
	path := "/v1/events"
	if all {
		path += "?after=all"
	}
	return c.follow(ctx, path, func(s sentEvent) error {
		var e events.Event
		if err := json.Unmarshal(s.data, &e); err != nil {
			return fmt.Errorf("the node sent a malformed event: %w", err)
		}
		return f(e)
	})
}

// follow reads a stream of server-sent events.
func (c *Client) follow(ctx context.Context, path string, f func(sentEvent) error) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://tincan"+path, nil)
	if err != nil {
		return err
	}
	r, err := c.http.Do(q)
	if err != nil {
		return errors.Unwrap(err) // without the URL, which says nothing
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		var p Problem
		if json.NewDecoder(io.LimitReader(r.Body, maxLine)).Decode(&p) != nil || p.Message == "" {
			p.Message = r.Status
		}
		return errors.New(p.Message)
	}
	err = readEvents(r.Body, f)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, oserr.Reset) { // how a stream ends that has no end of its own
		return nil
	}
	return err
}

// maxLine is the longest line of a stream, in bytes, and the most data of one event.
const maxLine = 1 << 20

// sentEvent is one server-sent event.
type sentEvent struct {
	id, event string
	data      []byte // lines joined by newlines; only until the next one is read
}

// readEvents reads server-sent events until the stream ends.
func readEvents(r io.Reader, f func(sentEvent) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var e sentEvent
	some := false // there is data
	for lines.Scan() {
		line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
		if len(line) == 0 {
			if some {
				if err := f(e); err != nil {
					return err
				}
			}
			e, some = sentEvent{data: e.data[:0]}, false
			continue
		}
		key, value, _ := strings.Cut(string(line), ":")
		value = strings.TrimPrefix(value, " ")
		switch key {
		case "id":
			e.id = value
		case "event":
			e.event = value
		case "data":
			if some {
				e.data = append(e.data, '\n')
			}
			if len(e.data)+len(value) > maxLine {
				return bufio.ErrTooLong
			}
			e.data, some = append(e.data, value...), true
		}
	}
	return lines.Err()
}
