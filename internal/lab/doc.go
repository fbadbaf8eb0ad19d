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
// Links are of two kinds. [Router.Attach] lets the kernel carry the packets, as
// fast as it can. [Router.Cable] carries them in this program: they can be delayed, lost,
// reordered, doubled and slowed down, one direction can be cut, large ones can
// vanish, and NAT comes in every kind; all of that can change at any time.
//
// Blocking, loss on a router and NAT without a cable are done by the nft
// command, which must be installed for them; all the rest is done by system
// calls and this program alone.
package lab
