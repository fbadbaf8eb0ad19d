//go:build !netstack

package rootless

import (
	"errors"

	"tincan/internal/daemon"
	"tincan/internal/terminal"
)

// hasStack tells whether this program has a TCP/IP stack of its own.
const hasStack = false

func newStack(daemon.Attachment) (attachment, error) {
	return attachment{}, terminal.Hint(errors.New("this tincan was built without a TCP/IP stack of its own"), "build it with: make build, or go build -tags netstack ./cmd/tincan")
}
