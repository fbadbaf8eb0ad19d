package compress

import (
	"slices"
	"sync"

	"github.com/pierrec/lz4/v4"
)

var lz4Packers = sync.Pool{New: func() any { return new(lz4.Compressor) }}

// packLZ4 appends an LZ4 block with the contents of src to dst.
func packLZ4(dst, src []byte) []byte {
	p := lz4Packers.Get().(*lz4.Compressor)
	defer lz4Packers.Put(p)
	begin := len(dst)
	bound := lz4.CompressBlockBound(len(src))
	dst = slices.Grow(dst, bound)[:begin+bound]
	n, err := p.CompressBlock(src, dst[begin:])
	if err != nil || n == 0 {
		return lz4Literals(dst[:begin], src)
	}
	return dst[:begin+n]
}

// lz4Literals appends an LZ4 block that holds src as it is: what the library
// leaves to its caller when nothing is to be gained.
func lz4Literals(dst, src []byte) []byte {
	n := len(src)
	if n < 15 {
		dst = append(dst, byte(n<<4))
	} else {
		dst = append(dst, 0xf0)
		for n -= 15; n >= 255; n -= 255 {
			dst = append(dst, 255)
		}
		dst = append(dst, byte(n))
	}
	return append(dst, src...)
}

// unLZ4 appends the contents of the block in src to dst.
func unLZ4(dst, src []byte, limit int) ([]byte, error) {
	if len(src) == 0 {
		return dst, ErrCorrupt
	}
	begin := len(dst)
	out := slices.Grow(dst, limit)[:begin+limit]
	n, err := lz4.UncompressBlock(src, out[begin:])
	if err != nil { // damaged, or too long: the library does not tell
		return dst, ErrCorrupt
	}
	return out[:begin+n], nil
}
