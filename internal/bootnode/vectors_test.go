package bootnode

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"tincan/internal/limit"
	"tincan/internal/node"
	"tincan/internal/rate"
)

type recorded struct {
	Token string `json:"token"`
	Key   string `json:"key_hex"`
	Nonce string `json:"nonce_hex"`

	Request, Response struct {
		Line     string   `json:"line"`
		Headers  []string `json:"headers"`
		Name     string   `json:"associated_data"`
		Plain    plainOf  `json:"plain"`
		Sealed   []byte   `json:"cipher_and_tag_b64"`
		OwnNonce string   `json:"nonce_hex"`
		JSON     string   `json:"plain_json"`
		Body     []byte   `json:"body_b64"`
	}
}

func recordings(t *testing.T, name string) []recorded {
	t.Helper()
	var v struct{ Vectors []recorded }
	vectors(t, name, &v)
	if len(v.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	return v.Vectors
}

func (r recorded) pathAndMethod(t *testing.T) (method, path string) {
	words := strings.Fields(r.Request.Line)
	if len(words) != 3 {
		t.Fatalf("request line %q", r.Request.Line)
	}
	return words[0], words[1]
}

// The recorded requests of the original get the recorded answers, byte for byte.
func TestGeneration1AnswersAsRecorded(t *testing.T) {
	for _, v := range recordings(t, "tinc-boot-exchange.json") {
		t.Run(v.Response.Name+" lets "+v.Request.Name+" in", func(t *testing.T) {
			secret := secretOf(t, v.Token)
			if key := secret.oldKey(); hex.EncodeToString(key[:]) != v.Key {
				t.Fatalf("key %x", key)
			}
			b := newBoot(t, Generation1)
			b.server.Network.Name, b.server.Network.Ranges = node.Name(v.Response.Name), nil
			b.must(os.Rename(b.layout.Host("boot"), b.layout.Host(node.Name(v.Response.Name))))
			b.must(os.WriteFile(b.layout.Host(node.Name(v.Response.Name)), v.Response.Plain.bytes(), 0o644))
			_, err := b.store.Add(secret, Limits{Uses: 1, Old: true})
			b.must(err)

			method, path := v.pathAndMethod(t)
			status, header, body := b.do(method, path, v.Request.Sealed)
			if status != 200 || !bytes.Equal(body, v.Response.Sealed) {
				t.Errorf("status %d, body %x", status, body)
			}
			for _, h := range v.Response.Headers {
				if name, value, _ := strings.Cut(h, ": "); header.Get(name) != value {
					t.Errorf("header %s is %q instead of %q", name, header.Get(name), value)
				}
			}
			if got := b.hosts()[v.Request.Name]; got != string(v.Request.Plain.bytes()) {
				t.Errorf("stored %q", got)
			}
		})
	}
}

// Our newcomer sends what the original sent, and understands what it got.
func TestGeneration1AsksAsRecorded(t *testing.T) {
	for _, v := range recordings(t, "tinc-boot-exchange.json") {
		t.Run(v.Request.Name, func(t *testing.T) {
			method, path := v.pathAndMethod(t)
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body bytes.Buffer
				body.ReadFrom(r.Body)
				if r.Method != method || r.URL.Path != path || !bytes.Equal(body.Bytes(), v.Request.Sealed) {
					t.Errorf("%s %s, body %x", r.Method, r.URL.Path, body.Bytes())
				}
				w.Header().Set("X-Node", v.Response.Name)
				w.Write(v.Response.Sealed)
			}))
			defer s.Close()
			u, err := ParseURL(strings.TrimPrefix(s.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			nonce, _ := hex.DecodeString(v.Nonce)
			j, err := join(t, Request{
				URLs: []URL{u}, Token: secretOf(t, v.Token), Protocol: Generation1, Name: node.Name(v.Request.Name), Host: v.Request.Plain.bytes(),
				random: bytes.NewReader(nonce),
			})
			if err != nil || string(j.Boot) != v.Response.Name || string(j.Hosts[j.Boot]) != string(v.Response.Plain.bytes()) {
				t.Errorf("%+v, %v", j, err)
			}
		})
	}
}

