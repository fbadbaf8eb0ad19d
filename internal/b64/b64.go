// Package b64 is tinc's base64, which is not that of RFC 4648: three bytes
// form a little-endian number, and its least significant six bits are written
// first. There is no padding.
//
// Keys on the wire and in files use the standard alphabet (+ and /), URLs and
// file names of invitations the URL-safe one (- and _).
package b64

import "fmt"

const (
	standard = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	urlSafe  = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	invalid  = 0xff
)

// digits maps a character of either alphabet to its value.
var digits = func() (t [256]byte) {
	for i := range t {
		t[i] = invalid
	}
	for i := range 64 {
		t[standard[i]] = byte(i)
		t[urlSafe[i]] = byte(i)
	}
	return t
}()

// EncodedLen returns how many characters n bytes become.
func EncodedLen(n int) int {
	full, rest := n/3*4, n%3
	if rest > 0 {
		rest++
	}
	return full + rest
}

// Encode returns b in the standard alphabet.
func Encode(b []byte) string {
	return string(appendWith(make([]byte, 0, EncodedLen(len(b))), b, standard))
}

// EncodeURL returns b in the URL-safe alphabet.
func EncodeURL(b []byte) string {
	return string(appendWith(make([]byte, 0, EncodedLen(len(b))), b, urlSafe))
}

// AppendEncode appends src in the standard alphabet to dst.
func AppendEncode(dst, src []byte) []byte { return appendWith(dst, src, standard) }

func appendWith(dst, src []byte, alphabet string) []byte {
	for len(src) >= 3 {
		v := uint(src[0]) | uint(src[1])<<8 | uint(src[2])<<16
		dst = append(dst, alphabet[v&63], alphabet[v>>6&63], alphabet[v>>12&63], alphabet[v>>18])
		src = src[3:]
	}
	switch len(src) {
	case 1:
		v := uint(src[0])
		dst = append(dst, alphabet[v&63], alphabet[v>>6])
	case 2:
		v := uint(src[0]) | uint(src[1])<<8
		dst = append(dst, alphabet[v&63], alphabet[v>>6&63], alphabet[v>>12])
	}
	return dst
}

// Decode returns the bytes of s. Both alphabets are understood, even mixed.
// As in tinc, unused high bits of the last character are ignored and a single
// left-over character is dropped; any character outside of the alphabets,
// padding and blanks included, is an error.
func Decode(s string) ([]byte, error) {
	out := make([]byte, 0, len(s)/4*3+2)
	var v, shift uint
	for i := 0; i < len(s); i++ {
		d := digits[s[i]]
		if d == invalid {
			return nil, fmt.Errorf("character %d of base64 text is not one of A-Z a-z 0-9 + / - _", i+1)
		}
		v |= uint(d) << shift
		if shift += 6; shift == 24 {
			out = append(out, byte(v), byte(v>>8), byte(v>>16))
			v, shift = 0, 0
		}
	}
	switch shift {
	case 12:
		out = append(out, byte(v))
	case 18:
		out = append(out, byte(v), byte(v>>8))
	}
	return out, nil
}
