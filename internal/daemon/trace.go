package daemon

import (
	"tincan/internal/device"
	"tincan/internal/mesh"
)

// trafficLevel is the debug level at which each packet is in the log, as in tinc.
const trafficLevel = 5

// showPackets writes, at debug level 5, a line for each packet that passes dev, which the log calls name.
// A super-packet is one packet here.
func (d *Daemon) showPackets(dev device.Device, name string) device.Device {
	bare := !device.CarriesFrames(dev)
	return device.Watch(dev, func(p []byte, written bool) {
		switch {
		case !d.log.wanted(trafficLevel):
		case written:
			d.log.printf(trafficLevel, mesh.Debug, "Writing packet of %d bytes to %s", len(p), name)
		case bare && (len(p) == 0 || p[0]>>4 != 4 && p[0]>>4 != 6):
			d.log.printf(trafficLevel, mesh.Error, "Unknown IP version while reading packet from %s", name)
		default:
			d.log.printf(trafficLevel, mesh.Debug, "Read packet of %d bytes from %s", len(p), name)
		}
	})
}