// What the original let in and we do not, and why.
var hardened1 = map[string]int{
	"nonce of an earlier message, other name":      403, // replay
	"the same bytes again":                         403, // replay: it was 400 because of the file
	"name with one lower-case letter among others": 403,
	"name with a space":                            403,
	"name with a line break":                       403,
	"name with a NUL":                              403,
	"name not ASCII":                               403,
	"name of 255 bytes":                            403, // there must be room for what programs put after a name
	"name of 256 bytes":                            403,
	"empty plain text":                             400,
	"plain text that is no host file":              400,
	"new nonce, name taken":                        200, // the same file under the same name: somebody who missed the answer
}

func TestGeneration1RefusesAsRecorded(t *testing.T) {
	var v struct {
		Token string
		Boot  string `json:"boot_node"`
		File  string `json:"boot_host_file"`
		Cases []struct {
			Case, Method, Path string
			Body               []byte `json:"request_body_b64"`
			Status             any
			Headers            []string `json:"response_headers"`
			Answer             string   `json:"response_body"`
			Sealed             []byte   `json:"response_body_b64"`
		}
	}
	vectors(t, "tinc-boot-exchange-errors.json", &v)
	b := newBoot(t, Generation1)
	b.server.failures = limit.Buckets{Limit: rate.Limit{Burst: 100, Every: 1}}
	b.server.Network.Name, b.server.Network.Ranges = node.Name(v.Boot), mustPrefix("10.0.0.0/8")
	b.must(os.Rename(b.layout.Host("boot"), b.layout.Host(node.Name(v.Boot))))
	b.must(os.WriteFile(b.layout.Host(node.Name(v.Boot)), []byte(v.File), 0o644))
	_, err := b.store.Add(secretOf(t, v.Token), Limits{Uses: Unlimited, Old: true})
	b.must(err)
	same := 0
	for i, c := range v.Cases {
		t.Run(c.Case+" "+c.Method+" "+strconv.Itoa(i), func(t *testing.T) {
			// The cases share one subnet, which only one node may have.
			for name := range b.hosts() {
				if name != v.Boot && name != "alpha1" {
					os.Remove(b.layout.Host(node.Name(name)))
				}
			}
			want, _ := strconv.Atoi(strings.TrimSpace(toText(c.Status)))
			if hard, ok := hardened1[c.Case]; ok {
				want = hard
			} else {
				same++
			}
			if want == 200 && c.Case != "fresh name" && c.Case != "new nonce, name taken" {
				os.Remove(b.layout.Host("alpha1"))
			}
			status, header, body := b.do(c.Method, c.Path, c.Body)
			if status != want {
				t.Fatalf("status %d instead of %d: %q", status, want, body)
			}
			if _, ok := hardened1[c.Case]; ok {
				return
			}
			if answer := strings.ReplaceAll(c.Answer, "<DIR>/", ""); c.Answer != "" && string(body) != answer || c.Sealed != nil && !bytes.Equal(body, c.Sealed) {
				t.Errorf("body %q", body)
			}
			for _, h := range c.Headers {
				name, value, _ := strings.Cut(h, ": ")
				if name != "Content-Length" && header.Get(name) != value {
					t.Errorf("header %s is %q instead of %q", name, header.Get(name), value)
				}
			}
		})
	}
	if same < 15 {
		t.Errorf("only %d cases are answered like the original", same)
	}
}

func toText(v any) string {
	data, _ := json.Marshal(v)
	return strings.Trim(string(data), `"`)
}

