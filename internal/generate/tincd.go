package generate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/node"
)

// Tincd is a new node in the form that tinc-boot gives it, for the daemon of
// tinc 1.0: an RSA key, and scripts that set up the interface and tell the
// monitor who comes and goes.
type Tincd struct {
	Layout    confdir.Layout
	Interface string
	Name      node.Name
	VPN       netip.Prefix
	Port      int
	Public    []string            // Address lines, as written
	ConnectTo []string            // as written
	Bin       string              // path of this program, called as tinc-boot in the scripts
	RSA       *keys.RSAPrivateKey // nil: no key
}

// HostFile is the host file of the node.
func (t Tincd) HostFile() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nSubnet = %s\n", netip.PrefixFrom(t.VPN.Addr(), t.VPN.Addr().BitLen()))
	for _, a := range t.Public {
		fmt.Fprintf(&b, "Address = %s\n", a)
	}
	fmt.Fprintf(&b, "Port = %d\n\n", t.Port)
	if t.RSA != nil {
		b.Write(t.RSA.Public().MarshalPEM())
	}
	return b.Bytes()
}

func (t Tincd) tincConf() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\nName = %s\nLocalDiscovery = yes\nInterface = %s\nPort = %d\n\n", t.Name, t.Interface, t.Port)
	for _, c := range t.ConnectTo {
		fmt.Fprintf(&b, "ConnectTo = %s\n\n", c)
	}
	return b.Bytes()
}

// scripts are what tincd calls. Their commands get what they need from its
// environment; the directory is named, because tincd may have been started
// anywhere.
func (t Tincd) scripts() map[string]string {
	bin, dir := shellQuote(t.Bin), shellQuote(t.Layout.ConfBase)
	if filepath.Base(t.Bin) != "tinc-boot" { // by which name it would know what to be
		bin += " tinc-boot"
	}
	return map[string]string{
		"tinc-up":     fmt.Sprintf("#!/bin/sh\nip addr add %s dev \"$INTERFACE\"\nip link set dev \"$INTERFACE\" up\n%s monitor --dir %s &\n", t.VPN, bin, dir),
		"tinc-down":   fmt.Sprintf("#!/bin/sh\n%s kill\nip addr del %s dev \"$INTERFACE\"\nip link set dev \"$INTERFACE\" down\n", bin, t.VPN),
		"subnet-up":   fmt.Sprintf("#!/bin/sh\n%s watch\n", bin),
		"subnet-down": fmt.Sprintf("#!/bin/sh\n%s forget\n", bin),
	}
}

func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// Create writes the files. Those of others (hosts) stay as they are if they exist.
func (t Tincd) Create(hosts map[node.Name][]byte) error {
	l := t.Layout
	if _, err := os.Lstat(l.TincConf()); err == nil {
		return fmt.Errorf("%w: %s", ErrExists, l.TincConf())
	}
	if err := MakeDirs(l); err != nil {
		return err
	}
	for name, file := range hosts {
		if err := confdir.Create(l.Host(name), file, confdir.FileMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for name, text := range t.scripts() {
		if err := confdir.WriteFile(l.Script(name), []byte(text), confdir.ScriptMode); err != nil {
			return err
		}
		if err := files.Chmod(l.Script(name), 0o755); err != nil {
			return err
		}
	}
	if err := confdir.WriteFile(l.Host(t.Name), t.HostFile(), confdir.FileMode); err != nil {
		return err
	}
	return confdir.Create(l.TincConf(), t.tincConf(), confdir.FileMode)
}
