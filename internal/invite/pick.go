package invite

import (
	"crypto/rand"
	"net/netip"

	"tincan/internal/node"
	"tincan/internal/subnet"
)

// PickAddress chooses another free address in the range of old, for a node that
// shares its address with another one. dir is its configuration directory,
// running the subnets of the network as it is now.
func PickAddress(dir string, self node.Name, old netip.Prefix, running []subnet.Subnet) (netip.Prefix, error) {
	a, err := survey(dir, self, "", running, rand.Reader)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr, err := a.pick(old)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(addr, old.Bits()), nil
}
