package api

import (
	"fmt"
	"net/netip"

	"tincan/internal/command"
	"tincan/internal/report"
	"tincan/internal/roster"
	"tincan/internal/terminal"
)

// What changes the devices.

func (s *server) addDevice(q *request) (any, error) {
	var n NewDevice
	if err := q.read(&n); err != nil {
		return nil, err
	}
	d, err := n.read()
	if err != nil {
		return nil, err
	}
	d.Command = s.Command()
	for _, sub := range s.Subnets() {
		d.Running = append(d.Running, sub.Subnet)
	}
	network, err := s.network()
	if err != nil {
		return nil, err
	}
	added, err := command.AddDevice(network, d)
	if err != nil {
		return nil, err
	}
	made := MadeDevice{
		AddedDevice: report.NewAddedDevice(added.Name, added.Key.String(), added.DoorKey.String(), added.Addresses, added.Endpoint, added.Text),
		QR:          []string{}, Notes: []string{},
	}
	if rows, err := terminal.QRModules(added.Text); err == nil { // else it is too long for one
		made.QR = rows
	}
	if added.Guessed {
		made.Notes = append(made.Notes, fmt.Sprintf("The device looks for a door at %s, this machine's address in its own network, which other networks do not know. Add it again with an endpoint that can be reached from everywhere, or set Address here first.", added.Endpoint))
	}
	return made, nil
}

// read reads what a request says.
func (n NewDevice) read() (d command.NewDevice, err error) {
	d.Groups, d.Full = n.Groups, n.Full
	if d.Name, err = nodeName(n.Name); err != nil {
		return d, err
	}
	for _, text := range n.Addresses {
		a, err := netip.ParseAddr(text)
		if err != nil || a.Zone() != "" {
			return d, bad("addresses: %.60q is no IP address", text)
		}
		d.Addrs = append(d.Addrs, a.Unmap())
	}
	if n.Endpoint != "" {
		if _, err := command.PublicAddress(n.Endpoint); err != nil {
			return d, bad("endpoint %v", err)
		}
		d.Endpoint = n.Endpoint
	}
	for _, text := range n.Routes {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return d, bad("routes: %.60q is no subnet, as in 192.168.50.0/24", text)
		}
		d.Routes = append(d.Routes, p)
	}
	if n.Key != "" {
		key, err := roster.ParseWireGuardKey(n.Key)
		if err != nil {
			return d, bad("key: %v", err)
		}
		d.Key = &key
	}
	return d, nil
}

func (s *server) removeDevice(q *request) (any, error) {
	name, n, err := s.named(q)
	if err != nil {
		return nil, err
	}
	if err := n.RemoveDevice(name, q.FormValue("reason")); err != nil {
		return nil, err
	}
	return Done{fmt.Sprintf("the device %s is removed from the network, for ever", name)}, nil
}

func (s *server) rekeyDoors(*request) (any, error) {
	n, err := s.network()
	if err != nil {
		return nil, err
	}
	key, err := n.RekeyDoors()
	if err != nil {
		return nil, err
	}
	return Rekeyed{DoorKey: key.String(), Devices: len(n.Roster.State().Devices)}, nil
}
