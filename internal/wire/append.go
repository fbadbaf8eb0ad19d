package wire

import "strconv"

func number(dst []byte, k Kind) []byte { return strconv.AppendInt(dst, int64(k), 10) }

// begin appends the number and the blank after it.
func begin(dst []byte, k Kind) []byte { return append(number(dst, k), ' ') }

func appendWord(dst []byte, w string) []byte { return append(append(dst, ' '), w...) }

func appendInt(dst []byte, v int) []byte { return strconv.AppendInt(append(dst, ' '), int64(v), 10) }

func appendHex(dst []byte, v uint32) []byte {
	return strconv.AppendUint(append(dst, ' '), uint64(v), 16)
}

// done returns r, or the zero value with the error that f met.
func done[R any](f fields, r R) (R, error) {
	if f.err != nil {
		var zero R
		return zero, f.err
	}
	return r, nil
}
