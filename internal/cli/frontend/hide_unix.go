//go:build unix

package frontend

import (
	"os"
	"strings"
	"unsafe"
)

// hideArgument overwrites text where it stands on our command line, which every user of the machine can
// read for as long as we run. The strings of os.Args lie in that very memory, so whoever wants to
// keep text must have copied it. (FreeBSD and OpenBSD may show a copy of their own.)
func hideArgument(text string) {
	for _, arg := range os.Args[min(1, len(os.Args)):] {
		if text == "" || !strings.HasSuffix(arg, text) {
			continue
		}
		for _, before := range []string{"", "--token=", "-t", "-t="} {
			if arg == before+text {
				b := unsafe.Slice(unsafe.StringData(arg), len(arg))
				for i := len(before); i < len(b); i++ {
					b[i] = 'x'
				}
				break
			}
		}
	}
}
