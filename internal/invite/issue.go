package invite

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/subnet"
)

// maxOthers is how many nodes besides the inviter a newcomer is told about.
const maxOthers = 4

// Request says what to invite and where.
type Request struct {
	Dir     string // CONFBASE of the inviter
	NetName string // "" if the network has none
	Name    node.Name
	Invitee node.Name

	// Explicit is where the newcomer is sent before every Address line, as in such a line: a
	// host and perhaps a port. "": as the configuration says.
	Explicit string
	// Address is the host name or IP address in the URL if the configuration
	// has no Address line.
	Address string
	// Port is what the running daemon listens on, whatever the configuration says: that may have
	// changed since. 0: no daemon runs.
	Port uint16
	// Taken returns the subnets of the running network. It may be nil.
	Taken func() []subnet.Subnet
	// Known tells whether the running network has a node of that name. It may
	// be nil.
	Known func(node.Name) bool

	// NetworkID is written into the invitation of a signed network, and Given are the addresses that the newcomer was
	// granted; with Choose it may get others as well.
	NetworkID string
	Given     []netip.Addr
	Choose    bool
	// Approval is written, too: an owner has to approve the newcomer, who is told so.
	Approval bool
	// Back: the name was that of a node which has been removed or has left, and whose host file may still be here.
	Back bool

	Expire time.Duration // 0: DefaultExpire
	Now    time.Time     // zero: the present
	Rand   io.Reader     // nil: crypto/rand
}

// Invitation is what Issue made.
type Invitation struct {
	URL       string // secret
	File      string // path of the file, which may still be edited
	Invitee   node.Name
	Addresses []string // ADDR/LEN chosen for the newcomer
	NewKey    bool     // there is a new invitation key: a tinc daemon must reload
	Expires   time.Time
	Again     bool // there is another open invitation for the same name; only the first one used is valid
}

// ErrNoAddress is the error when nothing says where newcomers can reach us.
var ErrNoAddress = errors.New("the configuration does not say under which address this node can be reached")

// Issue makes an invitation. Nothing is left behind if it fails. The caller
// runs the invitation-created script before it shows the URL.
func Issue(r Request) (inv Invitation, err error) {
	if r.Now.IsZero() {
		r.Now = time.Now()
	}
	if r.Rand == nil {
		r.Rand = rand.Reader
	}
	if r.Expire == 0 {
		r.Expire = DefaultExpire
	}
	if err := r.check(); err != nil {
		return Invitation{}, fmt.Errorf("inviting %s: %w", r.Invitee, err)
	}
	if inv, err = r.issue(); err != nil {
		return Invitation{}, fmt.Errorf("inviting %s: %w", r.Invitee, err)
	}
	return inv, nil
}

// ErrTaken: the network has a node of that name.
var ErrTaken = errors.New("there is a node of that name already")

// check finds clashes of the name.
func (r *Request) check() error {
	if _, err := node.ParseName(string(r.Invitee)); err != nil {
		return err
	}
	if r.Invitee == r.Name {
		return fmt.Errorf("%w: it is this one", ErrTaken)
	}
	if r.Back {
		return nil
	}
	file := filepath.Join(r.Dir, "hosts", string(r.Invitee))
	if _, err := os.Lstat(file); err == nil {
		return fmt.Errorf("%w: %s exists", ErrTaken, file)
	}
	if r.Known != nil && r.Known(r.Invitee) {
		return fmt.Errorf("%w, in the network", ErrTaken)
	}
	return nil
}

