//go:build netstack

package rootless

import (
	"tincan/internal/daemon"
	"tincan/internal/netstack"
)

// hasStack tells whether this program has a TCP/IP stack of its own.
const hasStack = true

func newStack(a daemon.Attachment) (attachment, error) {
	s, err := netstack.New(netstack.Config{Addresses: a.Addresses})
	if err != nil {
		return attachment{}, err
	}
	return attachment{network: s, device: s.Device()}, nil
}
