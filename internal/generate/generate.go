// Package generate makes the directory of a new node: its name, its keys, its
// port and its address in the VPN.
//
// It never touches a network that is there already.
package generate

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// Node says what the new node is to be like.
type Node struct {
	Layout confdir.Layout
	Name   node.Name
	Port   int // 0: the usual one if it is free, else another one

	// VPN is the address of the node and the length of the whole network's
	// prefix, for example 10.7.0.1/16. Without it the node has no address:
	// a tinc-up script is left for the user to fill in.
	VPN    netip.Prefix
	Public []config.Address // where others reach this node

	// Key is the private key, which lies in its file already, see [OwnKey]; nil:
	// make one.
	Key *keys.PrivateKey
	RSA *keys.RSAPrivateKey // beside it, for tinc 1.0; see [OwnRSA]

	// AutoAddress: another node chose the address, so a clash may change it.
	AutoAddress bool
	NetworkID   string // of the signed network that the node belongs to; "": it is open
	ConnectTo   []node.Name
	Hosts       map[node.Name][]byte // host files of other nodes; those that exist stay as they are
}

// ErrExists: there is a configuration already.
var ErrExists = errors.New("there is a configuration already")

// tincUp is left where the user must say what to do with the interface.
const tincUp = `#!/bin/sh
# This script runs when the VPN interface $INTERFACE has been made.
# Give it an address and bring it up here, for example:
#   ip addr add 10.1.0.1/16 dev "$INTERFACE"
#   ip link set "$INTERFACE" up
echo "$0 has not been filled in yet: the interface has no address" >&2
`

// Create makes the node and returns the port that it will listen on. If that fails, a directory that
// was not there before is gone again.
func (n Node) Create() (port int, err error) {
	l := n.Layout
	if _, err := os.Lstat(l.TincConf()); err == nil {
		return 0, fmt.Errorf("%w: %s", ErrExists, l.TincConf())
	}
	_, missing := os.Lstat(l.ConfBase)
	port, err = n.create()
	if err != nil && !errors.Is(err, ErrExists) && errors.Is(missing, fs.ErrNotExist) {
		os.RemoveAll(l.ConfBase)
	}
	return port, err
}

func (n Node) create() (port int, err error) {
	l := n.Layout
	if port, err = n.choosePort(); err != nil {
		return 0, err
	}
	if err := MakeDirs(l); err != nil {
		return 0, err
	}
	for name, file := range n.Hosts {
		if err := confdir.Create(l.Host(name), file, confdir.FileMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return 0, err
		}
	}

	conf := fmt.Appendf(nil, "Name = %s\n", n.Name)
	host, err := os.ReadFile(l.Host(n.Name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	if n.VPN.IsValid() {
		conf = fmt.Appendf(conf, "Ifconfig = %s\nNames = auto\n", n.VPN)
		host, _ = config.Add(host, "Subnet", n.VPN.Addr().String())
	} else if err := confdir.Create(l.Script("tinc-up"), []byte(tincUp), confdir.ScriptMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, err
	}
	if n.AutoAddress {
		conf = append(conf, "AutoAddress = yes\n"...)
	}
	if n.NetworkID != "" {
		conf = fmt.Appendf(conf, "NetworkID = %s\n", n.NetworkID)
	}
	for _, name := range n.ConnectTo {
		conf = fmt.Appendf(conf, "ConnectTo = %s\n", name)
	}
	if len(n.Public) > 0 {
		host, _ = config.Delete(host, "Address", "")
	}
	for _, a := range n.Public {
		host, _ = config.Add(host, "Address", a.String())
	}
	if port != DefaultPort {
		host, _ = config.Set(host, "Port", fmt.Sprint(port))
	}
	if err := confdir.WriteFile(l.Host(n.Name), host, confdir.FileMode); err != nil {
		return 0, err
	}
	if n.RSA != nil && n.Key == nil { // with Key, storeKeys sees to it
		if _, err := StoreRSAKey(n.RSA, l.RSAPrivateKey(), l.Host(n.Name)); err != nil {
			return 0, err
		}
	}
	if err := n.storeKeys(); err != nil {
		return 0, err
	}
	// tinc.conf comes last: it makes this directory a network.
	err = confdir.Create(l.TincConf(), conf, confdir.FileMode)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("%w: %s", ErrExists, l.TincConf())
	}
	return port, err
}

func (n Node) storeKeys() error {
	l := n.Layout
	if n.Key == nil {
		key, err := keys.Generate(rand.Reader)
		if err != nil {
			return err
		}
		_, err = StoreKey(key, l.PrivateKey(), l.Host(n.Name))
		return err
	}
	return confdir.Edit(l.Host(n.Name), func(host []byte) ([]byte, error) {
		host, _ = disableKeys(host)
		host = fmt.Appendf(host, "Ed25519PublicKey = %s\n", n.Key.Public())
		if n.RSA != nil && !bytes.Contains(host, n.RSA.Public().MarshalPEM()) {
			host = append(host, n.RSA.Public().MarshalPEM()...)
		}
		return host, nil
	})
}

func (n Node) choosePort() (int, error) {
	switch {
	case n.Port != 0:
		return n.Port, nil
	case PortFree(DefaultPort):
		return DefaultPort, nil
	}
	return FreePort()
}

// MakeDirs makes the directories of a network that are missing.
func MakeDirs(l confdir.Layout) error {
	if err := l.MakeParent(); err != nil {
		return err
	}
	for _, dir := range []string{l.ConfBase, l.Hosts(), l.Cache()} {
		if err := confdir.MakeDir(dir, 0o755); err != nil {
			return err
		}
	}
	return nil
}
