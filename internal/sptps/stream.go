package sptps

import (
	"encoding/binary"
	"fmt"

	"tincan/internal/chapoly"
	"tincan/internal/hybrid"
)

// MaxData is the longest data of one record, in bytes.
const MaxData = 65535

// streamHeader is the length in front of a record.
const streamHeader = 2

// Stream is a session over a byte stream. It is not safe for concurrent use.
type Stream struct {
	hs        handshake
	out, in   cipher // nil while records are clear
	outN, inN uint64 // next record numbers
	plain     []byte // the last opened record
	err       error  // first failure; a stream cannot recover

	// The second key exchange (package hybrid). It belongs to the beginning: there are no application records before
	// it is complete. The initiator switches both directions after its ANSWER, the responder when it has that.
	ready  bool           // application records may be sent
	offer  *hybrid.Offer  // of the responder
	answer *hybrid.Answer // of the initiator, until it is confirmed
	keys   hybrid.Keys
	second bool // keys are in use
}

// StreamEvent is what one record led to.
type StreamEvent struct {
	Out       []byte // bytes to send to the peer, owned by the caller
	Done      bool   // this record completed the first key exchange, and the second one if there is one
	HasRecord bool   // Type and Data hold an application record
	Type      byte   // 0..127
	Data      []byte // valid until the next call of Next; may be empty
}

// NewStream starts a session. kex must be sent to the peer first of all.
func NewStream(cfg Config) (s *Stream, kex []byte, err error) {
	hs, err := newHandshake(cfg)
	if err != nil {
		return nil, nil, err
	}
	return startStream(hs)
}

func startStream(hs handshake) (*Stream, []byte, error) {
	s := &Stream{hs: hs}
	kex, err := s.hs.begin()
	if err != nil {
		return nil, nil, err
	}
	out, err := s.appendRecord(nil, typeHandshake, kex)
	return s, out, err
}

// Established tells whether the first key exchange is complete, and the second one if there is one, from when on
// application records can be sent and received.
func (s *Stream) Established() bool { return s.ready }

// Hybrid returns the outcome of the second key exchange; ok is false if there was none.
func (s *Stream) Hybrid() (keys hybrid.Keys, ok bool) { return s.keys, s.second }

// Next takes at most one record from the front of in and says how many bytes
// that was; 0 without an error means that more bytes are needed. After an
// error the connection must be closed; every later call returns the same.
func (s *Stream) Next(in []byte) (consumed int, ev StreamEvent, err error) {
	if s.err != nil {
		return 0, StreamEvent{}, s.err
	}
	consumed, ev, err = s.next(in)
	if err != nil {
		s.err = err
		return 0, StreamEvent{}, err
	}
	return consumed, ev, nil
}

func (s *Stream) next(in []byte) (int, StreamEvent, error) {
	if len(in) < streamHeader {
		return 0, StreamEvent{}, nil
	}
	size := int(binary.BigEndian.Uint16(in))
	body := 1 + size
	if s.in != nil {
		body += chapoly.Overhead
	} else if size > kexSize {
		return 0, StreamEvent{}, fmt.Errorf("%w: %d bytes in the key exchange", ErrTooLong, size)
	}
	total := streamHeader + body
	if len(in) < total {
		return 0, StreamEvent{}, nil
	}
	record, err := s.open(in[streamHeader:total])
	if err != nil {
		return 0, StreamEvent{}, err
	}
	ev, err := s.dispatch(record[0], record[1:])
	return total, ev, err
}

// open returns type and data of a record body.
func (s *Stream) open(body []byte) ([]byte, error) {
	n := s.inN
	if n > maxNumber {
		return nil, ErrExhausted
	}
	s.inN++
	if s.in == nil {
		return body, nil
	}
	plain, err := s.in.Open(s.plain[:0], body, n)
	if err != nil {
		return nil, ErrOpen
	}
	s.plain = plain
	return plain, nil
}

func (s *Stream) dispatch(typ byte, data []byte) (StreamEvent, error) {
	switch {
	case typ == typeHandshake:
		return s.handshake(data)
	case typ == typeHybrid && s.hs.exporter != nil && s.hs.established:
		return s.hybridMessage(data)
	case typ > typeHandshake:
		return StreamEvent{}, fmt.Errorf("%w %d", ErrType, typ)
	case !s.ready || s.answer != nil:
		return StreamEvent{}, ErrApplication
	}
	return StreamEvent{HasRecord: true, Type: typ, Data: data}, nil
}

