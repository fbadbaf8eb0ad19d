package limit

import "net/netip"

// Count counts something, in all and by peer. The zero value is ready. It is not safe for
// concurrent use.
type Count struct {
	All  int
	From map[netip.Prefix]int // without those of whom there is nothing
}

// Below reports whether there is room for one more of p: fewer than total in all, and fewer than each
// of p.
func (c *Count) Below(p netip.Prefix, total, each int) bool {
	return c.All < total && c.From[p] < each
}

// Add counts n more of p, or fewer if n is negative.
func (c *Count) Add(p netip.Prefix, n int) {
	if c.From == nil {
		c.From = map[netip.Prefix]int{}
	}
	c.All += n
	if c.From[p] += n; c.From[p] == 0 {
		delete(c.From, p)
	}
}
