package roster

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tincan/internal/keys"
)

// MaxFile is the size of the largest file that [Decode] reads, in bytes: all that can be
// stored or dormant, in base64.
const MaxFile = (MaxBytes+maxDormantBytes)/3*4 + MaxStatements*2

// fileHeader begins the first line of a file, which ends in the network id.
const fileHeader = "tincan-roster 1 "

// Encode appends the file form of r: a line with the format and the network id, then one line
// of base64 for each statement, in an order that depends on the statements alone. Statements
// that are dormant are in it, those that wait are not.
func (r *Roster) Encode(dst []byte) []byte {
	r.settle()
	dst = append(dst, fileHeader...)
	dst = append(dst, r.network.String()...)
	dst = append(dst, '\n')
	for _, kind := range slices.Sorted(maps.Keys(r.kinds)) {
		for _, e := range r.kinds[kind] {
			if e.place != waiting {
				dst = base64.StdEncoding.AppendEncode(dst, e.raw)
				dst = append(dst, '\n')
			}
		}
	}
	return dst
}

// Decode reads a file. Each statement in it is verified again. A line that is no statement is
// left out, and counted: the neighbours have what is missing. An error means that not even the
// first line could be read, which says what network this is.
func Decode(b []byte) (r *Roster, bad int, err error) {
	return DecodeBy(b, func(n int, do func(i int)) {
		for i := range n {
			do(i)
		}
	})
}

// DecodeBy is [Decode] for somebody who can do several things at once, since it takes a while to verify the signatures of a
// large file. each calls do with 0 to n-1, in any order, and returns when all calls have.
func DecodeBy(b []byte, each func(n int, do func(i int))) (r *Roster, bad int, err error) {
	network, rest, err := decodeHead(b)
	if err != nil {
		return nil, 0, err
	}
	r = New(network)
	for _, e := range r.readLines(rest, each) {
		if e == nil {
			bad++
			continue
		}
		if _, result := r.known(e); result.ID == e.id {
			continue
		}
		if _, result := r.take(e); result.Err() != nil {
			bad++
		}
	}
	r.settle()
	r.rememberWaiting()
	return r, bad, nil
}

// Update takes in what is new in a file of the same network: what is known is not verified again. Lines that are no statements
// are left out, and counted.
func (r *Roster) Update(b []byte) (bad int, err error) {
	network, rest, err := decodeHead(b)
	switch {
	case err != nil:
		return 0, err
	case network != r.network:
		return 0, fmt.Errorf("reading the roster: it is that of another network: %v", network)
	}
	for _, line := range linesOf(rest) {
		raw, err := decodeLine(line)
		if err == nil {
			_, result := r.offer(raw)
			err = result.Err()
		}
		if err != nil {
			bad++
		}
	}
	r.settle()
	r.rememberWaiting()
	return bad, nil
}

// decodeHead reads the first line of a file.
func decodeHead(b []byte) (network ID, rest []byte, err error) {
	if len(b) > MaxFile {
		return ID{}, nil, fmt.Errorf("reading the roster: %d bytes instead of at most %d", len(b), MaxFile)
	}
	first, rest, _ := bytes.Cut(b, []byte("\n"))
	text, ok := strings.CutPrefix(strings.TrimSuffix(string(first), "\r"), fileHeader)
	if !ok {
		return ID{}, nil, fmt.Errorf("reading the roster: the first line is not %q and a network id; hint: a newer version may have written it", fileHeader)
	}
	if network, err = ParseID(text); err != nil {
		return ID{}, nil, fmt.Errorf("reading the roster: %w", err)
	}
	return network, rest, nil
}

// linesOf returns the lines that are not blank.
func linesOf(b []byte) (lines [][]byte) {
	for line := range bytes.Lines(b) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
		}
	}
	return lines
}

func decodeLine(line []byte) ([]byte, error) {
	return base64.StdEncoding.Strict().AppendDecode(nil, line)
}

// readLines returns the statements of the lines after the first, nil for one that is none or not signed rightly.
func (r *Roster) readLines(rest []byte, each func(n int, do func(i int))) []*entry {
	lines := linesOf(rest)
	entries := make([]*entry, len(lines))
	each(len(lines), func(i int) {
		if raw, err := decodeLine(lines[i]); err == nil {
			entries[i], _ = r.read(raw)
		}
	})
	signers := map[keys.PublicKey]bool{} // few have signed most; true: the key is a good one
	for _, e := range entries {
		if e == nil {
			continue
		}
		if _, known := signers[e.Signer]; !known {
			signers[e.Signer] = e.Signer.Valid() == nil
		}
	}
	each(len(lines), func(i int) {
		if e := entries[i]; e != nil && (!signers[e.Signer] || e.verify() != nil) {
			entries[i] = nil
		}
	})
	return entries
}

// rememberWaiting makes dormant what was read from a file and has no ground: it had, or it
// would not be in the file.
func (r *Roster) rememberWaiting() {
	for _, e := range r.byID {
		if e.place == waiting {
			r.move(e, dormant)
		}
	}
}

// Clone returns a copy with a life of its own.
func (r *Roster) Clone() *Roster {
	r.settle()
	c := New(r.network)
	c.seq, c.usage, c.state = r.seq, r.usage, r.state
	for id, e := range r.byID {
		copied := *e
		c.byID[id] = &copied
		c.slots[e.slot] = &copied
	}
	for kind, list := range r.kinds {
		copied := make([]*entry, len(list))
		for i, e := range list {
			copied[i] = c.byID[e.id]
		}
		c.kinds[kind] = copied
	}
	return c
}
