package members

import (
	"fmt"
	"testing"

	"tincan/internal/node"
)

func TestANodeThatSendsVeryMuchDelaysNobody(t *testing.T) {
	b := newInbox()
	for i := range 10 * share {
		b.put(message{"flood", fmt.Append(nil, i)})
	}
	b.put(message{"calm", []byte("0")})
	b.put(message{"calm", []byte("1")})
	var got []string
	count := map[node.Name]int{}
	for {
		m, ok := b.take()
		if !ok {
			break
		}
		if string(m.data) != fmt.Sprint(count[m.from]) {
			t.Errorf("%s: message %s after %d others", m.from, m.data, count[m.from])
		}
		count[m.from]++
		got = append(got, string(m.from))
	}
	if count["flood"] != share || count["calm"] != 2 {
		t.Errorf("%v were kept", count)
	}
	if want := []string{"flood", "calm", "flood", "calm"}; fmt.Sprint(got[:4]) != fmt.Sprint(want) {
		t.Errorf("order %v, want %v", got[:4], want)
	}
	if len(b.from) != 0 {
		t.Errorf("an empty inbox holds %v", b.from)
	}
}
