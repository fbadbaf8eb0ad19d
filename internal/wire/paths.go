package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"tincan/internal/node"
)

// A node that is asked how it reaches others (an echo of kind [EchoPathsAsked]) answers with one of kind [EchoPaths], which is no longer
// than the request. The hop of the request is the node after whose id the answer begins. It has the nodes in the order of
// their ids, and is flagged [EchoMore] if there are more than fit. In the place of the filling:
//
//	count be16, then for each node
//	 0      6      7                 +6       +4        +6       +8
//	┌──────┬──────┬─────────────────┬────────┬─────────┬────────┬────────────┐
//	│ id 6 │ path │ relay, id 6, if │ RTT µs │ loss ‰  │ MTU    │ for how    │
//	│      │      │ PathRelayed     │ be32   │ be16    │ be16   │ many s be32│
//	└──────┴──────┴─────────────────┴────────┴─────────┴────────┴────────────┘
//
// Nodes with which it has nothing to do are left out.

// The paths of an entry.
const (
	PathUDP        = 1 // directly by UDP
	PathTCP        = 2 // over the meta connection with it
	PathRelayed    = 3 // through a relay, by UDP to there
	PathRelayedTCP = 4 // through a relay, or the next node, by TCP to there
	PathNoKey      = 5 // nothing passes: its key is not known
)

// UnknownSince is the age of a path that is not known.
const UnknownSince = math.MaxUint32

// PathEntry is how a node reaches another one.
type PathEntry struct {
	To   node.ID
	Path byte
	Via  node.ID       // the relay, with PathRelayed and PathRelayedTCP
	RTT  time.Duration // 0: not measured
	Loss int           // of 1,000 probes
	MTU  int           // bytes of IP packet, 0: not known
	Age  uint32        // seconds that it has been so, or [UnknownSince]
}

const (
	pathsHead  = 2
	leastEntry = 6 + 1 + 4 + 2 + 2 + 4
)

func (e *PathEntry) size() int {
	if e.relayed() {
		return leastEntry + 6
	}
	return leastEntry
}

func (e *PathEntry) relayed() bool { return e.Path == PathRelayed || e.Path == PathRelayedTCP }

// AppendPaths appends as many entries as fit into room bytes, and returns how many.
func AppendPaths(dst []byte, list []PathEntry, room int) (out []byte, n int) {
	at := len(dst)
	dst = append(dst, 0, 0)
	for room -= pathsHead; n < len(list) && n < math.MaxUint16; n++ {
		e := &list[n]
		if room -= e.size(); room < 0 {
			break
		}
		dst = append(append(dst, e.To[:]...), e.Path)
		if e.relayed() {
			dst = append(dst, e.Via[:]...)
		}
		dst = binary.BigEndian.AppendUint32(dst, uint32(min(max(e.RTT.Microseconds(), 0), math.MaxUint32)))
		dst = binary.BigEndian.AppendUint16(dst, uint16(min(max(e.Loss, 0), 1000)))
		dst = binary.BigEndian.AppendUint16(dst, uint16(min(max(e.MTU, 0), math.MaxUint16)))
		dst = binary.BigEndian.AppendUint32(dst, e.Age)
	}
	binary.BigEndian.PutUint16(dst[at:], uint16(n))
	return dst, n
}

// errPaths: the data is no list of paths.
var errPaths = errors.New("list of paths is cut off")

// ParsePaths reads what [AppendPaths] has written. What follows is filling.
func ParsePaths(data []byte) ([]PathEntry, error) {
	if len(data) < pathsHead {
		return nil, errPaths
	}
	n := int(binary.BigEndian.Uint16(data))
	data = data[pathsHead:]
	if n*leastEntry > len(data) {
		return nil, errPaths
	}
	list := make([]PathEntry, 0, n)
	for range n {
		if len(data) < leastEntry {
			return nil, errPaths
		}
		e := PathEntry{To: node.ID(data), Path: data[6]}
		if e.Path == 0 || e.Path > PathNoKey {
			return nil, fmt.Errorf("unknown path %d", e.Path)
		}
		if len(data) < e.size() {
			return nil, errPaths
		}
		data = data[7:]
		if e.relayed() {
			e.Via, data = node.ID(data), data[6:]
		}
		e.RTT = time.Duration(binary.BigEndian.Uint32(data)) * time.Microsecond
		e.Loss = min(int(binary.BigEndian.Uint16(data[4:])), 1000)
		e.MTU, e.Age = int(binary.BigEndian.Uint16(data[6:])), binary.BigEndian.Uint32(data[8:])
		data = data[12:]
		if k := len(list); k > 0 && string(list[k-1].To[:]) >= string(e.To[:]) {
			return nil, errors.New("list of paths is not in order")
		}
		list = append(list, e)
	}
	return list, nil
}
