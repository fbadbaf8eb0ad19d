package mesh

import (
	"testing"
)

// Ends of an attempt that nobody waits for any more: the brain once fell over each of them.
func TestAttemptEndsInTheMiddle(t *testing.T) {
	for name, last := range map[string]string{
		"shutdown while dialling":          "shutdown",
		"ConnectTo removed while dialling": "reload",
	} {
		t.Run(name, func(t *testing.T) {
			closed := false
			p := newPlayer(t)
			for _, line := range []string{"node alice connect=bob", "wait 1ms", last} {
				for _, e := range p.input(line) {
					if c, ok := e.(CloseConn); ok && c.Conn == 1 {
						closed = true
					}
				}
			}
			if !closed {
				t.Error("the attempt goes on")
			}
		})
	}
}
