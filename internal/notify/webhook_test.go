package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"tincan/internal/events"
	"tincan/internal/node"
)

const secret = "a secret of twenty.."

// secretFile writes the secret.
func secretFile(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// receiver answers posts with the statuses of a list, then with 200, and checks signatures.
type receiver struct {
	*testing.T
	mu       sync.Mutex
	statuses []int
	got      []string
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	body, _ := io.ReadAll(q.Body)
	m := hmac.New(sha256.New, []byte(secret)) // as docs/monitoring.md says
	m.Write([]byte(q.Header.Get(HeaderTimestamp) + "." + string(body)))
	if want := "v1=" + hex.EncodeToString(m.Sum(nil)); q.Header.Get(HeaderSignature) != want {
		r.Errorf("signature %q, want %q", q.Header.Get(HeaderSignature), want)
	}
	var e events.Event
	if err := json.Unmarshal(body, &e); err != nil || e.ID != q.Header.Get(HeaderID) || string(e.Event) != q.Header.Get(HeaderEvent) || q.Method != "POST" {
		r.Errorf("%s %v: %s", q.Method, q.Header, body)
	}
	status := http.StatusOK
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	if status/100 == 3 {
		w.Header().Set("Location", "/elsewhere")
	}
	if status/100 == 2 {
		r.got = append(r.got, string(e.Node))
	}
	w.WriteHeader(status)
}

// posts posts some events to a receiver that answers with statuses at first, and returns which arrived and what was logged.
func posts(t *testing.T, statuses []int, names ...node.Name) (got, said string) {
	t.Helper()
	r := &receiver{T: t, statuses: statuses}
	s := httptest.NewServer(r)
	defer s.Close()
	var log []string
	w, err := NewWebhook(s.URL+"/path?token=hidden", secretFile(t, secret+"\n", 0o600), func(_ bool, text string) { log = append(log, text) })
	if err != nil {
		t.Fatal(err)
	}
	w.pause = time.Millisecond
	l := events.New("run", 10)
	for _, n := range names {
		l.Add(events.Event{Event: events.NodeUp, Node: n})
	}
	ctx, cancel := context.WithCancel(context.Background())
	for _, n := range names {
		w.deliver(ctx, events.Event{ID: "x-1", Event: events.NodeUp, Node: n})
	}
	cancel()
	return strings.Join(r.got, " "), strings.Join(log, "\n")
}

func TestPosts(t *testing.T) {
	for _, c := range []struct {
		what     string
		statuses []int
		got      string
		said     []string
	}{
		{"all is well", nil, "a b", nil},
		{"it is down for a while", []int{500, 503, 429}, "a b", []string{"cannot be reached, trying again: it answers 500", "takes events again"}},
		{"it does not want one", []int{403}, "b", []string{"was not taken by", "403 forbidden"}},
		{"it redirects", []int{302}, "b", []string{"redirections are not followed"}},
	} {
		got, said := posts(t, c.statuses, "a", "b")
		if got != c.got {
			t.Errorf("%s: %q arrived, want %q", c.what, got, c.got)
		}
		for _, text := range c.said {
			if !strings.Contains(said, text) {
				t.Errorf("%s: %q is missing in %q", c.what, text, said)
			}
		}
		if len(c.said) == 0 && said != "" || strings.Contains(said, "hidden") || strings.Contains(said, secret) {
			t.Errorf("%s: it says %q", c.what, said)
		}
	}
}

// What is there when the node ends still has a moment, and nothing waits for ever.
func TestTheLastEventsAreTold(t *testing.T) {
	l := events.New("run", 10)
	l.Add(events.Event{Event: events.Started})
	ctx, cancel := context.WithCancel(context.Background())
	var got []events.Kind
	Follow(ctx, l, time.Minute, func(ctx context.Context, e events.Event) {
		if got = append(got, e.Event); e.Event == events.Started {
			cancel()
			l.Add(events.Event{Event: events.Stopping})
		} else if ctx.Err() != nil {
			t.Error("the last one has no time")
		}
	})
	if len(got) != 2 || got[1] != events.Stopping {
		t.Errorf("%v", got)
	}
}

func TestACertificateIsVerified(t *testing.T) {
	s := httptest.NewTLSServer(&receiver{T: t})
	defer s.Close()
	w, err := NewWebhook(s.URL, secretFile(t, secret, 0o600), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.post(context.Background(), events.Event{}, nil); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate of nobody: %v", err)
	}
}

func TestWhatAWebhookRefuses(t *testing.T) {
	good := secretFile(t, secret, 0o600)
	for _, c := range []struct{ what, url, file, want string }{
		{"no URL", "example.org", good, "no URL"}, {"another scheme", "ftp://example.org/", good, "no URL"}, {"a password", "https://a:b@example.org/", good, "no URL"},
		{"no TLS", "http://example.org/", good, "without https"}, {"a name that may be anywhere", "http://localhost/", good, "without https"},
		{"no secret", "https://example.org/", "", "WebhookSecretFile"}, {"no file", "https://example.org/", good + "x", "WebhookSecretFile"},
		{"a short secret", "https://example.org/", secretFile(t, "short-secret\n", 0o600), "shorter than"},
		{"a file for all", "https://example.org/", secretFile(t, secret, 0o644), "other users may read"},
	} {
		if c.what == "a file for all" && runtime.GOOS == "windows" {
			continue
		}
		_, err := NewWebhook(c.url, c.file, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "short-secret") || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", c.what, err)
		}
		var h *HintedError
		if c.what != "no file" && (!errors.As(err, &h) || h.Hint() == "") {
			t.Errorf("%s: no hint", c.what)
		}
	}
}
