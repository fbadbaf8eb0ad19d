package wire

import (
	"encoding/base64"
	"errors"
)

// MaxRoster is the longest message that a [Roster] can carry, in bytes.
const MaxRoster = 1200

// Roster carries a message about the roster between neighbours that announce
// [RosterExchange]: "24 DATA", in base64. tinc does not know it.
type Roster struct {
	Data string // 1 to MaxRoster bytes, any
}

func (r Roster) Append(dst []byte) []byte {
	return base64.RawStdEncoding.AppendEncode(begin(dst, KindRoster), []byte(r.Data))
}

var errRosterData = errors.New("not 1 to 1200 bytes in base64")

// ParseRoster reads a ROSTER. The result does not share memory with line.
func ParseRoster(line string) (Roster, error) {
	f := open(line, KindRoster)
	word := f.word("data")
	data, err := base64.RawStdEncoding.Strict().DecodeString(word)
	if f.err == nil && (err != nil || len(data) == 0 || len(data) > MaxRoster) {
		f.fail("data", errRosterData)
	}
	return done(f, Roster{string(data)})
}
