package mesh

import (
	"tincan/internal/subnet"
)

// Devices that have WireGuard and no tincan come in at a node that is their door (package door). The node at which one was heard
// from last announces the device's addresses as its own, so all nodes, also those of tinc, send there what is for them.
//
// When a device moves to another door, that one announces the addresses, too; the door that hears of this gives them up at
// once. If the device is here nevertheless its next packet brings them back. A device that is silent stays where it was
// last: nothing expires.

// DeviceHere: a device with these addresses was heard from at our door.
type DeviceHere struct{ Addrs []subnet.Subnet }

// DeviceGone: a device with these addresses may not come in any more.
type DeviceGone struct{ Addrs []subnet.Subnet }

// DeviceMoved: another node has announced this address of a device, and we do not any more.
type DeviceMoved struct{ Addr subnet.Subnet }

// deviceAddrs are the addresses of devices that we announce. The zero value is empty.
type deviceAddrs map[subnet.Subnet]bool

// attach announces addresses of a device.
func (sn *subnets) attach(addrs []subnet.Subnet) {
	for _, s := range addrs {
		if _, ours := sn.self.owns.subnets[s]; ours || sn.down {
			continue
		}
		if sn.total >= maxSubnets || len(sn.self.owns.subnets) >= maxSubnetsOf {
			sn.limitExceeded(nil, "the address %s of a device: this node has too many subnets", s)
			continue
		}
		if sn.attached == nil {
			sn.attached = deviceAddrs{}
		}
		sn.attached[s] = true
		sn.putSubnet(sn.self, s, "")
		sn.floodSubnet(sn.addedSubnet(sn.cfg.Name, s))
	}
}

// detach withdraws addresses of a device.
func (sn *subnets) detach(addrs []subnet.Subnet) {
	for _, s := range addrs {
		if sn.attached[s] {
			delete(sn.attached, s)
			sn.dropSubnet(sn.self, s)
			sn.floodSubnet(sn.deletedSubnet(sn.cfg.Name, s))
		}
	}
}

// deviceMoved gives up an address that another node has announced.
func (sn *subnets) deviceMoved(s subnet.Subnet) {
	if sn.attached[s] {
		sn.logf(2, Info, "the device with the address %s has moved to another door", s)
		sn.detach([]subnet.Subnet{s})
		sn.emit(DeviceMoved{Addr: s})
	}
}
