package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// pretend is an etcd that answers as told.
func pretend(t *testing.T, answer http.HandlerFunc) (endpoint string) {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// nobody is an endpoint that refuses connections.
func nobody(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

const good = `{"header":{"cluster_id":"18446744073709551615","revision":"7"},"succeeded":true,"responses":[
	{"response_put":{}},{"response_range":{"kvs":[{"key":"YQ==","value":"Yg==","mod_revision":"5"}],"more":true,"count":"9"}}]}`

// silent answers nothing, until whoever asks has gone.
func silent(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that it has
	<-r.Context().Done()
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(text)) }
}

func TestWhatIsSentAndRead(t *testing.T) {
	var sent map[string]any
	c := New(Config{Endpoints: []string{pretend(t, func(w http.ResponseWriter, r *http.Request) {
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil || r.URL.Path != "/v3/kv/txn" || r.Method != "POST" {
			t.Errorf("%s %s: %v", r.Method, r.URL.Path, err)
		}
		w.Write([]byte(good))
	})}})
	r, err := c.Do(t.Context(), Txn{
		If:   []At{{"k", 3}},
		Then: []Op{Put{"k", []byte("v")}, Get{Key: "p/", End: Below("p/"), Limit: 2, Since: 1 << 60}},
		Else: []Op{Delete{Key: "k"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `map[compare:[map[key:aw== mod_revision:3 result:EQUAL target:MOD]] failure:[map[request_delete_range:map[key:aw==]]] ` +
		`success:[map[request_put:map[key:aw== value:dg==]] map[request_range:map[key:cC8= limit:2 min_mod_revision:1152921504606846976 range_end:cDA=]]]]`
	if got := fmt.Sprint(sent); got != want {
		t.Errorf("sent\n%s, not\n%s", got, want)
	}
	if got := fmt.Sprintf("%+v", r); got != "{Cluster:18446744073709551615 Revision:7 Then:true Gets:[{Pairs:[{Key:a Value:[98] Revision:5}] More:true Count:9}]}" {
		t.Errorf("read %s", got)
	}
}

func TestAnotherMemberIsAsked(t *testing.T) {
	var asked [3]atomic.Int32
	count := func(i int, h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { asked[i].Add(1); h(w, r) }
	}
	noLeader := pretend(t, count(0, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte(`{"error":"etcdserver: no leader","code":14,"message":"etcdserver: no leader"}`))
	}))
	hangs := pretend(t, count(1, silent))
	works := pretend(t, count(2, says(good)))
	c := New(Config{Endpoints: []string{noLeader, hangs, nobody(t), works}, Attempt: 2 * time.Second})
	for range 3 {
		if _, err := c.Do(t.Context(), Txn{}); err != nil {
			t.Fatal(err)
		}
	}
	if asked[0].Load() != 1 || asked[1].Load() != 1 || asked[2].Load() != 3 {
		t.Errorf("asked %d, %d and %d times: who has answered is asked first", asked[0].Load(), asked[1].Load(), asked[2].Load())
	}
}

func TestWhyNobodyAnswers(t *testing.T) {
	gone := nobody(t)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"no etcd":       {says("<html>"), "not one of etcd 3"},
		"no revision":   {says("{}"), "not one of etcd 3"},
		"no gateway":    {http.NotFound, "enable-grpc-gateway"},
		"too long":      {says(strings.Repeat(" ", maxAnswer+1)), "more than"},
		"elsewhere":     {http.RedirectHandler("http://192.0.2.1/", http.StatusFound).ServeHTTP, "302"},
		"a bare status": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "500"},
		"slow":          {silent, "takes too long"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := New(Config{Endpoints: []string{gone, pretend(t, c.answer)}, Attempt: time.Second})
			_, err := client.Do(context.Background(), Txn{Then: []Op{Put{"k", []byte("a secret")}}})
			var down *UnavailableError
			if !errors.As(err, &down) || len(down.Members) != 2 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%v", err)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "http:") {
				t.Errorf("the error says %v", err)
			}
		})
	}
}

// After all have failed nobody is asked for a moment, so that a crowd of newcomers does not wait one after the other.
func TestACrowdDoesNotWaitForTheDead(t *testing.T) {
	var asked atomic.Int32
	c := New(Config{Endpoints: []string{pretend(t, func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); w.WriteHeader(500) })}})
	for range 100 {
		if _, err := c.Do(t.Context(), Txn{}); err == nil {
			t.Fatal("it works")
		}
	}
	if n := asked.Load(); n > 50 {
		t.Errorf("asked %d times", n)
	}
	c.until = time.Time{} // the moment is over
	if _, err := c.Do(t.Context(), Txn{}); err == nil || asked.Load() < 2 {
		t.Errorf("%v after %d questions", err, asked.Load())
	}
}

// A refusal is an answer: the next member would say the same.
func TestARefusalIsFinal(t *testing.T) {
	denies := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		w.Write([]byte(`{"error":"etcdserver: permission denied","code":7,"message":"etcdserver: permission denied"}`))
	}
	c := New(Config{Endpoints: []string{pretend(t, denies), pretend(t, says(good))}})
	var e *Error
	if _, err := c.Do(t.Context(), Txn{}); !errors.As(err, &e) || e.Code != 7 || !strings.Contains(err.Error(), "permission denied") {
		t.Error(err)
	}
}

func TestAUserLogsInAgain(t *testing.T) {
	logins, valid := 0, ""
	c := New(Config{User: "boot", Password: "secret", Endpoints: []string{pretend(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/v3/auth/authenticate":
			var who struct{ Name, Password string }
			if json.NewDecoder(r.Body).Decode(&who) != nil || who.Name != "boot" || who.Password != "secret" {
				t.Errorf("%+v", who)
			}
			logins++
			valid = fmt.Sprintf("token%d", logins)
			fmt.Fprintf(w, `{"header":{},"token":%q}`, valid)
		case r.Header.Get("Authorization") != valid || valid == "":
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"code":16,"message":"etcdserver: invalid auth token"}`))
		default:
			w.Write([]byte(good))
		}
	})}})
	for range 3 {
		for range 2 {
			if _, err := c.Do(t.Context(), Txn{}); err != nil {
				t.Fatal(err)
			}
		}
		valid = "" // it was restarted
	}
	if logins != 3 {
		t.Errorf("%d logins", logins)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{good, `{}`, `{"header":{"revision":"1"}}`, `{"header":{"revision":-1}}`, `{"header":{"revision":7},"responses":[{},null]}`,
		`{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":[{"key":"","mod_revision":"1"}]}}]}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parse(data)
		if err != nil {
			if len(r.Gets) != 0 {
				t.Error("an error and an answer")
			}
			return
		}
		if r.Revision <= 0 {
			t.Errorf("revision %d", r.Revision)
		}
		for _, g := range r.Gets {
			for _, p := range g.Pairs {
				if p.Key == "" || p.Revision <= 0 {
					t.Errorf("%+v", p)
				}
			}
		}
		refusal(500, data)
	})
}
