//go:build amd64 || arm64

package chapoly

// tagInPasses makes a tag of some groups during passes and of the others after them.
func tagInPasses(key *[32]byte, msg []byte) (tag [Overhead]byte) {
	k := newInterleaved(new([KeySize]byte))
	k.poly.key = *key
	done := k.poly.start(msg, len(msg))
	for range 2 {
		if len(msg) >= longTag {
			var buf [1]byte
			_, tagged := k.next(buf[:], buf[:], msg[done:])
			done += tagged
		}
	}
	k.poly.finish(&tag, msg[done:])
	return tag
}
