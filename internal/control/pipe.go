package control

import (
	"net"
)

// Pipe returns a client of b in the same process, for what is written for clients. It may do everything.
func Pipe(b Backend) (*Client, error) {
	const cookie = "inside"
	near, far := net.Pipe()
	c := &client{server: NewServer(cookie, b), conn: far, socket: -1, done: make(chan struct{})}
	go c.run() // until the client closes its end
	client, err := greet(near, cookie, lineTimeout)
	if err != nil {
		near.Close()
	}
	return client, err
}
