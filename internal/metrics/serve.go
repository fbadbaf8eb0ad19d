package metrics

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"tincan/internal/control"
	"tincan/internal/limit"
)

const (
	maxConnections = 16
	requestTimeout = 5 * time.Second
	answerTimeout  = 30 * time.Second
	maxHeader      = 8 << 10
)

// Serve answers HTTP requests for /metrics and /targets at l until ctx ends. look says how the node is. Everybody who
// can connect can read both; nothing can be changed.
func Serve(ctx context.Context, l net.Listener, look func() control.Status) {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	s := &http.Server{
		Handler: handler(port, look), ReadTimeout: requestTimeout, WriteTimeout: answerTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: maxHeader,
	}
	defer context.AfterFunc(ctx, func() { s.Close() })()
	_ = s.Serve(&limit.Listener{Listener: l, Total: maxConnections, Each: maxConnections / 2})
}

func handler(port string, look func() control.Status) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		s := look()
		w.Header().Set("Content-Type", ContentType)
		_ = Write(w, &s, ProcessOf(s.PID, s.Started))
	})
	mux.HandleFunc("GET /targets", func(w http.ResponseWriter, _ *http.Request) {
		s := look()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Targets(&s, port))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("/metrics: the state of this tincan node for Prometheus\n/targets: all nodes, for its http_sd_configs\n"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ownHost(r.Host) {
			http.Error(w, "ask for this node by its address, or by the name of its machine: other names may lead here from foreign web pages", http.StatusMisdirectedRequest)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// ownHost tells whether the Host header names this machine by itself: an IP address, localhost, or its host name. A web page
// that has its own name lead to this address (DNS rebinding) could else read what is here.
func ownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil || host == "localhost" {
		return true
	}
	own, err := os.Hostname()
	if err != nil || own == "" {
		return false
	}
	label, _, _ := strings.Cut(strings.ToLower(own), ".")
	first, _, _ := strings.Cut(host, ".")
	return host == strings.ToLower(own) || host == label || first == label && strings.HasSuffix(strings.ToLower(own), host[len(first):])
}
