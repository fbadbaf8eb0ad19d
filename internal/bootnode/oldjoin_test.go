package bootnode

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"

	"tincan/internal/hostfile"
	"tincan/internal/node"
)

// fake is a boot node of tinc-boot that answers what it likes.
type fake func(r *http.Request) (status int, name string, body []byte)

func (f fake) RoundTrip(r *http.Request) (*http.Response, error) {
	io.Copy(io.Discard, r.Body)
	status, name, body := f(r)
	return &http.Response{StatusCode: status, Header: http.Header{"X-Node": {name}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// What a boot node of either old protocol answers a newcomer, sealed with the token or not: nothing of it
// is taken that is no host file of another node with a name that can be one.
func FuzzOldAnswers(f *testing.F) {
	host := []byte("Subnet = 10.0.0.1\nAddress = 192.0.2.1\n")
	list, _ := json.Marshal(archive{"boot": host, "alice": host})
	for _, second := range []bool{false, true} {
		for _, sealed := range []bool{false, true} {
			f.Add(second, sealed, uint16(200), "boot", host)
			f.Add(second, sealed, uint16(200), "../boot", list)
			f.Add(second, sealed, uint16(403), "", []byte("no"))
		}
	}
	secret := Secret{"a token"}
	key := secret.oldKey()
	u, err := ParseURL("192.0.2.1:8655")
	if err != nil {
		f.Fatal(err)
	}
	r := Request{Name: "alice", Host: []byte("Port = 655\n"), Token: secret, random: rand.Reader}
	f.Fuzz(func(t *testing.T, second, sealed bool, status uint16, name string, body []byte) {
		c := &http.Client{Transport: fake(func(req *http.Request) (int, string, []byte) {
			switch {
			case !sealed:
			case second:
				body, _ = seal2(rand.Reader, key, json.RawMessage(body))
			default:
				words := strings.Split(strings.Trim(req.URL.Path, "/"), "/")
				if n, ok := parseNonce(words[0]); ok {
					body = seal1(key, n, name, body)
				}
			}
			return int(status), name, body
		})}
		join := r.join1
		if second {
			join = r.join2
		}
		j, err := join(context.Background(), c, u)
		if err != nil {
			return
		}
		if status != 200 || !sealed {
			t.Fatalf("status %d, sealed %v: taken", status, sealed)
		}
		for n, file := range j.Hosts {
			if _, err := node.ParseName(string(n)); err != nil || n == r.Name || path.Base(string(n)) != string(n) {
				t.Errorf("a host file for %q", n)
			}
			_, _, _ = hostfile.Check(n, file, hostfile.Policy{KeyOptional: true})
		}
	})
}
