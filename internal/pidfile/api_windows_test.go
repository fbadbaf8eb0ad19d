package pidfile

import (
	"context"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// TestThePipeOfTheAPI is run under Wine, by test/wine.
func TestThePipeOfTheAPI(t *testing.T) {
	dir, err := os.MkdirTemp("", "pipe") // os.RemoveAll does not work there
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(dir)
	path := filepath.Join(dir, "pid")
	c, err := NewClaim(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	if err := c.Publish(netip.AddrPort{}); err != nil {
		t.Fatal(err)
	}
	if conn, err := DialAPI(context.Background(), path); err == nil {
		conn.Close()
		t.Error("there is somebody before the daemon listens")
	}
	s, err := c.ListenAPI()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := s.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	for range 3 {
		conn, err := DialAPI(context.Background(), path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 5)
		if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "hello" {
			t.Errorf("%q, %v", buf, err)
		}
		conn.Close()
	}
	s.Remove()
	if conn, err := DialAPI(context.Background(), path); err == nil {
		conn.Close()
		t.Error("somebody is there after the end")
	}
}
