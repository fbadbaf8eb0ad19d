//go:build linux

package e2e

import (
	"errors"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tincan/internal/lab"
)

// refusal is what a command said when it failed.
type refusal struct {
	n    *node
	text string
}

// refuses runs a command that must fail by itself, soon, with few words.
func refuses(n *node, args ...string) refusal {
	n.w.Helper()
	return refusalOf(n, func() (string, error) { return n.try(args...) })
}

func refusalOf(n *node, f func() (string, error)) refusal {
	n.w.Helper()
	_, err := f()
	var run *lab.RunError
	var exit *exec.ExitError
	if !errors.As(err, &run) || !errors.As(err, &exit) || exit.ExitCode() <= 0 {
		n.w.Fatalf("it should have failed with an exit status; the error is %v", err)
	}
	r := refusal{n, run.Stderr}
	if lines := strings.Count(r.text, "\n"); lines > 6 || lines == 0 {
		n.w.Errorf("it said %d lines, not one or two:\n%s", lines, r.text)
	}
	return r
}

// says checks that the message has something that matches the pattern.
func (r refusal) says(pattern string) refusal {
	r.n.w.Helper()
	if !regexp.MustCompile("(?i)" + pattern).MatchString(r.text) {
		r.n.w.Errorf("the message does not say %q:\n%s", pattern, r.text)
	}
	return r
}

func TestWhatCannotStartSaysWhy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(*node)
		says  string // with a hint, or an advice in the message itself
	}{
		{"a broken line in tinc.conf", func(n *node) { n.appendTo("tinc.conf", "PingTimeout\n") }, `tinc\.conf:\d+: .*; write`},
		{"a name that is none", func(n *node) { n.write(map[string]string{"tinc.conf": "Name = al ice!\n"}) }, `tinc\.conf:1: .*other than letters`},
		{"no private key", func(n *node) {
			n.w.must(n.InFiles(func() error { return unix.Unlink(confBase + "/ed25519_key.priv") }))
		}, "key(.|\\n)*hint:"},
		{"no tinc.conf", func(n *node) {
			n.w.must(n.InFiles(func() error { return unix.Unlink(confBase + "/tinc.conf") }))
		}, `hint:.*init`},
		{"the port is in use", func(n *node) {
			ln, err := n.Listen("tcp", ":655")
			n.w.must(err)
			n.w.Cleanup(func() { _ = ln.Close() })
		}, "655(.|\\n)*hint:"},
		{"no permission to make an interface", func(n *node) {
			// For this thread and what it starts, there is no such right any more.
			n.w.must(n.InFiles(func() error { return unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0) }))
		}, `permi(.|\n)*hint:`},
		{"no tun device", func(n *node) {
			n.w.must(n.InFiles(func() error { return unix.Mount("/dev/null", "/dev/net/tun", "", unix.MS_BIND, "") }))
		}, `/dev/net/tun(.|\n)*hint:`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, "ip4")
			alice := w.static(site{name: "alice"})[0]
			c.spoil(alice)
			refuses(alice, "up").says(c.says)
			if left := alice.files("/run"); len(left) != 0 {
				t.Errorf("left in /run: %v", left)
			}
		})
	}
}
