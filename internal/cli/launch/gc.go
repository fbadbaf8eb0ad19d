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
// to nothing, and somebody who has us remember a lot makes the process grow by a quarter of that. While a node starts it
// would cost a third of the processor time, for a heap that nearly all stays.
const gcPercent, gcPercentAtStart = 25, 400

// settled is how long after its start a node has its connections, as a rule.
const settled = 5 * time.Second

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

// saveMemory collects garbage early once the node has settled, and returns what only the start needed.
func saveMemory(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(settled):
	}
	setGCPercent(gcPercent)
	debug.FreeOSMemory()
	_ = process.ReleaseProgram() // where that cannot be done the process is larger
}
