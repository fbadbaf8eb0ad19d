package sptps

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"tincan/internal/b64"
	"tincan/internal/keys"
)

func load(t testing.TB, file string, v any) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPRFLikeTinc(t *testing.T) {
	var v struct {
		Cases []struct{ Secret, Seed, Output string }
	}
	load(t, "tinc11-prf.json", &v)
	for _, c := range v.Cases {
		if got := hex.EncodeToString(prf(unhex(t, c.Secret), unhex(t, c.Seed), len(c.Output)/2)); got != c.Output {
			t.Errorf("prf(%s, %s) = %s", c.Secret, c.Seed, got)
		}
	}
}

func TestWindowLikeTinc(t *testing.T) {
	var v struct {
		Cases []struct {
			Bytes int    `json:"window_bytes"`
			Start uint32 `json:"start_expected_seqno"`
			Steps []struct {
				Seqno         uint32
				Accept        bool
				VerifyOnly    bool   `json:"verify_only"`
				ExpectedAfter uint64 `json:"expected_after"`
				FarAfter      int    `json:"farfuture_after"`
			}
		}
	}
	load(t, "tinc11-replay-window.json", &v)
	for i, c := range v.Cases {
		w := tincWindow(c.Bytes, c.Start)
		for j, s := range c.Steps {
			if got := w.Check(s.Seqno); got != s.VerifyOnly {
				t.Errorf("case %d step %d: Check(%d) = %v", i, j, s.Seqno, got)
			}
			if got := w.Accept(s.Seqno); got != s.Accept {
				t.Errorf("case %d step %d: Accept(%d) = %v", i, j, s.Seqno, got)
			}
			if w.next != s.ExpectedAfter || w.far != s.FarAfter {
				t.Errorf("case %d step %d: next %d far %d, want %d and %d", i, j, w.next, w.far, s.ExpectedAfter, s.FarAfter)
			}
		}
	}
}

// session is a recorded conversation of the real program, with its secrets.
type session struct {
	Mode, Label      string
	InitiatorPrivate string `json:"initiator_private"`
	InitiatorPublic  string `json:"initiator_public"`
	ResponderPrivate string `json:"responder_private"`
	ResponderPublic  string `json:"responder_public"`
	Events           []struct {
		From, What, Payload, Wire string
		Type                      byte
	}
	Eph1I string `json:"initiator_ephemeral_private"`
	Eph1R string `json:"responder_ephemeral_private"`
	Eph2I string `json:"rekey_initiator_ephemeral_private"`
	Eph2R string `json:"rekey_responder_ephemeral_private"`
}

func sessions(t testing.TB) []session {
	var v struct{ Sessions []session }
	load(t, "tinc11-sptps.json", &v)
	return v.Sessions
}

