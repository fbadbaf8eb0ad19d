// Package lab makes a little internet out of network namespaces: hosts,
// routers, links, NAT, blocked ports and loss, with real kernels in between.
//
// The demo and the end-to-end tests run real daemons in it. Everything happens
// inside private user, mount, network and process namespaces, so it needs no
// root, touches nothing outside, and all of it is gone when the program ends,
// however it ends. It knows nothing of tincan itself. Linux only.
//
// A program or a test enters the namespaces first, by [Enter] or [Main]. Then:
//
//	l, err := lab.New()
//	defer l.Close()
//	alice, err := l.Host("alice")
//	internet, err := l.Router("internet")
//	link, err := internet.Attach(alice, "192.0.2.2/24", "2001:db8:2::2/64")
//	out, err := alice.Run("uname", "-a")
//
// NAT, blocking and loss are done by the nft command, which must be installed
// for them; all the rest is done by system calls alone.
package lab
