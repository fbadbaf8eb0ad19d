package invite

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/subnet"
)

// builder makes a configuration directory, first in a temporary place and then
// in one step where it belongs.
type builder struct {
	res   Result
	key   *keys.PrivateKey
	rsa   *keys.RSAPrivateKey // nil: none
	files []file              // tinc.conf last: with it the directory counts as a configuration
	tmp   string
}

type file struct {
	name string // relative to the configuration directory
	data []byte
	mode fs.FileMode
}

// build decides what the invitation amounts to. Nothing is written.
func (j *joiner) build(data []byte) (*builder, error) {
	t, err := parseText(data)
	if err != nil {
		return nil, err
	}
	layout, err := j.layout(t)
	if err != nil {
		return nil, err
	}
	b := &builder{res: Result{Name: t.name, Layout: layout, Port: defaultPort}, rsa: j.RSAKey}
	if j.sent != nil {
		b.key, b.rsa = j.sent.key, cmp.Or(j.sent.rsa, b.rsa)
	} else if b.key, err = keys.Generate(j.Rand); err != nil {
		return nil, err
	}
	conf, host := j.distribute(t)
	for _, p := range t.given() {
		if slices.Contains(config.Values(conf.Bytes(), "Ifconfig"), p.String()) {
			b.res.Addresses = append(b.res.Addresses, p.String())
		}
	}
	kept := rows(host.Bytes())
	host.set("Ed25519PublicKey", b.key.Public().String())
	if err := j.choosePort(b, host); err != nil {
		return nil, err
	}
	if b.rsa != nil {
		private, err := b.rsa.MarshalPEM()
		if err != nil {
			return nil, err
		}
		b.add("rsa_key.priv", private, confdir.SecretMode)
		host.Write(b.rsa.Public().MarshalPEM())
	}
	b.add("ed25519_key.priv", keys.MarshalPrivatePEM(b.key), confdir.SecretMode)
	b.add(filepath.Join("hosts", string(t.name)), host.Bytes(), 0o644)
	for _, h := range t.hosts {
		content, problems, err := h.hostFile()
		switch {
		case err != nil && string(h.name) == j.inviter:
			return nil, fmt.Errorf("the invitation cannot be used: %w", err)
		case err != nil:
			j.Log(fmt.Sprintf("leaving out the %v", err))
			continue
		}
		for _, p := range problems {
			j.Log(fmt.Sprintf("leaving out of the host file of %s: %s", h.name, p))
		}
		b.res.Hosts = append(b.res.Hosts, string(h.name))
		if string(h.name) == j.inviter && len(config.Values(content, "Address")) == 0 {
			content = j.withAddress(content)
		}
		b.add(filepath.Join("hosts", string(h.name)), content, 0o644)
	}
	if j.TincUp {
		j.tincUp(t, b)
		b.add("invitation-data", data, confdir.SecretMode)
	}
	b.add("tinc.conf", conf.Bytes(), 0o644)
	b.res.Approval = slices.ContainsFunc(t.lines, func(l line) bool { return l.is(needsApproval) })
	b.res.Settings = append(rows(conf.Bytes()), kept...)
	return b, b.checkClash()
}

// withAddress adds to the host file of the inviter, which does not say where it
// can be reached, the place where we have just reached it.
func (j *joiner) withAddress(hostFile []byte) []byte {
	var w writer
	address := j.url.Host
	if port := config.Values(hostFile, "Port"); j.url.Port != defaultPort && (len(port) == 0 || port[0] != strconv.Itoa(int(j.url.Port))) {
		address += " " + strconv.Itoa(int(j.url.Port))
	}
	w.set("Address", address)
	w.Write(hostFile)
	return w.Bytes()
}

// layout decides where the configuration goes.
func (j *joiner) layout(t text) (confdir.Layout, error) {
	place := j.Place
	if names := t.values("NetName"); len(names) > 0 && (place.Net == "" || place.Net == ".") {
		name := names[0]
		if unsafe, err := confdir.CheckNetName(name); err != nil || unsafe || name == "" {
			return confdir.Layout{}, fmt.Errorf("the invitation proposes %.60q for the name of the network, which is not safe", name)
		}
		if place.Conf == "" {
			place.Net = name
		}
	}
	l, err := place.Layout()
	if err != nil {
		return l, err
	}
	// Our key has not been sent yet, so the invitation stays open. tinc's join takes another name.
	if err := vacant(l); !errors.Is(err, ErrOccupied) || j.explicit() || !j.TincUp {
		return l, err
	}
	if j.member(l, t) {
		return l, fmt.Errorf("%w: %s", ErrMember, l.TincConf())
	}
	wanted := l.ConfBase
	if place.Net, err = j.randomNet(); err != nil {
		return l, err
	}
	if l, err = place.Layout(); err == nil {
		j.Log(fmt.Sprintf("%s holds another configuration already; the network is called %s here", wanted, l.NetName))
		err = vacant(l)
	}
	return l, err
}

