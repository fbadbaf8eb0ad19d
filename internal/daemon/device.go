package daemon

import (
	"cmp"
	"errors"
	"net"
	"path/filepath"

	"tincan/internal/config"
	"tincan/internal/device"
	"tincan/internal/mesh"
	"tincan/internal/route"
)

// openDevice opens the virtual interface.
func (d *Daemon) openDevice() (device.Device, error) {
	s := d.network().Settings
	if own := d.opts.Device; own != nil {
		return d.showPackets(device.FromStream(own, s.Mode != route.ByAddress), "the device"), nil
	}
	if d.opts.Attach != nil {
		return attach(d)
	}
	if _, err := net.InterfaceByName(interfaceName(s, d.opts.Layout.NetName)); err == nil {
		d.found = true
	}
	dev, err := deviceOf(s, d.opts.Layout.NetName)
	if err != nil && s.Mode != route.ByAddress && s.DeviceType == config.DeviceFD {
		return nil, &noFramesError{err}
	} else if err != nil {
		return nil, err
	}
	if frames := device.CarriesFrames(dev); s.Mode == route.ByAddress && frames && s.DeviceType != config.DeviceTAP && dev.Name() == "" {
		d.log.failed(0, mesh.Warning, &Hinted{errors.New("in router mode no host of an Ethernet without an interface of this machine accepts packets from the VPN"), "set Mode = switch"})
	} else if s.Mode != route.ByAddress && !frames && s.DeviceType == config.DeviceFD {
		dev.Close()
		return nil, &Hinted{&noFramesError{errors.New("it carries IP packets")}, "hand over the descriptor of a tap interface"}
	}
	name := dev.Name()
	switch s.DeviceType { // readers of tinc's log know these sentences
	case config.DeviceDummy:
		return dev, nil
	case config.DeviceFD:
		name = "fd/" + filepath.Base(s.Device)
		d.log.printf(0, mesh.Info, "%s adapter set up", name)
	case config.DeviceRawSocket:
		d.log.printf(0, mesh.Info, "%s is a raw_socket", cmp.Or(s.Device, name))
	case config.DeviceMulticast:
		name = "multicast socket"
		d.log.printf(0, mesh.Info, "%s is a multicast socket", s.Device)
	default:
		d.log.printf(0, mesh.Info, "the network interface is %s", name)
	}
	return d.showPackets(dev, name), nil
}

// noFramesError says, in tinc's words, that a descriptor is not what a switch needs.
type noFramesError struct{ why error }

func (e *noFramesError) Error() string {
	return "Switch mode not supported without the descriptor of a tap interface: " + e.why.Error()
}

func (e *noFramesError) Unwrap() error { return e.why }

// deviceOf opens a device of the type that is wanted.
func deviceOf(s config.Settings, netname string) (device.Device, error) {
	switch s.DeviceType {
	case config.DeviceDummy:
		return device.NewDummy(), nil
	case config.DeviceFD:
		return device.OpenDescriptor(s.Device)
	case config.DeviceRawSocket:
		return device.OpenRaw(cmp.Or(s.Interface, "eth0"))
	case config.DeviceMulticast:
		return device.OpenMulticast(s.Device)
	}
	name := interfaceName(s, netname)
	return device.OpenTUN(name, device.Options{Path: s.Device, TAP: s.DeviceType == config.DeviceTAP})
}

// interfaceName is how the interface is to be called, "" if the kernel chooses.
func interfaceName(s config.Settings, netname string) string { return cmp.Or(s.Interface, netname) }

// hardwareAddr is the MAC address of an interface, zero if it has none.
func hardwareAddr(iface string) (mac [6]byte) {
	if i, err := net.InterfaceByName(iface); err == nil {
		copy(mac[:], i.HardwareAddr)
	}
	return mac
}
