// Package compress packs and unpacks the payload of data packets with the
// algorithms that tinc numbers by level.
//
//	0      none
//	1..9   zlib streams (RFC 1950) of that level
//	10,11  LZO1X blocks
//
// LZO is read completely; what is written in it are valid blocks that hold the
// data as it is. LZ4, which only tinc 1.1 has (12), is not here.
package compress

import "errors"

// None is the level of data that is left alone; the largest level is LZO's.
const (
	None     = 0
	maxZlib  = 9
	lzoFast  = 10
	MaxLevel = 11
)

// ErrLevel means that a level is not one of those that we have.
var ErrLevel = errors.New("no such compression level")

// Supported tells whether level can be used in both directions.
func Supported(level int) bool { return level >= None && level <= MaxLevel }

// Compress appends src, packed with level, to dst. The result may be longer than
// src. It is safe for concurrent use.
func Compress(level int, dst, src []byte) ([]byte, error) {
	if !Supported(level) {
		return dst, ErrLevel
	}
	return append(dst, src...), nil
}

// Decompress appends src, unpacked, to dst. More than limit bytes are an error.
// It is safe for concurrent use.
func Decompress(level int, dst, src []byte, limit int) ([]byte, error) {
	if !Supported(level) {
		return dst, ErrLevel
	}
	return append(dst, src...), nil
}
