// Package scan reads numbers and words the way C's scanf does.
//
// tinc's parsers are scanf formats, so what they tolerate (leading blanks, signs, 0x,
// a field that begins right where a number ends) is part of the protocol. Each
// function takes the text still to be read and returns what follows the item.
// After a failure rest is not to be used.
package scan

import (
	"math"
	"strings"
)

// Blanks are the characters that separate words.
const Blanks = " \t\n\v\f\r"

// Int reads a decimal number as %d does, at most width characters of it (0: no
// limit) after leading blanks. A number beyond 64 bits becomes the largest or smallest one of
// 64 bits; then the lowest 32 bits are taken.
func Int(text string, width int) (v int, rest string, ok bool) {
	text = strings.TrimLeft(text, Blanks)
	end := len(text)
	if width > 0 && width < end {
		end = width
	}
	neg, i := sign(text[:end])
	limit := uint64(math.MaxInt64)
	if neg {
		limit++
	}
	start, n := i, uint64(0)
	for ; i < end && text[i] >= '0' && text[i] <= '9'; i++ {
		if d := uint64(text[i] - '0'); n > (limit-d)/10 {
			n = limit
		} else {
			n = n*10 + d
		}
	}
	if neg {
		n = -n
	}
	return int(int32(n)), text[i:], i > start
}

// Hex reads a hexadecimal number as %x does: a sign and 0x are allowed. A number
// beyond 64 bits becomes the largest one. The caller takes as many low bits as
// the field has.
func Hex(text string) (v uint64, rest string, ok bool) {
	text = strings.TrimLeft(text, Blanks)
	neg, i := sign(text)
	if i+1 < len(text) && text[i] == '0' && text[i+1]|0x20 == 'x' {
		i += 2
	}
	start, tooLarge := i, false
	for ; i < len(text); i++ {
		d := hexDigit(text[i])
		if d < 0 {
			break
		}
		tooLarge = tooLarge || v>>60 != 0
		v = v<<4 | uint64(d)
	}
	switch {
	case tooLarge:
		v = math.MaxUint64
	case neg:
		v = -v
	}
	return v, text[i:], i > start
}

// Word reads at most width bytes up to the next blank, as %s does. The word shares
// memory with text.
func Word(text string, width int) (word, rest string, ok bool) {
	text = strings.TrimLeft(text, Blanks)
	end := strings.IndexAny(text, Blanks)
	if end < 0 {
		end = len(text)
	}
	end = min(end, width)
	return text[:end], text[end:], end > 0
}

func sign(text string) (neg bool, n int) {
	if text != "" && (text[0] == '-' || text[0] == '+') {
		return text[0] == '-', 1
	}
	return false, 0
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return int(c|0x20-'a') + 10
	}
	return -1
}
