// Package poll waits until one of a few descriptors can be read.
//
// The runtime's poller registers a descriptor for reading and writing at once, and reports each change. A socket that has
// sent a datagram becomes writable again when the network card is done with it, so each packet that is sent would wake a
// thread; and each packet that arrives would wake one while the goroutine that reads is at work anyway. A [Poller] is told
// only what it asks for, and only while it waits.
package poll

import "errors"

// ErrInterrupted is returned by [Poller.Wait] after [Poller.Interrupt].
var ErrInterrupted = errors.New("interrupted")

// MaxDescriptors is how many descriptors a Poller can wait for.
const MaxDescriptors = 64
