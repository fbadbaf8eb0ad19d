//go:build unix

package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
)

const (
	maxWords  = 256         // bytes of a line that are passed on
	manyLines = 20          // are passed on at once,
	linePause = time.Second // and then one in this time
)

// relate passes on what comes out of r, line by line, until its end, and closes it. Long lines
// are cut. It goes on reading when there are too many, so that nobody waits for us.
func relate(r io.ReadCloser, said func(string)) {
	defer r.Close()
	in := bufio.NewReaderSize(r, maxWords)
	untold := 0
	tell := func(line string) {
		if untold > 0 {
			said(fmt.Sprintf("(%d lines were left out)", untold))
			untold = 0
		}
		if line != "" {
			said(line)
		}
	}
	left, last := float64(manyLines), time.Now()
	for within := false; ; { // a line whose beginning was passed on
		b, err := in.ReadSlice('\n')
		if line := printable(b); line != "" && !within {
			now := time.Now()
			left = min(manyLines, left+float64(now.Sub(last))/float64(linePause))
			last = now
			if left >= 1 {
				left--
				tell(line)
			} else {
				untold++
			}
		}
		within = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !within {
			tell("")
			return
		}
	}
}

// printable is b without what could do harm on a terminal.
func printable(b []byte) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, string(b)))
}
