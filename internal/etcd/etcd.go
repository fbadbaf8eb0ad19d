// Package etcd reads and changes keys of an etcd 3 cluster, by transactions only. It speaks the JSON form of etcd's API,
// which every member offers on its client port beside gRPC, so it needs nothing but net/http. It watches nothing and
// keeps no leases.
//
// A transaction may be repeated: its caller has it compare the revisions of what it changes, so that the same
// transaction takes effect once, however often it is sent. That is why a request whose answer was lost is sent to the
// next member.
package etcd

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"tincan/internal/oserr"
)

// Config says where a cluster is.
type Config struct {
	Endpoints []string    // HOST:PORT of its members; at least one
	TLS       *tls.Config // nil: plain HTTP
	User      string      // "" if the cluster asks for none
	Password  string
	Attempt   time.Duration // how long one member may take to answer; 0: three seconds
}

// Limits.
const (
	defaultAttempt = 3 * time.Second
	dialLimit      = 2 * time.Second
	maxAnswer      = 8 << 20 // bytes
	maxConns       = 16      // to each member
	// pause is how long nobody is asked after all members have failed: those who wait for an answer at this moment would
	// otherwise wait one after the other.
	pause = time.Second
)

// Client asks the members of a cluster, one after the other until one answers. It is safe for concurrent use.
type Client struct {
	c    Config
	http *http.Client

	mu     sync.Mutex
	member int    // who has answered last
	token  string // of the user; "" before the first request
	failed *UnavailableError
	until  time.Time // until then failed is the answer
}

// New prepares a client. It connects to nobody.
func New(c Config) *Client {
	if c.Attempt == 0 {
		c.Attempt = defaultAttempt
	}
	return &Client{c: c, http: &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: dialLimit}).DialContext, TLSClientConfig: c.TLS, TLSHandshakeTimeout: c.Attempt,
			MaxConnsPerHost: maxConns, MaxIdleConnsPerHost: maxConns, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
			DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Close ends the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UnavailableError tells that no member could do what it was asked for; it may have done so all the same.
type UnavailableError struct {
	Members []error // why, by member
}

func (e *UnavailableError) Error() string {
	texts := make([]string, len(e.Members))
	for i, err := range e.Members {
		texts[i] = err.Error()
	}
	return "etcd does not answer: " + strings.Join(texts, "; ")
}

func (e *UnavailableError) Unwrap() []error { return e.Members }

// Error is a refusal by etcd.
type Error struct {
	Code    int // of gRPC
	Message string
}

func (e *Error) Error() string { return fmt.Sprintf("etcd refuses: %.200s", e.Message) }

// Codes of gRPC.
const (
	codeDeadline        = 4
	codeOutOfRange      = 11
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// Compacted tells whether err says that a revision is not kept any more.
func Compacted(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == codeOutOfRange
}

// Do carries out a transaction. The error is an [UnavailableError], an [Error], or that of ctx.
func (c *Client) Do(ctx context.Context, t Txn) (Result, error) {
	body, err := json.Marshal(t.message())
	if err != nil {
		return Result{}, err
	}
	c.mu.Lock()
	first, failed := c.member, c.failed
	if time.Now().After(c.until) {
		failed = nil
	}
	c.mu.Unlock()
	if failed != nil {
		return Result{}, failed
	}
	down := &UnavailableError{}
	for i := range c.c.Endpoints {
		member := (first + i) % len(c.c.Endpoints)
		r, err := c.ask(ctx, member, body)
		if err == nil || !retriable(err) {
			c.mu.Lock()
			c.member, c.failed = member, nil
			c.mu.Unlock()
			return r, err
		}
		if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Result{}, ctx.Err()
		}
		down.Members = append(down.Members, fmt.Errorf("%s: %w", c.c.Endpoints[member], plain(err)))
		if ctx.Err() != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed, c.until = down, time.Now().Add(pause)
	c.member = (first + 1) % len(c.c.Endpoints)
	return Result{}, down
}

// plain leaves out of an error what only says that there was a request.
func plain(err error) error {
	var u interface{ Timeout() bool }
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &u) && u.Timeout() {
		return errors.New("it takes too long to answer")
	}
	if u := new(url.Error); errors.As(err, &u) {
		err = u.Err
	}
	return oserr.PlainDial(err)
}

// retriable tells whether another member may do better.
func retriable(err error) bool {
	var e *Error
	return !errors.As(err, &e) || e.Code == codeUnavailable || e.Code == codeDeadline
}

// ask asks one member.
func (c *Client) ask(ctx context.Context, member int, body []byte) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, c.c.Attempt)
	defer cancel()
	for second := false; ; second = true {
		token, err := c.login(ctx, member)
		if err != nil {
			return Result{}, err
		}
		data, err := c.post(ctx, member, "/v3/kv/txn", token, body)
		var e *Error
		if errors.As(err, &e) && e.Code == codeUnauthenticated && c.c.User != "" && !second {
			c.forget(token) // it is good for some minutes only
			continue
		}
		if err != nil {
			return Result{}, err
		}
		return parse(data)
	}
}

// login returns the token of the user, or "" without one.
func (c *Client) login(ctx context.Context, member int) (string, error) {
	if c.c.User == "" {
		return "", nil
	}
	c.mu.Lock()
	token := c.token
	c.mu.Unlock()
	if token != "" {
		return token, nil
	}
	body, err := json.Marshal(map[string]string{"name": c.c.User, "password": c.c.Password})
	if err != nil {
		return "", err
	}
	data, err := c.post(ctx, member, "/v3/auth/authenticate", "", body)
	if err != nil {
		return "", err
	}
	var answer struct{ Token string }
	if err := json.Unmarshal(data, &answer); err != nil || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n") {
		return "", errMalformed
	}
	c.mu.Lock()
	c.token = answer.Token
	c.mu.Unlock()
	return answer.Token, nil
}

// forget forgets a token, unless there is another one by now.
func (c *Client) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}

var errMalformed = errors.New("its answer is not one of etcd 3")

func (c *Client) post(ctx context.Context, member int, path, token string, body []byte) ([]byte, error) {
	scheme := "http://"
	if c.c.TLS != nil {
		scheme = "https://"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, scheme+c.c.Endpoints[member]+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxAnswer:
		return nil, fmt.Errorf("its answer has more than %d bytes", maxAnswer)
	case res.StatusCode == http.StatusOK:
		return data, nil
	case res.StatusCode == http.StatusNotFound:
		return nil, errors.New("it does not offer the JSON form of the API of etcd 3.4 and newer (enable-grpc-gateway)")
	}
	return nil, refusal(res.StatusCode, data)
}

// refusal is the error of an answer with another status than 200.
func refusal(status int, data []byte) error {
	var answer struct {
		Code           int
		Message, Error string
	}
	if json.Unmarshal(data, &answer) != nil || answer.Code == 0 {
		line, _, _ := strings.Cut(string(data), "\n")
		return fmt.Errorf("it answers %d %s: %.120q", status, http.StatusText(status), line)
	}
	if answer.Message == "" {
		answer.Message = answer.Error
	}
	return &Error{answer.Code, strconv.QuoteToGraphic(strings.TrimPrefix(answer.Message, "etcdserver: "))}
}
