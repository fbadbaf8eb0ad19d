// Package carrier takes a stream of bytes inside of a WebSocket (RFC 6455) over TLS, so that a meta connection looks from
// outside like a visit to a web site: [Client] at the one end, [Server] at the other, which shows an ordinary site to
// everybody who does not know the path.
//
// It opens no connections and knows nothing of what travels in them. That the other end is the right node is proved
// inside of the stream; TLS is there for those who look on.
//
//	bytes of the meta connection      binary messages, each one frame of at most one TLS record
//	nothing sent for about 25 s       a ping, so that proxies between the ends do not give up the connection
//	the end                           a close frame, then the end of TLS
package carrier
