//go:build linux

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tincan/internal/fixture"
)

// step is one command of a transcript of the real programs.
type step struct {
	line     string
	out, err []string
	status   string
}

// transcript reads a file of steps. What follows the last step and belongs to
// none is returned as rest.
func transcript(t *testing.T, name string) (steps []step, rest string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		text := strings.TrimRight(line, "\n")
		switch kind, value, _ := strings.Cut(text, " "); kind {
		case "$":
			steps = append(steps, step{line: value})
		case "[out]":
			s := &steps[len(steps)-1]
			s.out = append(s.out, value)
		case "[err]":
			s := &steps[len(steps)-1]
			s.err = append(s.err, value)
		case "[rc]":
			steps[len(steps)-1].status = value
		default:
			rest += line
		}
	}
	return steps, rest
}

// impossible are commands that tinc accepts, and tincan only with --force, because no node could
// use the value.
var impossible = map[string]bool{
	"tinc -n vpn config change ConnectTo gamma delta": true,
	"tinc -n vpn set PingInterval abc":                true,
}

// replay runs the steps on the network in dir and compares results and status
// with what the real program gave. Talk is our own, but where tinc said something
// there must be something.
func replay(t *testing.T, dir string, steps []step) {
	t.Helper()
	for _, s := range steps {
		words := strings.Fields(strings.Replace(s.line, "-n vpn", "-c "+dir, 1))
		if impossible[s.line] {
			run(t, "", words[0], words[1:]...).refused(t, "; use --force")
			forced := append([]string{"--force"}, words[1:]...)
			run(t, "", words[0], forced...).must(t)
			continue
		}
		got := run(t, "", words[0], words[1:]...)
		want := strings.Join(s.out, "\n")
		if want != "" {
			want += "\n"
		}
		if got.out != want {
			t.Errorf("%s: printed %q, tinc prints %q", s.line, got.out, want)
		}
		if status := string(rune('0' + got.status)); status != s.status {
			t.Errorf("%s: exit status %s, tinc's is %s", s.line, status, s.status)
		}
		if (got.err == "") != (len(s.err) == 0) {
			t.Errorf("%s: said %q, tinc says %q", s.line, got.err, s.err)
		}
		for _, line := range s.err {
			line = strings.ReplaceAll(line, "/var/run/tinc.vpn.pid", dir+"/pid")
			if fixed(line) && !strings.Contains(got.err, line) && !unbuilt(got.err) {
				t.Errorf("%s: said %q, tinc says %q", s.line, got.err, line)
			}
		}
	}
}

// fixed tells whether a sentence of tinc's talk is one that scripts may look for.
func fixed(line string) bool {
	for _, begin := range []string{"Could not open pid file", "Too many arguments", "Invalid number of arguments", "Not enough arguments", "Try `", "Unknown command"} {
		if strings.HasPrefix(line, begin) {
			return true
		}
	}
	return false
}

// unbuilt tells whether a command refused because it is not there yet.
func unbuilt(stderr string) bool { return strings.Contains(stderr, "this version of tincan cannot") }

func TestVariablesAsInTinc(t *testing.T) {
	steps, files := transcript(t, "variables.txt")
	// The rest of the transcript is tinc.conf and hosts/alpha as the commands left them.
	conf, host, ok := strings.Cut(files, "-----BEGIN")
	if !ok {
		t.Fatal("the transcript has lost its files")
	}
	host = "-----BEGIN" + host
	_, behind, _ := strings.Cut(host, "Ed25519PublicKey")
	key, _, _ := strings.Cut(behind, "\n")

	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	fixture.Put(t, filepath.Join(dir, "hosts/alpha"), strings.TrimSuffix(host, behind)+key+"\n")
	replay(t, dir, steps)
	if got := read(t, dir, "tinc.conf"); got != conf {
		t.Errorf("tinc.conf is\n%s\ntinc leaves\n%s", got, conf)
	}
	if got := read(t, dir, "hosts/alpha"); got != host {
		t.Errorf("hosts/alpha is\n%s\ntinc leaves\n%s", got, host)
	}
}

func TestControlCommandsWithoutDaemon(t *testing.T) {
	steps, _ := transcript(t, "control-commands.txt")
	dir := t.TempDir()
	fixture.Put(t, filepath.Join(dir, "tinc.conf"), "Name = alpha\n")
	replay(t, dir, steps)
}
