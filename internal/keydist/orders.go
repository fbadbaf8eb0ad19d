package keydist

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"tincan/internal/oserr"
)

// The other side of the orders: what tincd's scripts call.

// Times of an order. tincd waits for its scripts, so they are short. An order that
// comes before the monitor listens is repeated for a moment instead of being lost.
const (
	orderTimeout = 5 * time.Second
	orderPatient = 2 * time.Second
)

// Order tells the monitor at an address of this machine to watch or forget a node.
func Order(ctx context.Context, at netip.AddrPort, what, subnet, name string) error {
	body, err := json.Marshal(struct {
		Subnet string `json:"subnet"`
		Node   string `json:"node"`
	}{subnet, name})
	if err != nil {
		return err
	}
	begin := time.Now()
	for {
		status, text, err := post(ctx, at, what, body)
		switch {
		case errors.Is(err, oserr.Refused) && time.Since(begin) < orderPatient && ctx.Err() == nil:
			time.Sleep(100 * time.Millisecond)
			continue
		case err != nil:
			return fmt.Errorf("the monitor at %s: %w", at, err)
		case status != http.StatusNoContent:
			return fmt.Errorf("the monitor at %s answers: %d %s %s", at, status, http.StatusText(status), text)
		}
		return nil
	}
}

// OrderEnd tells the monitor to end. It may be gone before it has answered.
func OrderEnd(ctx context.Context, at netip.AddrPort) error {
	status, text, err := post(ctx, at, "kill", nil)
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, oserr.Reset):
		return nil
	case err != nil:
		return fmt.Errorf("the monitor at %s: %w", at, err)
	case status != http.StatusNoContent:
		return fmt.Errorf("the monitor at %s answers: %d %s %s", at, status, http.StatusText(status), text)
	}
	return nil
}

func post(ctx context.Context, at netip.AddrPort, what string, body []byte) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, orderTimeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: at.String(), Path: "/rpc/" + what}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	// The monitor takes orders from its own address.
	from := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(at.Addr(), 0))}
	answer, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: from.DialContext}}).Do(r)
	if err != nil {
		return 0, "", plainError(ctx, err)
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 400))
	return answer.StatusCode, strings.TrimSpace(string(said)), nil
}