// member tells whether the configuration in l is that of a node in the network of the invitation: whether it knows the
// inviter, with the key that the invitation gives for it.
func (j *joiner) member(l confdir.Layout, t text) bool {
	i := slices.IndexFunc(t.hosts, func(h block) bool { return string(h.name) == j.inviter })
	if i < 0 {
		return false
	}
	known, _, err := confdir.LoadHost(l, t.hosts[i].name, nil)
	return err == nil && known.Key != nil && slices.Contains(t.hosts[i].values("Ed25519PublicKey"), known.Key.String())
}

// distribute sorts the first block into tinc.conf and our host file.
func (j *joiner) distribute(t text) (conf, host *writer) {
	conf, host = new(writer), new(writer)
	conf.set("Name", string(t.name))
	for _, l := range t.lines {
		switch {
		case l.variable == "" || l.comment() || l.is("NetName") || l.is(needsApproval):
			continue
		case l.is("Ifconfig") || l.is("Route"):
			if !j.TincUp {
				j.keepAddress(conf, l)
			}
			continue
		case l.is("NetworkID") && isNetworkID(l.value):
			conf.WriteString(l.setting())
			continue
		case l.is("Mode") && strings.EqualFold(strings.TrimSpace(l.value), "hub") &&
			!j.consent(l, "every packet of this node would go to all the others"):
			continue
		}
		v, known := config.Find(l.variable)
		switch {
		case !known:
			j.Log(fmt.Sprintf("ignoring %.40q in the invitation: there is no such variable", l.variable))
			continue
		case v.Is(config.Safe):
		case j.Force:
			j.Log(fmt.Sprintf("warning: storing %s of the invitation, which is not safe", v.Name))
		default:
			j.Log(fmt.Sprintf("ignoring %s in the invitation: it is not safe", v.Name))
			continue
		}
		if v.Is(config.HostFile) {
			host.WriteString(l.setting())
		} else {
			conf.WriteString(l.setting())
		}
	}
	return conf, host
}

// isNetworkID tells whether a value names a signed network: 64 hexadecimal digits.
func isNetworkID(value string) bool {
	b, err := hex.DecodeString(strings.TrimSpace(value))
	return err == nil && len(b) == 32
}

// consent tells whether a line of the invitation that does what may be stored: only
// with --force. It is shown in any case.
func (j *joiner) consent(l line, what string) bool {
	if j.Force {
		j.Log(fmt.Sprintf("warning: storing %s = %.60s of the invitation: %s", l.variable, l.value, what))
		return true
	}
	j.Log(fmt.Sprintf("ignoring %s = %.60s in the invitation: %s; join --force takes it", l.variable, l.value, what))
	return false
}

// leads tells what would be wrong with an address or network that an inviter gives us:
// nothing ("") if it is private, as with routes that other nodes announce.
func leads(value string) (why string) {
	word, _, _ := strings.Cut(strings.Trim(value, " \t\r"), " ")
	p, err := netip.ParsePrefix(word)
	if a, errAddr := netip.ParseAddr(word); errAddr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	if err != nil { // tinc's own forms
		s, err := subnet.Parse(word)
		if err != nil || s.Kind() == subnet.MAC {
			return ""
		}
		p = s.Prefix()
	}
	if subnet.Harmless(p) {
		return ""
	}
	return fmt.Sprintf("it would lead %v into the VPN, which is not within a private network", p.Masked())
}

// keepAddress stores an Ifconfig or Route line that "up" can carry out.
func (j *joiner) keepAddress(conf *writer, l line) {
	for i, word := range strings.Fields(l.value) {
		_, errAddr := netip.ParseAddr(word)
		_, errPrefix := netip.ParsePrefix(word)
		if errAddr != nil && errPrefix != nil || i > 1 {
			j.Log(fmt.Sprintf("ignoring %s = %.60q: only addresses can be set up without a tinc-up script", l.variable, l.value))
			return
		}
	}
	if why := leads(l.value); why != "" && !j.consent(l, why) {
		return
	}
	conf.WriteString(l.setting())
	if l.is("Ifconfig") && len(config.Values(conf.Bytes(), "AutoAddress")) == 0 {
		// Another inviter may have given the same address away; then one moves.
		conf.set("AutoAddress", "yes")
	}
	if l.is("Ifconfig") && len(config.Values(conf.Bytes(), "Names")) == 0 {
		conf.set("Names", "auto")
	}
}

