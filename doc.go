// Package tincan runs nodes of a tinc VPN inside a Go program.
//
// With [Options.Sockets] a node has sockets in the VPN ([Node.Dial], [Node.Listen], [Node.ListenPacket]), which takes no privileges:
//
//	node, err := tincan.Start(ctx, tincan.Options{Dir: dir, Sockets: true})
//	…
//	l, err := node.Listen("tcp", ":80")
//	…
//	http.Serve(l, handler)
//
// [Init] makes the directory of a new network, [Node.Invite] an invitation to it, [Join] the
// directory of a node that was invited, and [Start] and [Run] run a node. The
// directories are the same as those of the command tincan, and of tinc: what one of them has made the others can run.
//
// A node takes nothing from the process that it runs in: no signals, no standard streams, no
// pid file and no control socket, no scripts, unless [Options] ask for it. So a program
// may run several, each with a directory of its own. Without privileges a node needs
// sockets of its own, or a device of the program ([Options.Device]), and a port above 1023.
//
// An error may know what can be done about it. Then it, or one that it wraps, has the method
//
//	Hint() string
package tincan
