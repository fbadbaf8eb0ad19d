package launch

import (
	"os"
	"runtime/debug"
)

// The fast path allocates nothing and what a node holds is small, so collecting garbage earlier than usual costs next
// to nothing, and somebody who has us remember a lot makes the process grow by a quarter of that.
const gcPercent = 25

// saveMemory sets that, unless the environment (GOGC) says otherwise.
func saveMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}
