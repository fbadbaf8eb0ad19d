//go:build linux

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/keys"
)

// confBase is the directory of the network home.
const confBase = "/etc/tinc/home"

// brisk makes a node notice changes soon.
const brisk = "PingInterval = 2\nPingTimeout = 2\nMaxTimeout = 2\nUDPDiscoveryInterval = 1\nUDPDiscoveryKeepaliveInterval = 1\nUDPDiscoveryTimeout = 3\n"

// site is what is written by hand on one node.
type site struct {
	name    string
	kind    kind
	connect []string // ConnectTo
	extra   string   // more lines of tinc.conf
	host    string   // more lines of its host file
	rsa     *keys.RSAPrivateKey
	shy     bool // the others do not know its Ed25519 key
	patient bool // it keeps the default timing
	eager   bool // AutoConnect is as it is by default
}

// static makes nodes with a configuration written by hand. Each one knows the
// keys and addresses of all others. Node i has the addresses 10.7.0.i and
// fd07::i in the network.
func (w *world) static(sites ...site) []*node {
	w.Helper()
	hosts := map[string]string{}
	var secrets []*keys.PrivateKey
	var nodes []*node
	for i, s := range sites {
		n := w.node(s.name)
		n.kind = s.kind
		key, err := keys.Generate(rand.Reader)
		w.must(err)
		secrets = append(secrets, key)
		nodes = append(nodes, n)
		var b strings.Builder
		for _, f := range w.families {
			fmt.Fprintf(&b, "Address = %s\n", n.Addr(f))
		}
		fmt.Fprintf(&b, "Subnet = 10.7.0.%d\nSubnet = fd07::%d\n", i+1, i+1)
		b.WriteString(s.host)
		if s.kind != tinc10 && !s.shy {
			fmt.Fprintf(&b, "Ed25519PublicKey = %s\n", key.Public())
		}
		if s.rsa != nil {
			b.Write(s.rsa.Public().MarshalPEM())
		}
		hosts[s.name] = b.String()
	}
	for i, s := range sites {
		timing := brisk
		if s.patient {
			timing = ""
		}
		if !s.eager {
			timing += "AutoConnect = no\n"
		}
		conf := fmt.Sprintf("Name = %s\n%s%s", s.name, timing, s.extra)
		for _, c := range s.connect {
			conf += "ConnectTo = " + c + "\n"
		}
		addrs := []string{fmt.Sprintf("10.7.0.%d/24", i+1), fmt.Sprintf("fd07::%d/64", i+1)}
		files := map[string]string{}
		if s.kind != tinc10 {
			files["ed25519_key.priv"] = string(keys.MarshalPrivatePEM(secrets[i]))
		}
		if s.rsa != nil {
			private, err := s.rsa.MarshalPEM()
			w.must(err)
			files["rsa_key.priv"] = string(private)
		}
		if s.kind.real() {
			files["tinc-up"] = tincUp(addrs...)
		} else {
			for _, a := range addrs {
				conf += "Ifconfig = " + a + "\n"
			}
		}
		files["tinc.conf"] = conf
		for name, text := range hosts {
			files["hosts/"+name] = text
		}
		nodes[i].write(files)
	}
	return nodes
}

// tincUp is the script with which a real tinc configures its interface.
func tincUp(addrs ...string) string {
	script := "#!/bin/sh\nPATH=$PATH:/usr/sbin:/sbin\nip link set $INTERFACE up\n"
	for _, a := range addrs {
		script += "ip addr add " + a + " dev $INTERFACE\n"
	}
	return script
}

// write writes files below the directory of the network.
func (n *node) write(files map[string]string) {
	n.w.Helper()
	n.w.must(n.InFiles(func() error {
		for name, text := range files {
			path := filepath.Join(confBase, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			mode := os.FileMode(0o600)
			if name == "tinc-up" {
				mode = 0o700
			}
			if err := os.WriteFile(path, []byte(text), mode); err != nil {
				return err
			}
		}
		return nil
	}))
}

// appendTo adds lines to a file below the directory of the network.
func (n *node) appendTo(name, lines string) {
	n.w.Helper()
	old, err := n.ReadFile(filepath.Join(confBase, name))
	n.w.must(err)
	n.write(map[string]string{name: string(old) + lines})
}

// upAll starts nodes.
func upAll(nodes ...*node) {
	for _, n := range nodes {
		n.w.Helper()
		n.up()
	}
}
