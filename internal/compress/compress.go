// Package compress packs and unpacks the payload of data packets with the
// algorithms that tinc numbers by level.
//
//	0      none
//	1..9   zlib streams (RFC 1950) of that level
//	10,11  LZO1X blocks, packed quickly or well
//	12     LZ4 blocks; only tinc 1.1 knows this level
//
// The decoder depends only on the family: what was packed with level 9 is unpacked
// by level 1, too.
package compress

import "errors"

// None is the level of data that is left alone, MaxLevel the largest one, and
// MaxLegacy the largest one that tinc 1.0 knows.
const (
	None      = 0
	maxZlib   = 9
	lzoQuick  = 10
	lzoWell   = 11
	MaxLegacy = lzoWell
	MaxLevel  = 12
)

// wellPlaces is how many earlier places level 11 compares for each match.
const wellPlaces = 64

// Errors of this package.
var (
	ErrLevel   = errors.New("no such compression level")
	ErrCorrupt = errors.New("the compressed data is damaged")
	ErrTooLong = errors.New("the decompressed data is too long")
)

// Supported tells whether level can be used in both directions.
func Supported(level int) bool { return level >= None && level <= MaxLevel }

// Compress appends src, packed with level, to dst. The result may be longer than
// src. It is safe for concurrent use.
func Compress(level int, dst, src []byte) ([]byte, error) {
	switch {
	case !Supported(level):
		return dst, ErrLevel
	case level == None:
		return append(dst, src...), nil
	case level <= maxZlib:
		return deflate(level, dst, src), nil
	case level == lzoQuick:
		return packLZO(dst, src, 1), nil
	case level == lzoWell:
		return packLZO(dst, src, wellPlaces), nil
	}
	return packLZ4(dst, src), nil
}

// Decompress appends src, unpacked, to dst. More than limit bytes are an error,
// and then what is returned is dst. It is safe for concurrent use.
func Decompress(level int, dst, src []byte, limit int) ([]byte, error) {
	switch {
	case !Supported(level):
		return dst, ErrLevel
	case level == None:
		if len(src) > limit {
			return dst, ErrTooLong
		}
		return append(dst, src...), nil
	case level <= maxZlib:
		return inflate(dst, src, limit)
	case level > lzoWell:
		return unLZ4(dst, src, limit)
	}
	out, err := unLZO(dst, src, limit)
	if err != nil {
		return dst, err
	}
	return out, nil
}