// privateKey makes a key of its expanded form and public point.
func privateKey(t testing.TB, expanded string, public []byte) *keys.PrivateKey {
	t.Helper()
	// The file format is the only way in for an expanded key.
	body := b64.Encode(append(unhex(t, expanded), public...))
	k, err := keys.ParsePrivatePEM([]byte("-----BEGIN ED25519 PRIVATE KEY-----\n" + body + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// replayed returns the handshake of one side, with the nonces and ephemeral
// keys of the recording.
func (v session) replayed(t testing.TB, initiator bool) handshake {
	t.Helper()
	from, own, ownPub, peerPub, ephs := "responder", v.ResponderPrivate, v.ResponderPublic, v.InitiatorPublic, []string{v.Eph1R, v.Eph2R}
	if initiator {
		from, own, ownPub, peerPub, ephs = "initiator", v.InitiatorPrivate, v.InitiatorPublic, v.ResponderPublic, []string{v.Eph1I, v.Eph2I}
	}
	var nonces []byte
	var ephemerals []*keys.PrivateKey
	for _, e := range v.Events {
		if e.From == from && strings.HasSuffix(e.What, "KEX") {
			kex := unhex(t, e.Payload)
			nonces = append(nonces, kex[1:33]...)
			ephemerals = append(ephemerals, privateKey(t, ephs[len(ephemerals)], kex[33:]))
		}
	}
	hs, err := newHandshake(Config{
		Initiator: initiator,
		Key:       privateKey(t, own, unhex(t, ownPub)),
		Peer:      keys.PublicKey(unhex(t, peerPub)),
		Label:     unhex(t, v.Label),
		Rand:      bytes.NewReader(nonces),
	})
	if err != nil {
		t.Fatal(err)
	}
	hs.newEphemeral = func(io.Reader) (*keys.PrivateKey, error) {
		k := ephemerals[0]
		ephemerals = ephemerals[1:]
		return k, nil
	}
	return hs
}

func TestStreamsLikeTinc(t *testing.T) {
	for _, v := range sessions(t) {
		if v.Mode != "stream" {
			continue
		}
		label := strings.TrimRight(string(unhex(t, v.Label)), "\x00")
		t.Run(label, func(t *testing.T) { replayStream(t, v) })
	}
}

// replayStream plays both sides of a recording; what each one sends must be
// what was recorded, byte for byte.
func replayStream(t *testing.T, v session) {
	sides := map[string]*Stream{}
	sent := map[string][]byte{} // bytes each side sent and that were not yet found in the recording
	for _, from := range []string{"initiator", "responder"} {
		s, kex, err := startStream(v.replayed(t, from == "initiator"))
		if err != nil {
			t.Fatal(err)
		}
		sides[from], sent[from] = s, kex
	}
	for _, e := range v.Events {
		from, to := sides[e.From], sides[other(e.From)]
		var err error
		switch {
		case e.What == "rekey KEX" && e.From == "responder":
			sent[e.From], err = from.Rekey()
		case e.Type < 128:
			sent[e.From], err = from.AppendRecord(sent[e.From], e.Type, unhex(t, e.Payload))
		}
		if err != nil {
			t.Fatalf("%s: %v", e.What, err)
		}
		wire := unhex(t, e.Wire)
		if !bytes.HasPrefix(sent[e.From], wire) {
			t.Fatalf("%s of %s: sent %x, recorded %x", e.What, e.From, sent[e.From], wire)
		}
		sent[e.From] = sent[e.From][len(wire):]
		ev := feed(t, to, wire)
		sent[other(e.From)] = append(sent[other(e.From)], ev.Out...)
		if ev.HasRecord != (e.Type < 128) || ev.HasRecord && (ev.Type != e.Type || hex.EncodeToString(ev.Data) != e.Payload) {
			t.Fatalf("%s of %s was taken as %+v", e.What, e.From, ev)
		}
	}
	for from, rest := range sent {
		if len(rest) > 0 || !sides[from].Established() {
			t.Errorf("%s: established %v, %d bytes too many", from, sides[from].Established(), len(rest))
		}
	}
}

// feed gives a whole record to s byte by byte and returns its event.
func feed(t *testing.T, s *Stream, record []byte) StreamEvent {
	t.Helper()
	for i := range record {
		n, _, err := s.Next(record[:i])
		if n != 0 || err != nil {
			t.Fatalf("%d of %d bytes: consumed %d, %v", i, len(record), n, err)
		}
	}
	n, ev, err := s.Next(record)
	if n != len(record) || err != nil {
		t.Fatalf("consumed %d of %d, %v", n, len(record), err)
	}
	return ev
}

func other(side string) string {
	if side == "initiator" {
		return "responder"
	}
	return "initiator"
}

func TestDatagramsLikeTinc(t *testing.T) {
	for _, v := range sessions(t) {
		if v.Mode == "datagram" {
			replayDatagram(t, v)
		}
	}
}

func replayDatagram(t *testing.T, v session) {
	sides := map[string]*Datagram{}
	sent := map[string][][]byte{}
	for _, from := range []string{"initiator", "responder"} {
		d, kex, err := startDatagram(v.replayed(t, from == "initiator"))
		if err != nil {
			t.Fatal(err)
		}
		sides[from], sent[from] = d, [][]byte{kex}
	}
	for _, e := range v.Events {
		from, to := sides[e.From], sides[other(e.From)]
		plain := append([]byte{e.Type}, unhex(t, e.Payload)...)
		switch {
		case e.What == "rekey KEX" && e.From == "responder":
			out, err := from.Rekey()
			if err != nil {
				t.Fatal(err)
			}
			sent[e.From] = out
		case e.Type < 128:
			sent[e.From] = append(sent[e.From], from.Tunnel().Seal(nil, plain))
		}
		wire := unhex(t, e.Wire)
		if len(sent[e.From]) == 0 || !bytes.Equal(sent[e.From][0], wire) {
			t.Fatalf("%s of %s: sent %x, recorded %x", e.What, e.From, sent[e.From], wire)
		}
		sent[e.From] = sent[e.From][1:]
		if e.Type < 128 {
			if !to.Tunnel().Check(wire) {
				t.Fatalf("%s of %s would be refused", e.What, e.From)
			}
			got, err := to.Tunnel().Open([]byte("head"), wire)
			if err != nil || !bytes.Equal(got, append([]byte("head"), plain...)) {
				t.Fatalf("%s of %s was opened to %x, %v", e.What, e.From, got, err)
			}
			if to.Tunnel().Check(wire) {
				t.Fatalf("%s of %s would be accepted twice", e.What, e.From)
			}
			continue
		}
		out, _, err := to.Handshake(wire)
		if err != nil {
			t.Fatalf("%s of %s: %v", e.What, e.From, err)
		}
		sent[other(e.From)] = append(sent[other(e.From)], out...)
	}
	for from, d := range sides {
		if len(sent[from]) > 0 || !d.Established() || d.Rekeying() {
			t.Errorf("%s: not finished", from)
		}
	}
}

// tincWindow returns tinc's window with the given width in bytes of bitmap (8
// records each), for a session in which next is the first number expected.
func tincWindow(width int, next uint32) Window {
	return newWindow(8*width, next, width/4)
}
