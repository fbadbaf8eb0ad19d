//go:build unix

package proxy

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tincan/internal/config"
)

func TestAProgramIsTheConnection(t *testing.T) {
	t.Setenv("TINCAN_TEST_SECRET", "x")
	conn, err := Connect(t.Context(), config.Proxy{Kind: config.ExecProxy, Command: `echo "$NETNAME $NAME $NODE $REMOTEADDRESS $REMOTEPORT $TINCAN_TEST_SECRET"; exec cat`},
		Own{NetName: "home", Name: "alice"}, Target{Host: "2001:db8::1", Port: 655, Node: "bob"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); line != "home alice bob 2001:db8::1 655 \n" {
		t.Errorf("the program says %q, %v", line, err)
	}
	io.WriteString(conn, "ping\n")
	if line, err := r.ReadString('\n'); line != "ping\n" {
		t.Errorf("the program repeats %q, %v", line, err)
	}
}

func TestAProgramEndsWithItsConnection(t *testing.T) {
	for name, command := range map[string]string{
		"one that does not look at its input":  `echo $$; exec sleep 60`,
		"one with a child":                     `echo $$; sleep 60 & wait`,
		"one that has gone and left its child": `echo $$; sleep 60 & exit`,
		"one that ignores what it is told":     `trap "" TERM; echo $$; sleep 60; sleep 60`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := Connect(t.Context(), config.Proxy{Kind: config.ExecProxy, Command: command}, Own{}, Target{Host: "192.0.2.1"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			var group int
			if _, err := fmt.Fscanln(conn, &group); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			for end := time.Now().Add(5 * time.Second); syscall.Kill(-group, 0) == nil; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("somebody of it lives on")
				}
			}
		})
	}
}

// sayings runs a program and returns the lines that it says until it has ended and its pipe is
// closed.
func sayings(t *testing.T, command string) []string {
	t.Helper()
	said := make(chan string, 10000)
	conn, err := Connect(t.Context(), config.Proxy{Kind: config.ExecProxy, Command: command},
		Own{Said: func(line string) { said <- line }}, Target{Host: "192.0.2.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, conn)
	conn.Close()
	var all []string
	for {
		select {
		case line := <-said:
			all = append(all, line)
		case <-time.After(300 * time.Millisecond):
			return all
		}
	}
}

func TestWhatAProgramSaysIsPassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		want    []string
	}{
		"lines":            {`echo "no route" >&2; echo >&2; printf 'the end' >&2`, []string{"no route", "the end"}},
		"nothing":          {`echo hello`, nil},
		"escape sequences": {`printf 'a\033[2Jb\r\n\200\n' >&2`, []string{"a [2Jb"}},
		"a long line":      {`printf '%01000d\nnext\n' 7 >&2`, []string{strings.Repeat("0", maxWords), "next"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sayings(t, c.command); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAProgramThatTalksMuch(t *testing.T) {
	got := sayings(t, `i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done >&2`)
	if len(got) < manyLines+1 || len(got) > manyLines+10 || !strings.HasSuffix(got[len(got)-1], "lines were left out)") {
		t.Errorf("%d lines: %q", len(got), got)
	}
}

// A program may leave somebody behind in the background who keeps its standard error, as ssh does
// with ControlPersist. Nobody listens to that one.
func TestWhoHasLeftIsNotListenedTo(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("there is no setsid here")
	}
	before := runtime.NumGoroutine()
	sayings(t, `setsid sleep 15 >/dev/null </dev/null & sleep 0.2; exit`)
	for end := time.Now().Add(8 * time.Second); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the pipe is still read")
		}
	}
}
