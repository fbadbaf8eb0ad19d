package invite

import (
	"errors"
	"fmt"
	"strings"
)

// What an inviter may say in place of a greeting. tinc has the request ERROR ("6 NUMBER TEXT") for
// that, which its own daemons never send and its join takes for no greeting.
var (
	// ErrTooMany: as many newcomers from our address as it takes in at the same time are there.
	ErrTooMany = errors.New("the inviter has too many joins from this address at the moment")
	// ErrTooManyFailures: somebody at our address has tried many invitations that do not exist.
	ErrTooManyFailures = errors.New("too many attempts from this address have failed; the inviter accepts one a second")
	// ErrNoneOpen: there is no invitation that anybody could use.
	ErrNoneOpen = errors.New("no invitation is open at the inviter: this one was used, has expired or was withdrawn")
)

var away = map[string]error{"1": ErrTooMany, "2": ErrTooManyFailures, "3": ErrNoneOpen}

func appendAway(b []byte, why error) []byte {
	for code, err := range away {
		if errors.Is(why, err) {
			return fmt.Appendf(b, "6 %s %s\n", code, err)
		}
	}
	return b
}

// parseAway returns what such a line says, nil if it is none.
func parseAway(line string) error {
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "6" {
		return nil
	}
	if err := away[words[1]]; err != nil {
		return err
	}
	return errors.New("the inviter does not admit new nodes now")
}