func TestGeneration2AnswersAsRecorded(t *testing.T) {
	for _, v := range recordings(t, "tinc-boot-envelope.json") {
		var sent envelope
		if err := json.Unmarshal([]byte(v.Request.JSON), &sent); err != nil {
			t.Fatal(err)
		}
		var want archive
		if err := json.Unmarshal([]byte(v.Response.JSON), &want); err != nil {
			t.Fatal(err)
		}
		t.Run("let "+sent.Name+" in", func(t *testing.T) {
			b := newBoot(t, Generation2)
			b.server.Network.Ranges = nil
			own := ""
			for name, file := range want {
				if name != sent.Name {
					b.must(os.WriteFile(b.layout.Host(node.Name(name)), file, 0o644))
					own = name
				}
			}
			b.must(os.Remove(b.layout.Host("boot")))
			b.server.Network.Name = node.Name(own)
			_, err := b.store.Add(secretOf(t, v.Token), Limits{Uses: 1, Old: true})
			b.must(err)
			method, path := v.pathAndMethod(t)
			status, _, body := b.do(method, path, v.Request.Body)
			plain, err := open2(secretOf(t, v.Token).oldKey(), body)
			if status != 200 || err != nil {
				t.Fatalf("status %d, %v", status, err)
			}
			var got archive
			if err := json.Unmarshal(plain, &got); err != nil || len(got) != len(want) {
				t.Fatalf("%d host files, %v", len(got), err)
			}
			for name, file := range want {
				if !bytes.Equal(got[name], file) {
					t.Errorf("%s: %q", name, got[name])
				}
			}
		})
		t.Run("ask as "+sent.Name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var body bytes.Buffer
				body.ReadFrom(r.Body)
				if r.Method+" "+r.URL.Path != "POST /" || !bytes.Equal(body.Bytes(), v.Request.Body) {
					t.Errorf("%s %s, body %x", r.Method, r.URL.Path, body.Bytes())
				}
				w.Write(v.Response.Body)
			}))
			defer s.Close()
			u, _ := ParseURL(s.URL)
			nonce, _ := hex.DecodeString(v.Request.OwnNonce)
			j, err := join(t, Request{
				URLs: []URL{u}, Token: secretOf(t, v.Token), Protocol: Generation2, Name: node.Name(sent.Name), Host: sent.Config,
				random: bytes.NewReader(nonce),
			})
			if err != nil || len(j.Hosts) != len(want)-1 {
				t.Errorf("%d hosts, %v", len(j.Hosts), err)
			}
		})
	}
}

// What the original let in and we do not, and why.
var hardened2 = map[string]string{
	"no config":      "is empty",                        // an empty file
	"fresh":          "172.16.9.9/32 belongs to envlow", // all have the same subnet
	"dup overwrite":  "is empty",                        // a remark in place of the file of a known node
	"PUT other path": "172.16.9.9/32 belongs to envlow",
	"8192 exact":     "more than 1023 bytes", // of one line
}

func TestGeneration2RefusesAsRecorded(t *testing.T) {
	var v struct {
		Vectors []struct{ Token string }
		Cases   []struct {
			Case         string
			RequestHead  string `json:"request_head"`
			RequestBody  []byte `json:"request_body_b64"`
			ResponseHead string `json:"response_head"`
			ResponseBody []byte `json:"response_body_b64"`
		} `json:"error_cases"`
	}
	vectors(t, "tinc-boot-envelope.json", &v)
	b := newBoot(t, Generation2)
	b.server.failures = limit.Buckets{Limit: rate.Limit{Burst: 100, Every: 1}}
	b.server.Network.Ranges = nil
	_, err := b.store.Add(secretOf(t, v.Vectors[0].Token), Limits{Uses: Unlimited, Old: true})
	b.must(err)
	for _, c := range v.Cases {
		t.Run(c.Case, func(t *testing.T) {
			words := strings.Fields(c.RequestHead)
			want, _ := strconv.Atoi(strings.Fields(c.ResponseHead)[1])
			status, header, body := b.do(words[0], words[1], c.RequestBody)
			if why, ok := hardened2[c.Case]; ok {
				if status != 403 || !strings.Contains(string(body), why) {
					t.Errorf("status %d, %q", status, body)
				}
				return
			}
			if want == 200 {
				if plain, err := open2(secretOf(t, v.Vectors[0].Token).oldKey(), body); status != 200 || err != nil || !strings.Contains(string(plain), `"boot":`) {
					t.Errorf("status %d, %q, %v", status, plain, err)
				}
				return
			}
			if status != want || want != 500 && !bytes.Equal(body, c.ResponseBody) {
				t.Errorf("status %d instead of %d, %q", status, want, body)
			}
			if header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("type %q", header.Get("Content-Type"))
			}
		})
	}
}
