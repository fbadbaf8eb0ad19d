package wire

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"unsafe"

	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

func load(t testing.TB, file string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// transcript returns the requests of a conversation between three tinc daemons.
func transcript(t testing.TB) (lines []string) {
	var v struct{ Messages []struct{ Text string } }
	load(t, "tinc11-transcript-three-nodes.json", &v)
	for _, m := range v.Messages {
		if m.Text != "" {
			lines = append(lines, strings.TrimSuffix(m.Text, "\n"))
		}
	}
	if len(lines) < 80 {
		t.Fatalf("only %d requests in the transcript", len(lines))
	}
	return lines
}

func TestRequestsOfTincReadAndWriteTheSame(t *testing.T) {
	for _, line := range transcript(t) {
		r, err := Parse(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if got := Text(r); got != line {
			t.Errorf("%q is written again as %q", line, got)
		}
	}
}

// behaviour returns single requests that were sent to a tinc daemon, and whether it
// closed the connection.
func behaviour(t testing.TB) map[string]bool {
	var v struct {
		Cases []struct {
			Request string
			Closed  bool
		}
	}
	load(t, "tinc11-request-behaviour.json", &v)
	lines := map[string]bool{}
	for _, c := range v.Cases {
		line, _, _ := strings.Cut(c.Request, " (")
		line, _, _ = strings.Cut(line, " followed by")
		switch {
		case strings.HasPrefix(c.Request, "(record without payload)"):
			lines[""] = c.Closed
		case line[0] >= '0' && line[0] <= '9':
			lines[line] = c.Closed
		}
	}
	if len(lines) < 30 {
		t.Fatalf("only %d requests", len(lines))
	}
	return lines
}

func TestErrorsAreThoseThatCloseTheConnectionInTinc(t *testing.T) {
	for line, closed := range behaviour(t) {
		if line == "7" { // TERMREQ closes because it says so
			closed = false
		}
		if _, err := Parse(line); (err != nil) != closed {
			t.Errorf("%q: error %v, tinc closes the connection: %v", line, err, closed)
		}
	}
}

func TestParse(t *testing.T) {
	addr := func(host, port string) Address { return ParseAddress(host, port) }
	mustSubnet := func(text string) subnet.Subnet {
		s, err := subnet.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	key := strings.Repeat("A", MaxField)
	for _, c := range []struct {
		name, line string
		want       Request // nil: an error
	}{
		{"ID without minor", "0 node 17", ID{"node", 17, 0, false}},
		{"ID of a control connection", "0 ^C00C1E 0", ID{"^C00C1E", 0, 0, false}},
		{"ID of an invitation", "0 ?key 17.1", ID{"?key", 17, 1, false}},
		{"the major of an ID has two digits", "0 node 177.5", ID{"node", 17, 0, false}},
		{"the minor of an ID has three digits", "0 node 17.12345", ID{"node", 17, 123, false}},
		{"a dot without a minor", "0 node 17.", ID{"node", 17, 0, false}},
		{"ID of one that has dialled while we did", "0 node 17.7 crossing", ID{"node", 17, 7, true}},
		{"ID with a surplus word", "0 node 17.7 cross", ID{"node", 17, 7, false}},
		{"ID without version", "0 node", nil},
		{"ID with a word for a version", "0 node x", nil},
		{"ID with a negative version", "0 node -1", nil},

		{"ACK", "4 655 12 700000c", Ack{655, 12, 0x700000c}},
		{"ACK with surplus words", "4 0 -3 0 and more", Ack{0, -3, 0}},
		{"ACK with a port out of range", "4 65536 1 0", nil},
		{"ACK without options", "4 655 1", nil},

		{"PING with surplus words", "8 are you there", Ping{}},
		{"PING with a newline", "8\n", Ping{}},
		{"PING with digests", "8 - - 0123456789abcdef -", Ping{"0123456789abcdef", NotCompared}},
		{"PING with digests of an earlier version", "8 0123 4567", Ping{}},
		{"PING with words that are too long", "8 - - " + strings.Repeat("a", 33) + " -", Ping{}},
		{"a second line counts as more words", "8\n8", Ping{}},
		{"blanks before the number", " 9", Pong{}},
		{"a number ends at the first character that is no digit", "9x", Pong{}},
		{"zero must come first", " 0 node 17", nil},
		{"a negative number", "-8", nil},
		{"a word instead of a number", "PING", nil},

		{"ADD_SUBNET", "10 3f0c8aa3 a 10.0.0.1/8#3", AddSubnet{0x3f0c8aa3, "a", mustSubnet("10.0.0.1/8#3")}},
		{"hexadecimal numbers may have 0x and capitals", "10 0xAB a 10.0.0.0/8", AddSubnet{0xab, "a", mustSubnet("10.0.0.0/8")}},
		{"a field begins where the number before ends", "14 1z", KeyChanged{1, "z"}},
		{"of a large nonce the low 32 bits count", "14 100000002 z", KeyChanged{2, "z"}},
		{"a nonce beyond 64 bits", "14 11111111111111111 z", KeyChanged{math.MaxUint32, "z"}},
		{"DEL_SUBNET", "11 1 a 02:00:00:00:00:01", DelSubnet{1, "a", mustSubnet("2:0:0:0:0:1")}},
		{"DEL_SUBNET without subnet", "11 1 a", nil},
		{"ADD_SUBNET with a bad subnet", "10 1 a 10.0.0.0/33", nil},
		{"ADD_SUBNET with a bad name", "10 1 a.b 10.0.0.0/8", nil},

		{"ADD_EDGE of tinc 1.0", "12 1 a b 1.2.3.4 655 c -5",
			AddEdge{Nonce: 1, From: "a", To: "b", Addr: addr("1.2.3.4", "655"), Options: 0xc, Weight: -5}},
		{"ADD_EDGE with a local address", "12 1 a b host port 700000c 5 unspec unspec",
			AddEdge{Nonce: 1, From: "a", To: "b", Addr: addr("host", "port"), Options: 0x700000c, Weight: 5, HasLocal: true}},
		{"ADD_EDGE with surplus words", "12 1 a b ::1 1 0 5 fe80::1 2 more",
			AddEdge{Nonce: 1, From: "a", To: "b", Addr: addr("::1", "1"), Weight: 5, Local: addr("fe80::1", "2"), HasLocal: true}},
		{"ADD_EDGE with half a local address", "12 1 a b ::1 1 0 5 fe80::1", nil},
		{"ADD_EDGE without weight", "12 1 a b ::1 1 0", nil},
		{"ADD_EDGE from a node to itself", "12 1 a a ::1 1 0 5", nil},
		{"DEL_EDGE", "13 1 a b", DelEdge{1, "a", "b"}},
		{"DEL_EDGE without to", "13 1 a", nil},

		{"REQ_KEY without subtype", "15 a b", ReqKey{From: "a", To: "b", Sub: SubNone}},
		{"REQ_KEY with subtype 0", "15 a b 0 x", ReqKey{From: "a", To: "b", Sub: SubNone}},
		{"REQ_KEY with a word for a subtype", "15 a b x", ReqKey{From: "a", To: "b", Sub: SubNone}},
		{"REQ_KEY asking for a key", "15 a b 19", ReqKey{From: "a", To: "b", Sub: SubAskKey}},
		{"REQ_KEY with data", "15 a b 21 " + key, ReqKey{From: "a", To: "b", Sub: SubData, Data: key}},
		{"a field is cut at its longest length", "15 a b 21 " + key + "A", ReqKey{From: "a", To: "b", Sub: SubData, Data: key}},
		{"REQ_KEY without to", "15 a", nil},

		{"ANS_KEY", "16 a b KEY -1 -1 -1 0",
			AnsKey{From: "a", To: "b", Key: "KEY", Cipher: -1, Digest: -1, MACLen: -1}},
		{"ANS_KEY with an address", "16 a b KEY 427 672 4 9 1.2.3.4 655",
			AnsKey{"a", "b", "KEY", 427, 672, 4, 9, addr("1.2.3.4", "655"), true}},
		{"ANS_KEY with half an address", "16 a b KEY 427 672 4 9 1.2.3.4",
			AnsKey{"a", "b", "KEY", 427, 672, 4, 9, Address{}, false}},
		{"an overlong key shifts the other fields", "16 a b " + key + "A -1 -1 -1 0", nil},
		{"ANS_KEY without compression", "16 a b KEY -1 -1 -1", nil},

		{"the shortest PACKET", "17 1", Packet{1}},
		{"the longest PACKET", "17 32767", Packet{32767}},
		{"an empty PACKET", "17 0", nil},
		{"a PACKET that is too long", "17 32768", nil},
		{"a PACKET of negative length", "17 -1", nil},
		{"SPTPS_PACKET", "21 117", SPTPSPacket{117}},
		{"an SPTPS_PACKET that is too long", "21 32768", nil},

		{"UDP_INFO", "22 a b 1.2.3.4 655", UDPInfo{"a", "b", addr("1.2.3.4", "655")}},
		{"UDP_INFO without port", "22 a b 1.2.3.4", nil},
		{"MTU_INFO of the smallest MTU", "23 a b 512", MTUInfo{"a", "b", 512}},
		{"MTU_INFO below the smallest MTU", "23 a b 511", nil},
		{"MTU_INFO above the largest MTU", "23 a b 1519", MTUInfo{"a", "b", 1518}},

		{"an empty request", "", nil},
		{"ROSTER", "24 AAEC", Roster{"\x00\x01\x02"}},
		{"a NUL byte ends the line", "23 a b 512\x00345", MTUInfo{"a", "b", 512}},
		{"a name after a NUL byte", "14 1 \x00z", nil},
		{"METAKEY belongs to the legacy login", "1 427 672 0 0 AB", nil},
		{"CONTROL belongs to control connections", "18 3", nil},
		{"REQ_PUBKEY is no request of its own", "19 a b", nil},
		{"a number nobody knows", "24", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.line)
			switch {
			case c.want == nil && err == nil:
				t.Errorf("%.80q is taken as %+v", c.line, got)
			case c.want != nil && (err != nil || got != c.want):
				t.Errorf("%.80q is taken as %+v, %v; want %+v", c.line, got, err, c.want)
			}
		})
	}
}

func TestAckKeyCarriesThePublicKey(t *testing.T) {
	key := keys.PublicKey{1, 2, 3}
	got, err := ParseAckKey(Text(AckKey{key}))
	if err != nil || got.Key != key {
		t.Errorf("%v, %v", got, err)
	}
	for _, line := range []string{"4", "4 655 1 700000c", "8 " + key.String(), "4 " + key.String()[1:]} {
		if k, err := ParseAckKey(line); err == nil {
			t.Errorf("%q is taken as %v", line, k)
		}
	}
}

func TestParsersInsistOnTheirNumber(t *testing.T) {
	if _, err := ParseDelEdge("12 1 a b"); err == nil {
		t.Error("an ADD_EDGE was read as DEL_EDGE")
	}
	if _, err := ParsePing("9"); err == nil {
		t.Error("a PONG was read as PING")
	}
}

func TestErrorsDoNotRepeatALongLine(t *testing.T) {
	for _, line := range []string{
		strings.Repeat("x", 60000), "10 1 " + strings.Repeat("-", 60000), "10 1 a " + strings.Repeat("1", 60000),
	} {
		if _, err := Parse(line); err == nil || len(err.Error()) > 250 {
			t.Errorf("%.20q: error of %d bytes", line, len(err.Error()))
		}
	}
}

func TestRequestsDoNotKeepTheLineInMemory(t *testing.T) {
	line := "12 1 alice bob some host 0 1 another host" + strings.Repeat(" ", 50000)
	r, err := ParseAddEdge(line)
	if err != nil {
		t.Fatal(err)
	}
	from := uintptr(unsafe.Pointer(unsafe.StringData(line)))
	host, port := r.Addr.Words()
	localHost, localPort := r.Local.Words()
	for _, s := range []string{string(r.From), string(r.To), host, port, localHost, localPort} {
		if p := uintptr(unsafe.Pointer(unsafe.StringData(s))); p >= from && p < from+uintptr(len(line)) {
			t.Errorf("%q shares memory with the line", s)
		}
	}
}

func TestOptions(t *testing.T) {
	o := (PMTUDiscovery | ClampMSS).WithMinor(7)
	if o != 0x700000c || o.Minor() != 7 || o.String() != "700000c" {
		t.Errorf("options %v, minor %d", o, o.Minor())
	}
	if o.Has(Indirect) || !o.Has(PMTUDiscovery|ClampMSS) || o.Has(PMTUDiscovery|TCPOnly) {
		t.Error("Has does not ask for all bits")
	}
	if o.WithMinor(300).Minor() != 300&0xff || o.WithMinor(0) != 0xc {
		t.Error("WithMinor touches other bits")
	}
}

// FuzzParse checks that whatever is understood is written such that it reads the same.
func FuzzParse(f *testing.F) {
	for _, line := range transcript(f) {
		f.Add(line)
	}
	for line := range behaviour(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		_, _ = ParseAckKey(line)
		r, err := Parse(line)
		if err != nil {
			return
		}
		if again, err := Parse(Text(r)); err != nil || again != r {
			t.Errorf("%q is %+v, written as %q, which is %+v, %v", line, r, Text(r), again, err)
		}
		if e, ok := r.(AddEdge); ok {
			if _, err := node.ParseName(string(e.From)); err != nil || len(Text(r)) > MaxLine {
				t.Errorf("edge %+v of %d bytes", e, len(Text(r)))
			}
		}
	})
}

func BenchmarkParseAddEdge(b *testing.B) {
	const line = "12 2631f673 alice bob 192.168.77.2 655 700000c 1 192.168.77.1 655"
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseAddEdge(line); err != nil {
			b.Fatal(err)
		}
	}
}
