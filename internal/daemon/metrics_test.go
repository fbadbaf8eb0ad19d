package daemon

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tincan/internal/fixture"
)

func TestMetricsOfARunningNode(t *testing.T) {
	noLeaks(t)
	port := fmt.Sprint(fixture.FreePort())
	a := newNode(t, "a", "Metrics = 127.0.0.1 "+port)
	b := newNode(t, "b", "ConnectTo = a")
	a.knows(b)
	a.start()
	b.knows(a)
	b.start()
	get := func(path string) string {
		resp, err := http.Get("http://127.0.0.1:" + port + path)
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return string(text)
	}
	defer http.DefaultClient.CloseIdleConnections()
	eventually(t, "both nodes are counted", func() bool {
		text := get("/metrics")
		return strings.Contains(text, "\ntincan_up_nodes 2\n") && strings.Contains(text, `tincan_peer_up{peer="b"} 1`) && strings.Contains(text, "\ntincan_meta_connections 1\n")
	})
	if text := get("/targets"); !strings.HasPrefix(text, "[") {
		t.Errorf("/targets: %s", text)
	}
}
