//go:build unix

package daemon

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// TestEventsAreToldToAScriptAndAWebhook starts and stops a node.
func TestEventsAreToldToAScriptAndAWebhook(t *testing.T) {
	var mu sync.Mutex
	var posted []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		posted = append(posted, string(body))
	}))
	defer s.Close()
	a := newNode(t, "a", "Webhook = "+s.URL, "WebhookSecretFile = secret")
	a.write("secret", "a secret of twenty..\n", 0o600)
	a.write("event", "#!/bin/sh\necho \"$NAME $EVENT $EVENT_ID $EVENT_TEXT: $(cat)\" >> told\n", 0o755)
	a.start()
	a.stop()
	text := a.read("told")
	mu.Lock()
	defer mu.Unlock()
	if len(posted) != 2 || !strings.Contains(posted[0], `"event":"started"`) || !strings.Contains(posted[1], `"event":"stopping"`) {
		t.Errorf("posted: %q", posted)
	}
	if lines := strings.Split(text, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "a started ") || !strings.Contains(lines[0], `-1 the node works: {"id":`) || !strings.HasPrefix(lines[1], "a stopping ") {
		t.Errorf("the script was told: %s", text)
	}
	if strings.Contains(strings.Join(a.lines(), "\n"), "secret of") {
		t.Error("the log has the secret")
	}
}

// A webhook that cannot work is said, and the node works.
func TestAWebhookWithoutASecret(t *testing.T) {
	a := newNode(t, "a", "Webhook = https://example.org/hidden-path")
	a.start()
	a.says("hint: make one")
	if a.said("hidden-path") {
		t.Error("the log has the URL")
	}
}
