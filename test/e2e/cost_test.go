//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// spent is the processor time that a process has used, to the nanosecond.
func spent(t *testing.T, pid int) (sum time.Duration) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("process %d: %v", pid, err)
	}
	for _, path := range tasks {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // a thread that has ended
		}
		word, _, _ := strings.Cut(string(text), " ")
		ns, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// minutes is how long is measured.
func minutes(t *testing.T) time.Duration {
	n, err := strconv.Atoi(os.Getenv("SOAK_MINUTES"))
	if err != nil {
		t.Skip("SOAK_MINUTES says how long")
	}
	return time.Duration(n) * time.Minute
}

// perSecond writes a share of time.
func perSecond(d, of time.Duration) string {
	return fmt.Sprintf("%.0f µs/s", float64(d.Microseconds())/of.Seconds())
}

// What metrics and names cost while nobody asks: two networks of two, side by side, one with both and one without.
func TestCostOfMetricsAndNames(t *testing.T) {
	of := minutes(t)
	w := newWorld(t, "ip4")
	pair := func(a, b string, conf string) (both []*node) {
		alice, bob := w.node(a), w.node(b)
		alice.found()
		set := func(n *node) {
			n.tincan("set", "Names", map[bool]string{true: "no", false: "auto"}[conf == ""])
			n.appendTo("tinc.conf", conf)
		}
		set(alice)
		alice.up()
		bob.tincan("join", alice.invite(b))
		set(bob)
		bob.up()
		w.allReach("ip4", alice, bob)
		return []*node{alice, bob}
	}
	without, with := pair("alice", "bob", ""), pair("carol", "dave", "Metrics = 127.0.0.1\n")
	time.Sleep(30 * time.Second) // keys, ports and paths are settled
	for range 5 {
		sum := func(list []*node) (d time.Duration) {
			for _, n := range list {
				d += spent(t, n.daemon.PID())
			}
			return d
		}
		a, b := sum(without), sum(with)
		time.Sleep(of)
		a, b = (sum(without)-a)/2, (sum(with)-b)/2
		t.Logf("without: %s, with metrics and names: %s, of a processor's time for each node", perSecond(a, of), perSecond(b, of))
	}
}
