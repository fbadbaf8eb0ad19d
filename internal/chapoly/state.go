//go:build amd64 || arm64

package chapoly

import (
	"encoding/binary"
	"math/bits"
)

const (
	blockSize = 64 // of ChaCha20, in bytes
	// scratchSize is how much of a record is deciphered before its tag is checked:
	// what one pass with AVX-512 makes beside the key of the tag.
	scratchSize = 23 * blockSize
)

// initialState returns the state of ChaCha20 for key, without the numbers of record
// and block.
func initialState(key *[KeySize]byte) (state [16]uint32) {
	copy(state[:], []uint32{0x61707865, 0x3320646e, 0x79622d32, 0x6b206574}) // "expand 32-byte k"
	for i := range 8 {
		state[4+i] = binary.LittleEndian.Uint32(key[4*i:])
	}
	return state
}

// setNumber makes state that of block 0 of record n.
func setNumber(state *[16]uint32, n uint64) {
	state[12], state[13] = 0, 0
	state[14], state[15] = bits.ReverseBytes32(uint32(n>>32)), bits.ReverseBytes32(uint32(n))
}
