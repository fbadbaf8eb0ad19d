// Command gen writes the assembly of chapoly, for amd64 and arm64. Run it in the
// package's directory with "go run ./gen"; it has no dependencies.
//
// No instruction's operands or addresses depend on keys or data, only on lengths.
package main

import (
	"fmt"
	"os"
)

func main() {
	for name, text := range files() {
		if err := os.WriteFile(name, text, 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// files returns what is written, by name.
func files() map[string][]byte {
	return map[string][]byte{"kernel_amd64.s": amd64(), "kernel_arm64.s": arm64()}
}

func amd64() []byte {
	begin()
	data("counters", 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0) // of the blocks in a group
	data("four", 4, 0, 0, 0)
	chacha512(6)
	chacha512(2)
	poly512()
	vectors256()
	pass256()
	short256()
	poly4()
	return end()
}

func arm64() []byte {
	begin()
	data("counters", 0, 1, 2, 3) // of the blocks in a pass
	data("rotate8", 0x02010003, 0x06050407, 0x0a09080b, 0x0e0d0c0f)
	passNEON()
	poly4ARM()
	return end()
}
