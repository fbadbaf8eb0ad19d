package attack

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Flooded is what became of a flood of connections.
type Flooded struct {
	Tried, Connected int64
}

// Flood opens perSecond connections a second by dial until ctx ends, says hello on each, and
// holds the newest hold of them open, in silence.
func Flood(ctx context.Context, perSecond, hold int, hello []byte, dial func(context.Context) (net.Conn, error)) Flooded {
	var tried, connected atomic.Int64
	var wg sync.WaitGroup
	held := make(chan net.Conn, hold+1)
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-tick.C:
		}
		tried.Add(1)
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			conn, err := dial(ctx)
			if err != nil {
				return
			}
			connected.Add(1)
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(hello)
			for {
				select {
				case held <- conn:
					return
				default:
				}
				select {
				case oldest := <-held:
					_ = oldest.Close()
				default:
				}
			}
		})
	}
	wg.Wait()
	close(held)
	for conn := range held {
		_ = conn.Close()
	}
	return Flooded{tried.Load(), connected.Load()}
}
