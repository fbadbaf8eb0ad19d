package launch

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"tincan/internal/process"
)

// The fast path allocates nothing and what a node holds is small, so collecting garbage earlier than usual costs next
// to nothing, and somebody who has us remember a lot makes the process grow by a quarter of that. A node that starts
// allocates 5 MiB, of which nearly all stays: to collect that would cost a third of the processor time, so it has 8 MiB.
const gcPercent, gcPercentAtStart = 25, 200

const (
	// settled is how long after its start a node has its connections, as a rule.
	settled = 5 * time.Second
	// resting is when garbage of the start is collected that has not been until then. To do it sooner would take more processor
	// time than all else that an idle node does in its first minute.
	resting = 10 * time.Minute
)

// setGCPercent sets the percentage, unless the environment (GOGC) does.
func setGCPercent(percent int) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
}

// collectLate has garbage collected late at the start, but only once: a node that needs so much memory is not one that just starts.
func collectLate() {
	setGCPercent(gcPercentAtStart)
	sentinel := new([16]byte) // not so small that it shares its place with others
	runtime.SetFinalizer(sentinel, func(*[16]byte) { setGCPercent(gcPercent) })
}

// saveMemory returns what only the start needed, and collects garbage early once the node has settled.
func saveMemory(ctx context.Context) {
	if !wait(ctx, settled) {
		return
	}
	_ = process.ReleaseProgram() // where that cannot be done the process is larger
	if !wait(ctx, resting-settled) {
		return
	}
	setGCPercent(gcPercent)
	debug.FreeOSMemory()
}

// wait waits for so long, and tells whether ctx has not ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
