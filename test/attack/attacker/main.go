// Attacker logs in at a node with the keys of a directory of tincan or tinc, and sends each
// line of its standard input as a request. What comes back is printed.
//
//	attacker -c DIRECTORY -at NODE HOST:PORT < requests
//	attacker -outsider -rate 200 HOST:PORT
//
// It is for networks of one's own, to try what the other nodes do about it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/test/attack"
)

func main() {
	dir := flag.String("c", ".", "directory of the network of the member that attacks")
	at := flag.String("at", "", "node to log in at")
	outsider := flag.Bool("outsider", false, "do not log in: open connections that say nothing of use")
	rate := flag.Int("rate", 200, "connections a second of an outsider")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	err := fmt.Errorf("usage: attacker -c DIRECTORY -at NODE HOST:PORT, or attacker -outsider HOST:PORT")
	switch {
	case flag.NArg() != 1:
	case *outsider:
		fmt.Printf("%+v\n", attack.Flood(ctx, *rate, 100, []byte("0 nobody 17.7\n"), func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", flag.Arg(0))
		}))
		return
	default:
		err = member(ctx, *dir, node.Name(*at), flag.Arg(0))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "attacker:", err)
		os.Exit(1)
	}
}

// member logs in and passes lines on in both directions until the input or the connection ends.
func member(ctx context.Context, dir string, peer node.Name, addr string) error {
	l := confdir.Layout{ConfBase: dir}
	name, err := confdir.OwnName(l)
	if err != nil {
		return err
	}
	private, err := os.ReadFile(l.PrivateKey())
	if err != nil {
		return err
	}
	key, err := keys.ParsePrivatePEM(private)
	if err != nil {
		return err
	}
	host, _, err := confdir.LoadHost(l, peer, nil)
	if err != nil {
		return err
	}
	if host.Key == nil {
		return fmt.Errorf("hosts/%s has no Ed25519 key", peer)
	}
	tcp, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	c, err := attack.Login(tcp, attack.Member{Name: name, Key: key}, attack.Peer{Name: peer, Key: *host.Key})
	if err != nil {
		return err
	}
	defer c.Close()
	go c.Await(time.Hour, func(line string) bool { fmt.Println(line); return false })
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() && ctx.Err() == nil {
		if err := c.Send(in.Text()); err != nil {
			return err
		}
	}
	time.Sleep(time.Second) // for the answers
	return in.Err()
}
