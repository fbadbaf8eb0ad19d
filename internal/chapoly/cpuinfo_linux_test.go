package chapoly

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// The kernel says independently of this package what the processor can do: nobody
// would notice otherwise that records are sealed slowly.
func TestTheBestImplementationIsUsed(t *testing.T) {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Skip("no /proc/cpuinfo: ", err)
	}
	flags := strings.Fields(string(b))
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(name string) bool { return !slices.Contains(flags, name) })
	}
	want := "*chapoly.library"
	switch {
	case runtime.GOARCH == "arm64", runtime.GOARCH == "amd64" && has("avx2", "bmi2") && !has("avx512f", "avx512bw", "avx512vl"):
		want = "*chapoly.interleaved"
	case runtime.GOARCH == "amd64" && has("avx2", "bmi2"):
		want = "*chapoly.wide"
	}
	if got := fmt.Sprintf("%T", New(make([]byte, KeySize)).impl); got != want {
		t.Errorf("%s is used on this processor, want %s", got, want)
	}
	if len(kernels()) == 0 && want != "*chapoly.library" {
		t.Error("the tests of kernels have run for none")
	}
}
