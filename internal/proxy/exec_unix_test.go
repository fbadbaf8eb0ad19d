//go:build unix

package proxy

import (
	"bufio"
	"fmt"
	"io"
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
