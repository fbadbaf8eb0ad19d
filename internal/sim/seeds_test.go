package sim

import (
	"flag"
	"testing"
)

var moreFlag = flag.Uint64("more", 1, "try so many times as many seeds in the tests that have some of their own")

// seeds is the number of seeds of a test that tries n of them every day, and fewer under the
// race detector ("-short"), which does not find more in more of them.
func seeds(n uint64) uint64 {
	if testing.Short() {
		return max(1, n/5)
	}
	return n * *moreFlag
}
