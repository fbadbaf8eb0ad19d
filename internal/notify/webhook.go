// Package notify passes on what happens in a network to other programs: it posts events to a URL, signed.
//
// The events of a node wait in its [events.Log], so that one who cannot be reached for long loses the oldest and is told how many.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"tincan/internal/events"
	"tincan/internal/files"
)

const (
	// minSecret is the least length of a secret, in bytes.
	minSecret = 16
	maxSecret = 4096
	// postTime is how long an attempt may take.
	postTime = 10 * time.Second
	// firstPause is the one after the first failure; each is twice as long as the one before.
	firstPause = time.Second
	maxPause   = time.Minute
	// giveUp is how long an event is tried.
	giveUp = 15 * time.Minute
	// lastTime is how long the last events may take when the node ends.
	lastTime = 2 * time.Second
	// maxAnswer of what is answered is read, in bytes.
	maxAnswer = 64 << 10
)

// The headers of a post.
const (
	HeaderEvent     = "Tincan-Event"     // the kind
	HeaderID        = "Tincan-Id"        // the event's id; none for a missed one
	HeaderTimestamp = "Tincan-Timestamp" // Unix seconds, of the attempt
	HeaderSignature = "Tincan-Signature" // v1= and hexadecimal digits: HMAC-SHA256 of the timestamp, a dot and the body
)

// Webhook posts events to a URL.
type Webhook struct {
	url    string
	host   string // for messages: the rest of the URL may be a secret
	secret []byte
	client *http.Client
	pause  time.Duration // the first one
	log    func(good bool, text string)
}

// HintedError knows what the user can do.
type HintedError struct {
	Err error
	Tip string
}

func (e *HintedError) Error() string { return e.Err.Error() }

// Unwrap returns the error without the advice.
func (e *HintedError) Unwrap() error { return e.Err }

// Hint is one sentence of advice.
func (e *HintedError) Hint() string { return e.Tip }

// NewWebhook reads the secret. log is told when posts begin to fail, and when they succeed again.
func NewWebhook(to, secretFile string, log func(good bool, text string)) (*Webhook, error) {
	u, err := url.Parse(to)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		return nil, &HintedError{errors.New("Webhook is no URL"), "write https://HOST/PATH"}
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, &HintedError{errors.New("Webhook: without https everybody in between could read the events"), "write https://; http:// is for this machine only, such as http://127.0.0.1:8080/"}
	case secretFile == "":
		return nil, &HintedError{errors.New("Webhook needs WebhookSecretFile: posts are signed with the secret in it"), "make one: (umask 077; head -c 32 /dev/urandom | base64 > webhook_secret)"}
	}
	secret, err := readSecret(secretFile)
	if err != nil {
		return nil, err
	}
	roots, _ := x509.SystemCertPool() // now: later they may be out of reach (-R, Sandbox)
	t := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: postTime, ForceAttemptHTTP2: true,
		MaxIdleConns: 1, IdleConnTimeout: time.Minute,
	}
	return &Webhook{
		url: u.String(), host: u.Host, secret: secret, pause: firstPause, log: log,
		client: &http.Client{Transport: t, Timeout: postTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}, nil
}

// loopback tells whether a host is this machine, whatever name servers say.
func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.IsLoopback()
}

// readSecret reads a secret that nobody else may read. No error shows it.
func readSecret(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && unsafeMode(info) {
		return nil, &HintedError{fmt.Errorf("WebhookSecretFile: other users may read %s", path), "chmod 600 " + path}
	}
	data, err := files.Read(path, maxSecret)
	if err != nil {
		return nil, fmt.Errorf("WebhookSecretFile: %w", err)
	}
	secret := bytes.TrimSpace(data)
	if len(secret) < minSecret {
		return nil, &HintedError{fmt.Errorf("WebhookSecretFile: the secret in %s is shorter than %d bytes", path, minSecret), "make one: (umask 077; head -c 32 /dev/urandom | base64 > " + path + ")"}
	}
	return secret, nil
}

// Sign is the signature of a body that is posted at a time, as in [HeaderSignature].
func Sign(secret []byte, at time.Time, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write(strconv.AppendInt(nil, at.Unix(), 10))
	m.Write([]byte{'.'})
	m.Write(body)
	return "v1=" + hex.EncodeToString(m.Sum(nil))
}

// Run posts the events of a log, one after the other, until ctx ends; then those that are there already have a moment.
func (w *Webhook) Run(ctx context.Context, log *events.Log) {
	Follow(ctx, log, lastTime, w.deliver)
}

// Follow calls f for each event of a log until ctx ends, and for those that are there then. The context of f ends some time after ctx.
func Follow(ctx context.Context, log *events.Log, last time.Duration, f func(context.Context, events.Event)) {
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(last, cancel) })()
	for r := log.ReadAll(); ending.Err() == nil; {
		e, err := r.Next(ctx) // which is no error as long as there are some
		if err != nil {
			return
		}
		f(ending, e)
	}
}

// deliver posts an event, again and again if that fails in a way that may pass.
func (w *Webhook) deliver(ctx context.Context, e events.Event) {
	body, err := json.Marshal(e)
	if err != nil {
		return
	}
	began, pause, told := time.Now(), w.pause, false
	for {
		again, err := w.post(ctx, e, body)
		switch {
		case err == nil && told:
			w.log(true, fmt.Sprintf("webhook: %s takes events again", w.host))
			return
		case err == nil:
			return
		case ctx.Err() != nil:
			return
		case !again || time.Since(began) > giveUp:
			w.log(false, fmt.Sprintf("webhook: the event %s %s was not taken by %s: %v", e.Event, e.ID, w.host, err))
			return
		case !told:
			told = true
			w.log(false, fmt.Sprintf("webhook: %s cannot be reached, trying again: %v", w.host, err))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}

// post posts once. again tells that it may succeed later.
func (w *Webhook) post(ctx context.Context, e events.Event, body []byte) (again bool, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(body))
	if err != nil {
		return false, errors.New("malformed request") // the error would show the URL
	}
	now := time.Now()
	q.Header.Set("Content-Type", "application/json")
	q.Header.Set("User-Agent", "tincan")
	q.Header.Set(HeaderEvent, string(e.Event))
	if e.ID != "" {
		q.Header.Set(HeaderID, e.ID)
	}
	q.Header.Set(HeaderTimestamp, strconv.FormatInt(now.Unix(), 10))
	q.Header.Set(HeaderSignature, Sign(w.secret, now, body))
	r, err := w.client.Do(q)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		return true, err
	}
	defer r.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxAnswer))
	switch s := r.StatusCode; {
	case s/100 == 2:
		return false, nil
	case s/100 == 3:
		return false, fmt.Errorf("it redirects (%d), and redirections are not followed", s)
	default:
		return s >= 500 || s == http.StatusRequestTimeout || s == http.StatusTooManyRequests, fmt.Errorf("it answers %d %s", s, strings.ToLower(http.StatusText(s)))
	}
}
