package device

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestAStreamOfPacketsIsADevice(t *testing.T) {
	ours, theirs := net.Pipe()
	d := FromStream(ours, true)
	if d.Name() != "" || !CarriesFrames(d) || CarriesFrames(FromStream(theirs, false)) {
		t.Error("it should have no name, and frames where they are wanted")
	}
	go theirs.Write([]byte("out"))
	buf := make([]byte, MaxPacket)
	if n, off, err := d.Read(buf); err != nil || string(buf[:n]) != "out" || off != (Offload{}) {
		t.Errorf("read %q, %+v, %v", buf[:n], off, err)
	}
	if _, _, err := d.TryRead(buf); err != ErrAgain {
		t.Errorf("TryRead: %v", err)
	}
	copy(buf[Headroom:], "in")
	if err := d.Write(buf[:Headroom+2], Headroom, Offload{}); err != nil {
		t.Fatal(err)
	}
	clear(buf[:Headroom+2]) // the caller may use it again at once
	got := make([]byte, 10)
	if n, err := theirs.Read(got); err != nil || string(got[:n]) != "in" {
		t.Errorf("the other end read %q, %v", got[:n], err)
	}
	if err := d.Write(buf[:100], Headroom, Offload{GSO: GSOTCPv4}); !errors.Is(err, ErrRefused) {
		t.Errorf("a super-packet: %v", err)
	}
	if err := errors.Join(d.Close(), d.Close()); err != nil {
		t.Error(err)
	}
	if err := d.Write(buf[:100], Headroom, Offload{}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestAStreamThatTakesNothingHoldsNobodyUp(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	d := FromStream(ours, false)
	buf := make([]byte, Headroom+1)
	lost := 0
	for range streamDepth + 10 {
		if err := d.Write(buf, Headroom, Offload{}); errors.Is(err, errFull) {
			lost++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if lost < 9 || lost > 10 { // one may be on its way into theirs
		t.Errorf("%d packets were lost", lost)
	}
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("Close waits for a Write that nobody takes")
	}
}

func TestTheEndOfAStreamIsFinal(t *testing.T) {
	for name, end := range map[string]io.Reader{
		"end":            bytes.NewReader(nil),
		"closed pipe":    readerFunc(func([]byte) (int, error) { return 0, io.ErrClosedPipe }),
		"length too big": readerFunc(func(b []byte) (int, error) { return len(b) + 1, nil }),
		"length too low": readerFunc(func(b []byte) (int, error) { return -1, nil }),
	} {
		d := FromStream(struct {
			io.Reader
			io.WriteCloser
		}{end, nopCloser{io.Discard}}, false)
		if n, _, err := d.Read(make([]byte, MaxPacket)); n != 0 || !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		d.Close()
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
