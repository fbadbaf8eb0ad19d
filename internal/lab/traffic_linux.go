package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Throughput sends zeros over one TCP connection from one host to an address
// of another for a while, and returns how many bits a second arrived.
func Throughput(from, to *Host, addr netip.Addr, d time.Duration) (float64, error) {
	ln, err := to.Listen("tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		return 0, fmt.Errorf("measuring throughput: %w", err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(context.Background(), d+10*time.Second)
	defer cancel()
	conn, err := from.Dial(ctx, "tcp", ln.Addr().String())
	if err != nil {
		return 0, fmt.Errorf("measuring throughput from %s to %s: %w", from.name, addr, err)
	}
	defer conn.Close()
	in, err := ln.Accept()
	if err != nil {
		return 0, fmt.Errorf("measuring throughput: %w", err)
	}
	defer in.Close()

	began := time.Now()
	go pour(conn, began.Add(d))
	_ = in.SetReadDeadline(began.Add(d + 10*time.Second))
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{in}, make([]byte, 256<<10))
	if err != nil {
		return 0, fmt.Errorf("measuring throughput from %s to %s: %w", from.name, addr, err)
	}
	return float64(n) * 8 / time.Since(began).Seconds(), nil
}

func pour(conn net.Conn, until time.Time) {
	defer conn.Close()
	buf := make([]byte, 256<<10)
	for time.Now().Before(until) {
		_ = conn.SetWriteDeadline(until.Add(5 * time.Second))
		if _, err := conn.Write(buf); err != nil {
			return
		}
	}
}
