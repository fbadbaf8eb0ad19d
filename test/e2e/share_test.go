//go:build linux

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"tincan/internal/lab"
)

// pours sends datagrams of size bytes to addr as fast as it can until the returned function is called, which says how many
// there were.
func (n *node) pours(addr netip.AddrPort, size int) (stop func() int) {
	n.w.Helper()
	out, err := n.Dial(context.Background(), "udp", addr.String())
	n.w.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	go func() {
		count := 0
		msg := make([]byte, size)
		for i := range msg {
			msg[i] = byte(i * 7)
		}
		for ; ctx.Err() == nil; count++ {
			_, _ = out.Write(msg)
		}
		done <- count
	}()
	return func() int {
		cancel()
		defer out.Close()
		return <-done
	}
}

// A member, or somebody who is none, sends a node as many datagrams as it can. The others keep their share: their packets are
// answered, and a connection of theirs goes on.
func TestOthersKeepTheirShareUnderAFlood(t *testing.T) {
	w := newWorld(t, "ip4")
	n := w.static(site{name: "hub"}, site{name: "loud", connect: []string{"hub"}}, site{name: "quiet", connect: []string{"hub"}})
	hub, loud, quiet := n[0], n[1], n[2]
	upAll(n...)
	loud.talksDirectly(hub)
	quiet.talksDirectly(hub)
	sink, err := hub.ListenPacket("udp", netip.AddrPortFrom(hub.vpn("ip4"), 0).String())
	w.must(err)
	defer sink.Close()
	go func() {
		buf := make([]byte, 2000)
		for err := error(nil); err == nil; {
			_, _, err = sink.ReadFrom(buf)
		}
	}()
	stream, err := lab.Stream(quiet.Host, hub.Host, hub.vpn("ip4"))
	w.must(err)
	defer stream.Stop()
	const long = time.Second
	measure := func() (lab.EchoCount, int) { // without a deadline: what counts are ratios
		echoes, err := quiet.Echo(hub.vpn("ip4"), 10*time.Millisecond)
		w.must(err)
		before := stream.Bytes()
		time.Sleep(long)
		return echoes.Stop(), stream.Bytes() - before
	}
	inside := sink.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, c := range []struct {
		name string
		to   netip.AddrPort
		size int
	}{
		{"small packets of a member", inside, 100},
		{"large packets of a member", inside, 1300},
		{"datagrams of somebody else", netip.AddrPortFrom(hub.Addr("ip4"), 655), 200},
	} {
		const least = 10 // of what the stream has without the flood: half of it is its share
		said := ""
		for range 3 { // the machine may have other things to do
			_, alone := measure()
			stop := loud.pours(c.to, c.size)
			echoes, bytes := measure()
			count := stop()
			said = fmt.Sprintf("%s, %d: %v; TCP %d bytes, before %d", c.name, count, echoes, bytes, alone)
			t.Log(said)
			if echoes.Lost() <= echoes.Sent/5 && bytes >= alone/least {
				said = ""
				break
			}
		}
		if said != "" {
			t.Error(said)
		}
	}
}