func (r *Request) issue() (inv Invitation, err error) {
	conf, err := readConf(r.Dir)
	if err != nil {
		return inv, err
	}
	own, err := os.ReadFile(filepath.Join(r.Dir, "hosts", string(r.Name)))
	if err != nil {
		return inv, fmt.Errorf("reading our own host file: %w", err)
	}
	url, port, err := r.location(own, conf)
	if err != nil {
		return inv, err
	}

	s := storeIn(r.Dir)
	_, missing := os.Lstat(s.dir)
	if err := confdir.MakeDir(s.dir, 0o700); err != nil {
		return inv, err
	}
	if missing != nil {
		handOver(s.dir)
	}
	unlock, err := s.lock()
	if err != nil {
		return inv, err
	}
	defer unlock()
	open, err := s.sweep(r.Now, r.Expire)
	if err != nil {
		return inv, fmt.Errorf("removing old invitations: %w", err)
	}
	key, isNew, err := s.keyFor(open, r.Rand)
	if err != nil {
		return inv, err
	}
	if _, err := io.ReadFull(r.Rand, url.cookie[:]); err != nil {
		return inv, err
	}
	url.keyHash = keyHashOf(key.Public())

	inv = Invitation{URL: url.String(), Invitee: r.Invitee, NewKey: isNew, Expires: r.Now.Add(r.Expire)}
	for _, file := range s.names() {
		if t, err := s.read(file); err == nil && t.name == r.Invitee {
			inv.Again = true
		}
	}
	inv.File = s.path(fileOf(url.cookie, key.Public()))
	content, err := r.text(own, conf, port, &inv)
	if err != nil {
		return Invitation{}, err
	}
	if err := confdir.Create(inv.File, content, confdir.SecretMode); err != nil {
		return Invitation{}, err
	}
	handOver(inv.File)
	return inv, nil
}

// keyFor returns the key of the open invitations, or a new one if there are
// none: so a URL does not outlive the last of its generation.
func (s store) keyFor(open int, rand io.Reader) (key *keys.PrivateKey, isNew bool, err error) {
	if open > 0 {
		key, err = s.key()
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return key, false, err
		}
	}
	if key, err = keys.Generate(rand); err != nil {
		return nil, false, err
	}
	if err := confdir.WriteFile(s.path(keyFile), keys.MarshalPrivatePEM(key), confdir.SecretMode); err != nil {
		return nil, false, err
	}
	handOver(s.path(keyFile))
	return key, true, nil
}

// location finds where newcomers reach us: what was given, or the first Address line, of the own
// host file before the main configuration, with its port, else Port. listen is
// the port for the host file.
func (r *Request) location(own, conf []byte) (url URL, listen uint16, err error) {
	listen, err = r.listenPort(own, conf)
	if err != nil {
		return URL{}, 0, err
	}
	url.Port = listen
	words := strings.Fields(cmp.Or(r.Explicit, firstValue("Address", own, conf)))
	switch {
	case len(words) > 1:
		if url.Port, err = parsePort(words[1]); err != nil {
			return URL{}, 0, err
		}
		fallthrough
	case len(words) == 1:
		url.Host = words[0]
	case r.Address != "":
		url.Host = r.Address
	default:
		return URL{}, 0, ErrNoAddress
	}
	return url, listen, nil
}

