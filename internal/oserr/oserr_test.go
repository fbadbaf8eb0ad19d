package oserr

import (
	"errors"
	"net"
	"testing"
)

// TestTheErrorsThatSocketsReallyReturn also runs on Windows (under Wine), where those of
// package syscall are none.
func TestTheErrorsThatSocketsReallyReturn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := net.Listen("tcp", l.Addr().String()); !errors.Is(err, AddressInUse) {
		t.Errorf("a port twice: %v", err)
	}
	l.Close()
	if _, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, Refused) {
		t.Errorf("nobody there: %v", err)
	}
	if _, err := net.Listen("tcp", "192.0.2.1:0"); !errors.Is(err, NoAddress) {
		t.Errorf("an address of another machine: %v", err)
	}
	a, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if _, err := a.WriteTo(make([]byte, 70000), a.LocalAddr()); !errors.Is(err, TooLong) {
		t.Errorf("a datagram that is too long: %v", err)
	}
}