// Random ports, as tinc's join takes them when 655 is in use.
const (
	firstRandomPort = 4096
	randomPorts     = 32768
	portTries       = 100
)

func (j *joiner) choosePort(b *builder, host *writer) error {
	if given := config.Values(host.Bytes(), "Port"); len(given) > 0 {
		if port, err := parsePort(given[0]); err == nil {
			b.res.Port = port
		}
		return nil // --force
	}
	if j.PortFree(defaultPort) {
		return nil
	}
	for range portTries {
		n, err := below(j.Rand, randomPorts)
		if err != nil {
			return err
		}
		if port := uint16(firstRandomPort + n); j.PortFree(port) {
			j.Log(fmt.Sprintf("port %d is in use here; this node listens on port %d", defaultPort, port))
			b.res.Port = port
			host.set("Port", strconv.Itoa(int(port)))
			return nil
		}
	}
	j.Log("no free port was found; choose one with Port")
	return nil
}

func (b *builder) add(name string, data []byte, mode fs.FileMode) {
	for i := range b.files {
		if b.files[i].name == name { // two blocks for one host: the last one counts
			b.files[i].data = data
			return
		}
	}
	b.files = append(b.files, file{name, data, mode})
}

func (b *builder) base() string { return b.res.Layout.ConfBase }

// checkClash refuses to replace files that exist already.
func (b *builder) checkClash() error {
	for _, f := range b.files {
		path := filepath.Join(b.base(), f.name)
		old, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !bytes.Equal(old, f.data):
			return fmt.Errorf("%s exists; move it or choose another directory", path)
		}
	}
	return nil
}

// write puts everything into a temporary directory of the same file system:
// inside of the target if that exists, else beside it.
func (b *builder) write(u URL, text []byte) error {
	beside := b.base()
	if _, err := os.Stat(beside); errors.Is(err, fs.ErrNotExist) {
		beside = filepath.Dir(beside)
		if err := b.res.Layout.MakeParent(); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(beside, u.preparedPrefix()+"*")
	if err != nil {
		return err
	}
	b.tmp = tmp
	conf := filepath.Join(tmp, preparedConf)
	dirs := []string{conf, filepath.Join(conf, "hosts"), filepath.Join(conf, "cache")}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	for _, f := range b.files {
		if err := writeNew(filepath.Join(conf, f.name), f.data, f.mode); err != nil {
			return err
		}
	}
	if err := writeNew(filepath.Join(tmp, preparedText), text, confdir.SecretMode); err != nil {
		return err
	}
	syncDirs(append(dirs, tmp, beside)...)
	return os.Chmod(conf, 0o755)
}

func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// finish moves everything to its place.
func (b *builder) finish() (Result, error) {
	if _, err := os.Stat(b.base()); errors.Is(err, fs.ErrNotExist) {
		if err := os.Rename(b.conf(), b.base()); err == nil {
			syncDirs(filepath.Dir(b.base()))
			return b.res, nil
		}
	}
	for _, dir := range []string{"", "hosts", "cache"} {
		if err := confdir.MakeDir(filepath.Join(b.base(), dir), 0o755); err != nil {
			return Result{}, b.stranded(err)
		}
	}
	for _, f := range b.files {
		if err := files.Rename(filepath.Join(b.conf(), f.name), filepath.Join(b.base(), f.name)); err != nil {
			return Result{}, b.stranded(err)
		}
	}
	syncDirs(filepath.Join(b.base(), "hosts"), b.base())
	return b.res, nil
}

// conf is where the configuration is until it gets to its place.
func (b *builder) conf() string { return filepath.Join(b.tmp, preparedConf) }

// stranded keeps the files of a node that the inviter has accepted already.
func (b *builder) stranded(err error) error {
	kept := b.conf()
	b.tmp = ""
	return fmt.Errorf("this machine is a node of the network now, but its configuration could not be moved to %s: %w; it is in %s", b.base(), err, kept)
}

// discard removes the temporary directory, if there is one.
func (b *builder) discard() {
	if b.tmp != "" {
		os.RemoveAll(b.tmp)
	}
}
