package wire

import (
	"reflect"
	"testing"
	"time"

	"tincan/internal/node"
)

func TestPathsFitIntoTheAnswer(t *testing.T) {
	list := []PathEntry{
		{To: node.ID{1}, Path: PathUDP, RTT: 12345 * time.Microsecond, Loss: 20, MTU: 1400, Age: 7},
		{To: node.ID{2}, Path: PathRelayed, Via: node.ID{1}, RTT: time.Second, Age: UnknownSince},
		{To: node.ID{3}, Path: PathTCP}, {To: node.ID{4}, Path: PathRelayedTCP, Via: node.ID{9}}, {To: node.ID{5}, Path: PathNoKey},
	}
	for _, c := range []struct{ room, n int }{{2, 0}, {20, 0}, {21, 1}, {45, 1}, {46, 2}, {64, 2}, {65, 3}, {1000, 5}} {
		data, n := AppendPaths(nil, list, c.room)
		got, err := ParsePaths(append(data, 0, 0, 0))
		if n != c.n || len(data) > c.room || err != nil || !reflect.DeepEqual(got, append([]PathEntry{}, list[:n]...)) {
			t.Errorf("%d bytes: %d entries, %d bytes, %v, %v", c.room, n, len(data), err, got)
		}
	}
	if _, n := AppendPaths(nil, []PathEntry{{To: node.ID{1}, Path: PathUDP, RTT: time.Hour * 10000, Loss: 5000, MTU: 1 << 20}}, 100); n != 1 {
		t.Error("values that are too large are cut")
	}
}

func FuzzParsePaths(f *testing.F) {
	data, _ := AppendPaths(nil, []PathEntry{{To: node.ID{1}, Path: PathUDP}, {To: node.ID{2}, Path: PathRelayed, Via: node.ID{3}}}, 1000)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ParsePaths(data)
		if err != nil {
			return
		}
		again, n := AppendPaths(nil, list, 1<<20)
		back, err := ParsePaths(again)
		if n != len(list) || err != nil || !reflect.DeepEqual(back, list) {
			t.Errorf("%v became %v (%v)", list, back, err)
		}
	})
}