func (s *Stream) handshake(data []byte) (StreamEvent, error) {
	first := !s.hs.established
	if !first && s.hs.exporter != nil {
		return StreamEvent{}, ErrUnexpected // the keys of SPTPS are not to come back
	}
	a, err := s.hs.receive(data)
	if err != nil {
		return StreamEvent{}, err
	}
	var ev StreamEvent
	for _, data := range a.send {
		if ev.Out, err = s.appendRecord(ev.Out, typeHandshake, data); err != nil {
			return StreamEvent{}, err
		}
	}
	if a.sendKey != nil {
		s.out = chapoly.New(a.sendKey)
	}
	if a.recvKey != nil {
		s.in = chapoly.New(a.recvKey)
	}
	if first && a.done {
		err = s.firstDone(&ev)
	}
	return ev, err
}

// firstDone: the exchange of SPTPS is complete. If both have announced a second one, the responder begins it.
func (s *Stream) firstDone(ev *StreamEvent) (err error) {
	if _, able := s.hs.announced(); !able {
		ev.Done, s.ready = true, true
		return nil
	}
	if s.hs.cfg.Initiator {
		return nil
	}
	if s.offer, err = hybrid.NewOffer(s.hs.session(), s.hs.cfg.Hybrid.Costs, s.hs.cfg.Rand); err != nil {
		return err
	}
	ev.Out, err = s.appendRecord(ev.Out, typeHybrid, s.offer.Message())
	return err
}

// hybridMessage takes a message of the second key exchange.
func (s *Stream) hybridMessage(data []byte) (ev StreamEvent, err error) {
	switch kind := hybrid.KindOf(data); {
	case kind == hybrid.OfferKind && s.hs.cfg.Initiator && !s.second:
		if s.answer, err = hybrid.NewAnswer(s.hs.session(), s.hs.cfg.Hybrid.Costs, data, s.hs.cfg.Rand); err != nil {
			return ev, err
		}
		ev.Out, err = s.appendRecord(nil, typeHybrid, s.answer.Message)
		s.switchTo(s.answer.Keys)
	case kind == hybrid.AnswerKind && s.offer != nil:
		var keys hybrid.Keys
		var confirm []byte
		if keys, confirm, err = s.offer.Finish(data); err != nil {
			return ev, err
		}
		s.offer = nil
		s.switchTo(keys)
		ev.Out, err = s.appendRecord(nil, typeHybrid, confirm)
	case kind == hybrid.ConfirmKind && s.answer != nil && s.answer.Confirmed(data):
		s.answer = nil
		return ev, nil
	default:
		return ev, ErrUnexpected
	}
	ev.Done = err == nil
	return ev, err
}

// switchTo replaces the keys of both directions.
func (s *Stream) switchTo(keys hybrid.Keys) {
	s.out, s.in = hybridCiphers(keys, s.hs.cfg.Initiator)
	s.keys, s.second, s.ready = keys, true, true
}

// Rekey begins a new key exchange in an established session without a second exchange, and returns the
// bytes to send. Records can be exchanged all the while. If the peer began one
// at the same time, the two merge.
func (s *Stream) Rekey() ([]byte, error) {
	if !s.ready || s.second {
		return nil, ErrNotReady
	}
	kex, err := s.hs.begin()
	if err != nil {
		return nil, err
	}
	return s.appendRecord(nil, typeHandshake, kex)
}

// AppendRecord appends an application record with the given type (0..127) and
// data (at most [MaxData] bytes) to dst. Records must be sent in the order in
// which they were appended.
func (s *Stream) AppendRecord(dst []byte, typ byte, data []byte) ([]byte, error) {
	switch {
	case !s.ready:
		return dst, ErrNotReady
	case typ >= typeHandshake:
		return dst, fmt.Errorf("%w %d", ErrType, typ)
	case len(data) > MaxData:
		return dst, fmt.Errorf("%w: %d bytes", ErrTooLong, len(data))
	}
	return s.appendRecord(dst, typ, data)
}

func (s *Stream) appendRecord(dst []byte, typ byte, data []byte) ([]byte, error) {
	if s.outN > maxNumber {
		return dst, ErrExhausted
	}
	n := s.outN
	s.outN++
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(data)))
	start := len(dst)
	dst = append(dst, typ)
	dst = append(dst, data...)
	if s.out != nil {
		dst = s.out.Seal(dst[:start], dst[start:], n)
	}
	return dst, nil
}
