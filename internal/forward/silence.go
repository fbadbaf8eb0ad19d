package forward

import "time"

// A node that receives datagrams from us and sends none back, or the UDP path to it, may be down. These
// are the bounds of dead-path detection, the same in the data plane and in the simulator.
const (
	// SilentAfter is how long a node may be silent before that is reported.
	SilentAfter = 100 * time.Millisecond
	// SilentEvery is the least time between two reports of one silence.
	SilentEvery = 100 * time.Millisecond
	// ForgetSilent is the length of a silence after which nothing more is reported of it.
	ForgetSilent = 10 * time.Second
	// LargeEvery is the least time between two reports of large frames to one node.
	LargeEvery = 250 * time.Millisecond
	// LargeFrame is the largest frame, in bytes, that passes every path and is not reported.
	LargeFrame = 600
)

// Silence is what follows from how long a node has been silent.
type Silence uint8

// The conclusions.
const (
	SilenceShort  Silence = iota // too early to say
	SilenceReport                // report it, at most every SilentEvery
	SilenceOver                  // stop: it has been reported often enough
)

// JudgeSilence decides by the time since the first unanswered datagram.
func JudgeSilence(d time.Duration) Silence {
	switch {
	case d > ForgetSilent:
		return SilenceOver
	case d >= SilentAfter:
		return SilenceReport
	}
	return SilenceShort
}