// firstValue returns the first value of a variable in the first text that has
// one, or "".
func firstValue(variable string, texts ...[]byte) string {
	for _, data := range texts {
		if values := config.Values(data, variable); len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// ErrDynamicPort: only a running daemon knows the port.
var ErrDynamicPort = errors.New("the port is chosen by the daemon (Port = 0), which is not running")

func (r *Request) listenPort(own, conf []byte) (uint16, error) {
	if r.Port != 0 {
		return r.Port, nil
	}
	switch v := firstValue("Port", own, conf); v {
	case "":
		return defaultPort, nil
	case "0":
		return 0, ErrDynamicPort
	default:
		return parsePort(v)
	}
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err == nil && n > 0 {
		return uint16(n), nil
	}
	if n, err := net.LookupPort("tcp", s); err == nil && n > 0 {
		return uint16(n), nil
	}
	return 0, fmt.Errorf("%.40q is not a port", s)
}

// text writes the invitation and notes the addresses in inv.
func (r *Request) text(own, conf []byte, port uint16, inv *Invitation) ([]byte, error) {
	var running []subnet.Subnet
	if r.Taken != nil {
		running = r.Taken()
	}
	a, err := survey(r.Dir, r.Name, "", running, r.Rand)
	if err != nil {
		return nil, err
	}
	others, err := r.others(a.others)
	if err != nil {
		return nil, err
	}

	var w writer
	w.set("Name", string(r.Invitee))
	if unsafe, err := confdir.CheckNetName(r.NetName); r.NetName != "" && r.NetName != "." && !unsafe && err == nil {
		w.set("NetName", r.NetName)
	}
	w.set("ConnectTo", string(r.Name))
	for _, b := range others {
		w.set("ConnectTo", string(b.name))
	}
	for _, variable := range []string{"Mode", "Broadcast"} {
		for _, v := range config.Values(conf, variable) {
			w.set(variable, v)
		}
	}
	if r.NetworkID != "" {
		w.set("NetworkID", r.NetworkID)
	}
	if r.Approval {
		w.set(needsApproval, "yes")
	}
	for _, p := range ownPrefixes(conf) {
		addr, ok, err := r.addressIn(p, a)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		given := netip.PrefixFrom(addr, p.Bits()).String()
		inv.Addresses = append(inv.Addresses, given)
		w.set("Ifconfig", given)
		w.set("Subnet", addr.String())
	}
	w.host(r.Name, withPort(r.withAddress(own, conf), port))
	for _, b := range others {
		w.host(b.name, b.text)
	}
	if w.Len() > maxText {
		return nil, fmt.Errorf("our own host file is too long to be sent (the limit is %d bytes)", maxText)
	}
	return w.Bytes(), nil
}

// addressIn is the newcomer's address in a range. ok is false if it gets none there.
func (r *Request) addressIn(p netip.Prefix, a *addresses) (addr netip.Addr, ok bool, err error) {
	if i := slices.IndexFunc(r.Given, p.Contains); i >= 0 {
		return r.Given[i], true, nil
	}
	if r.NetworkID != "" && !r.Choose {
		return netip.Addr{}, false, nil
	}
	addr, err = a.pick(p)
	return addr, err == nil, err
}

// withAddress returns our host file with the address that the URL has, if the
// configuration does not say it: a newcomer that runs tinc knows no other path to us.
func (r *Request) withAddress(own, conf []byte) []byte {
	address := r.Explicit
	if address == "" && firstValue("Address", own, conf) == "" {
		address = r.Address
	}
	if address == "" {
		return own
	}
	var w writer
	w.set("Address", address)
	w.Write(own)
	return w.Bytes()
}

// withPort returns our host file with the port that we really listen on.
func withPort(own []byte, port uint16) []byte {
	var w writer
	seen := false
	for _, l := range printable(own) {
		if l.is("Port") {
			seen = true
			w.set("Port", strconv.Itoa(int(port)))
			continue
		}
		w.WriteString(l.raw + "\n")
	}
	if !seen && port != defaultPort {
		w.set("Port", strconv.Itoa(int(port)))
	}
	return w.Bytes()
}

// other is a node that an invitation names beside the inviter.
type other struct {
	name node.Name
	text []byte // of its host file, as far as it may be passed on
}

// others chooses a few nodes that can be dialled, so that the newcomer finds
// its way also without the inviter.
func (r *Request) others(names []node.Name) (out []other, err error) {
	names = slices.Clone(names)
	for len(names) > 0 && len(out) < maxOthers {
		i, err := below(r.Rand, len(names))
		if err != nil {
			return nil, err
		}
		name := names[i]
		names[i] = names[len(names)-1]
		names = names[:len(names)-1]
		data, err := os.ReadFile(filepath.Join(r.Dir, "hosts", string(name)))
		if err != nil {
			continue
		}
		b := block{name: name, lines: printable(data)}
		hasKey := len(b.values("Ed25519PublicKey")) > 0
		if _, err := keys.ParsePublicPEM(data); err == nil {
			hasKey = true
		}
		if hasKey && len(b.values("Address")) > 0 && len(data) < maxText/(2*maxOthers) {
			if text, _, err := b.hostFile(); err == nil {
				out = append(out, other{name, text})
			}
		}
	}
	return out, nil
}
