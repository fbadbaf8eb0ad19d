package etcd

import (
	"encoding/json"
	"math"
	"strconv"
)

// Txn is a transaction: if all keys have the revisions that If says, then all of Then happens, otherwise all of Else.
type Txn struct {
	If         []At
	Then, Else []Op
}

// At is a key and the revision of its last change; 0: there is no such key.
type At struct {
	Key      string
	Revision int64
}

// Op is one step of a transaction: a [Get], [Put] or [Delete].
type Op interface{ op() any }

// Get reads a key, or with End all keys from Key to before End, in order.
type Get struct {
	Key, End  string
	Limit     int   // at most so many; 0: all
	Since     int64 // only those that were changed at this revision or later; 0: all
	Revision  int64 // as they were at this revision; 0: as they are
	CountOnly bool  // only their number
}

// Put sets a key.
type Put struct {
	Key   string
	Value []byte
}

// Delete deletes a key, or with End all keys from Key to before End.
type Delete struct{ Key, End string }

// Below is the End of a range of all keys that begin with prefix, which does not end with a byte of value 255.
func Below(prefix string) string {
	return prefix[:len(prefix)-1] + string(prefix[len(prefix)-1]+1)
}

// The messages as JSON has them: bytes in base64, 64-bit numbers as text.

type rangeMessage struct {
	Key       []byte `json:"key"`
	End       []byte `json:"range_end,omitempty"`
	Limit     int64  `json:"limit,omitempty,string"`
	Revision  int64  `json:"revision,omitempty,string"`
	Since     int64  `json:"min_mod_revision,omitempty,string"`
	CountOnly bool   `json:"count_only,omitempty"`
}

func (g Get) op() any {
	return map[string]rangeMessage{"request_range": {
		Key: []byte(g.Key), End: []byte(g.End), Limit: int64(g.Limit), Revision: g.Revision, Since: g.Since, CountOnly: g.CountOnly,
	}}
}

func (p Put) op() any {
	return map[string]any{"request_put": map[string][]byte{"key": []byte(p.Key), "value": p.Value}}
}

func (d Delete) op() any {
	m := map[string][]byte{"key": []byte(d.Key)}
	if d.End != "" {
		m["range_end"] = []byte(d.End)
	}
	return map[string]any{"request_delete_range": m}
}

type compareMessage struct {
	Target   string `json:"target"`
	Result   string `json:"result"`
	Key      []byte `json:"key"`
	Revision int64  `json:"mod_revision,string"`
}

type txnMessage struct {
	Compare []compareMessage `json:"compare,omitempty"`
	Success []any            `json:"success,omitempty"`
	Failure []any            `json:"failure,omitempty"`
}

func (t Txn) message() (m txnMessage) {
	for _, at := range t.If {
		m.Compare = append(m.Compare, compareMessage{"MOD", "EQUAL", []byte(at.Key), at.Revision})
	}
	for _, o := range t.Then {
		m.Success = append(m.Success, o.op())
	}
	for _, o := range t.Else {
		m.Failure = append(m.Failure, o.op())
	}
	return m
}

// Result is what has become of a transaction.
type Result struct {
	Cluster  uint64 // its id
	Revision int64  // of the whole store
	Then     bool   // Then has happened; otherwise Else
	Gets     []Range
}

// Range is the answer to a [Get]. They are in the order of those.
type Range struct {
	Pairs []Pair
	More  bool  // there are more keys than Limit
	Count int64 // how many keys there are
}

// Pair is a key and its value.
type Pair struct {
	Key      string
	Value    []byte
	Revision int64 // of its last change
}

// number is a 64-bit number, which is text in JSON; a bare number will do, too.
type number int64

func (n *number) UnmarshalJSON(b []byte) error {
	if len(b) >= 2 && b[0] == '"' {
		b = b[1 : len(b)-1]
	}
	v, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil {
		u, unsigned := strconv.ParseUint(string(b), 10, 64) // an id
		if unsigned != nil {
			return err
		}
		v = int64(u)
	}
	*n = number(v)
	return nil
}

// parse reads the answer to a transaction.
func parse(data []byte) (r Result, err error) {
	var m struct {
		Header struct {
			Cluster  number `json:"cluster_id"`
			Revision number `json:"revision"`
		} `json:"header"`
		Succeeded bool `json:"succeeded"`
		Responses []struct {
			Range *struct {
				KVs []struct {
					Key      []byte `json:"key"`
					Value    []byte `json:"value"`
					Revision number `json:"mod_revision"`
				} `json:"kvs"`
				More  bool   `json:"more"`
				Count number `json:"count"`
			} `json:"response_range"`
		} `json:"responses"`
	}
	if json.Unmarshal(data, &m) != nil || m.Header.Revision <= 0 || m.Header.Revision == math.MaxInt64 {
		return r, errMalformed
	}
	r = Result{Cluster: uint64(m.Header.Cluster), Revision: int64(m.Header.Revision), Then: m.Succeeded}
	for _, response := range m.Responses {
		if response.Range == nil {
			continue
		}
		one := Range{More: response.Range.More, Count: int64(response.Range.Count)}
		for _, kv := range response.Range.KVs {
			if len(kv.Key) == 0 || kv.Revision <= 0 {
				return Result{}, errMalformed
			}
			one.Pairs = append(one.Pairs, Pair{string(kv.Key), kv.Value, int64(kv.Revision)})
		}
		r.Gets = append(r.Gets, one)
	}
	return r, nil
}
