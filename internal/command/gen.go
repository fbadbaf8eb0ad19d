package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/bootnode"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/generate"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

// DefaultNetwork is the network when nobody says which.
const DefaultNetwork = "dnet"

// Engines are the daemons that a node can be made for.
const (
	Embedded = "embedded" // tincan itself
	TincdOne = "tincd"    // tinc 1.0
)

// Gen makes a node, and lets a boot node bring it into a network.
type Gen struct {
	Token
	Place confdir.Place // where; Net may be empty for DefaultNetwork

	Name       string
	Prefix     string
	IP         string
	Mask       int
	Port       uint16
	Public     []string
	ConnectTo  []string
	Standalone bool
	Timeout    time.Duration
	Bits       int
	Engine     string
	Protocol   string
	Force      bool
	NoGenKey   bool
	Bin        string
	NoBinCopy  bool
	TincBin    string

	URLs []string
	// BootPort is where this machine will let newcomers in; 0: nowhere yet.
	BootPort int
	// Old: try generation 1 if the boot node does not support the protocol of tincan.
	Old bool
}

// Made is a new node.
type Made struct {
	Layout confdir.Layout
	Name   node.Name
	VPN    netip.Prefix
	Port   int
	Boot   node.Name // who let it in; "" if nobody did or it does not say
}

// Print writes the settings the way tinc-boot does.
func (m Made) Print(w io.Writer) {
	network := m.Layout.NetName
	if network == "" {
		network = filepath.Base(m.Layout.ConfBase)
	}
	fmt.Fprintf(w, "Network: %s\nName: %s\nSubnet: %s/%d\nAddress: %s\nPort: %d\nLocation: %s\n",
		network, m.Name, m.VPN.Addr(), m.VPN.Addr().BitLen(), m.VPN, m.Port, m.Layout.ConfBase)
}

// ErrNoBootNode: neither boot nodes nor --standalone were given.
var ErrNoBootNode = errors.New("no boot node was given")

// NodeName makes a name from what was given, or from the host name. With asGiven a name that was
// given is not changed. Without it only those of its letters and digits count that tinc-boot knows.
func NodeName(text string, asGiven bool) (node.Name, error) {
	if text != "" && asGiven && len(text) <= bootnode.MaxName {
		return node.ParseName(text)
	}
	if text == "" {
		host, err := os.Hostname()
		if err != nil {
			return "", fmt.Errorf("asking for the host name: %w", err)
		}
		if text = host; asGiven {
			text = fromHost(host)
		}
		if asGiven && strings.Trim(text, "_") != "" && len(text) <= bootnode.MaxName {
			return node.ParseName(text)
		}
	}
	name := node.Normalise(text)
	switch {
	case name == "":
		return "", fmt.Errorf("%.60q has none of the letters a-z and digits that a name is made of; choose another with --name", text)
	case len(name) > bootnode.MaxName:
		return "", fmt.Errorf("the name has more than %d characters", bootnode.MaxName)
	}
	return node.ParseName(name)
}

// fromHost is the name of the node of a machine: the first part of the host name, in lower case, with "_" for what a
// name cannot hold.
func fromHost(host string) string {
	label, _, _ := strings.Cut(strings.ToLower(host), ".")
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, label)
}

// Run makes the node. Talk goes to s.Err.
func (g Gen) Run(ctx context.Context, s terminal.Streams) (Made, error) {
	r := &generation{Gen: g, s: s}
	if err := r.check(); err != nil {
		return Made{}, err
	}
	if err := r.place(g.Place); err != nil {
		return Made{}, err
	}
	if err := r.keys(); err != nil {
		return Made{}, err
	}
	if err := r.join(ctx); err != nil {
		return Made{}, err
	}
	m, err := r.write()
	if err == nil && (r.Standalone || len(r.Public) > 0) {
		r.say("%s", r.portsToOpen(m.Port))
	}
	return m, err
}

// portsToOpen says what has to get through firewalls for others to reach this node.
func (g Gen) portsToOpen(port int) string {
	text := fmt.Sprintf("open in firewalls: port %d, TCP and UDP, for the other nodes", port)
	switch {
	case g.BootPort != 0:
		text += fmt.Sprintf("; port %d, TCP, for new nodes", g.BootPort)
	case g.Standalone && g.Engine == Embedded:
		text += fmt.Sprintf("; and port %d, TCP, if new nodes are admitted here with a token (tincan bootnode)", bootnode.DefaultPort)
	}
	return text
}

// generation is one run of Gen.
type generation struct {
	Gen
	s terminal.Streams

	name     node.Name
	layout   confdir.Layout
	public   []config.Address
	urls     []bootnode.URL
	secret   bootnode.Secret
	protocol bootnode.Protocol
	space    *generate.Space // nil: the boot node chooses

	key    *keys.PrivateKey
	rsa    *keys.RSAPrivateKey
	port   int
	vpn    netip.Prefix
	joined bootnode.Joined
}

func (r *generation) say(format string, args ...any) { fmt.Fprintf(r.s.Err, format+"\n", args...) }

// check looks at what was asked for, before anything is touched.
func (r *generation) check() (err error) {
	if r.protocol, err = bootnode.ParseProtocol(r.Protocol); err != nil {
		return err
	}
	if r.name, err = NodeName(r.Name, r.protocol == bootnode.Current && !r.Old); err != nil {
		return err
	}
	if r.Engine != Embedded && r.Engine != TincdOne {
		return fmt.Errorf("there is no engine %.20q; choose %s or %s", r.Engine, Embedded, TincdOne)
	}
	if r.Engine == TincdOne && r.Bits == 0 {
		r.Bits = 4096
	}
	if r.Bits != 0 && (r.Bits < keys.MinRSABits || r.Bits > keys.MaxRSABits || r.Bits%8 != 0) {
		return fmt.Errorf("an RSA key has %d to %d bits, a multiple of 8, not %d", keys.MinRSABits, keys.MaxRSABits, r.Bits)
	}
	for _, text := range strings.FieldsFunc(strings.Join(r.Public, ","), func(c rune) bool { return c == ',' }) {
		if host, port, err := net.SplitHostPort(text); err == nil {
			text = host + " " + port
		}
		a, err := config.ParseAddress(text)
		if err != nil {
			return fmt.Errorf("--public: %w", err)
		}
		r.public = append(r.public, a)
	}
	if err := r.chooseSpace(); err != nil {
		return err
	}
	if r.Standalone {
		return nil
	}
	if len(r.Gen.URLs) == 0 {
		return terminal.Hint(ErrNoBootNode, "give the address of one, HOST:%d, or --standalone for the first node of a network", bootnode.DefaultPort)
	}
	for _, text := range r.Gen.URLs {
		u, err := bootnode.ParseURL(text)
		if err != nil {
			return err
		}
		r.urls = append(r.urls, u)
	}
	r.secret, err = r.Token.Secret(r.s)
	if errors.Is(err, ErrNoToken) && r.s.Interactive() {
		fmt.Fprint(r.s.Err, "token: ")
		text, _ := r.s.Line()
		if r.secret, err = bootnode.ParseSecret(text); text == "" {
			err = ErrNoToken
		}
	}
	if err == nil && r.secret.Mistyped() {
		r.say("note: this looks like a token that was made by this program, but has a typing error")
	}
	if errors.Is(err, ErrNoToken) {
		return terminal.Hint(err, "give the one of the boot node with --token or --token-file")
	}
	return err
}

// chooseSpace decides where the address comes from.
func (r *generation) chooseSpace() error {
	text := r.Prefix
	switch {
	case r.IP != "" && r.Prefix != "":
		return errors.New("--ip is the whole address, so --prefix cannot be used with it")
	case r.IP != "":
		text = r.IP
	case text != "":
	case r.Standalone:
		network := generate.RandomRange()
		r.space = &generate.Space{Pool: network, Bits: network.Bits()}
		if r.Mask != 0 {
			return errors.New("--mask belongs to --prefix or --ip")
		}
		return nil
	case r.protocol == bootnode.Current:
		return nil
	default:
		text = "172.173"
		if r.protocol == bootnode.Generation2 {
			text = "172.16.0.0/12"
		}
		r.say("note: the old protocols do not tell the addresses of the network; taking those of tinc-boot, %s, see --prefix", text)
	}
	space, err := generate.ParseSpace(text, r.Mask)
	if err != nil {
		return err
	}
	if r.IP != "" && !space.Pool.IsSingleIP() {
		return fmt.Errorf("--ip %q: write one address, such as 10.7.3.4", r.IP)
	}
	r.space = &space
	return nil
}

// place finds the directory, and what stands there.
func (r *generation) place(p confdir.Place) error {
	if p.Net == "" && p.Conf == "" {
		p.Net = DefaultNetwork
	}
	l, err := p.Layout()
	if err == nil {
		l, err = l.Abs()
	}
	if err != nil {
		return err
	}
	if r.layout.ConfBase == l.ConfBase {
		return nil
	}
	if _, err := os.Lstat(l.TincConf()); err == nil {
		if !r.Force {
			return terminal.Hint(fmt.Errorf("%w: %s", generate.ErrExists, l.TincConf()),
				"nothing was changed; --force recreates the node: another address and port, the same keys, the old tinc.conf as tinc.conf.old")
		}
		moved, err := generate.SetAside(l)
		if err != nil {
			return err
		}
		r.say("the old files are now %s", strings.Join(moved, ", "))
	}
	r.layout = l
	if err := generate.MakeDirs(l); err != nil {
		return err
	}
	switch r.port = int(r.Port); {
	case r.port == 0 && (r.Standalone || len(r.Public) > 0) && generate.PortFree(generate.DefaultPort):
		r.port = generate.DefaultPort // others are to reach it: firewalls have this port open
	case r.port == 0:
		r.port, err = generate.FreePort()
	default:
		if !generate.PortFree(r.port) {
			err = fmt.Errorf("port %d is in use", r.port)
		}
	}
	return err
}

// keys makes the keys, or finds those of an attempt that broke off.
func (r *generation) keys() (err error) {
	if r.Engine == Embedded {
		if r.key, _, err = generate.OwnKey(r.layout); err != nil {
			return err
		}
	}
	if r.Bits == 0 || r.NoGenKey {
		return nil
	}
	stop := r.busy(fmt.Sprintf("making an RSA key of %d bits", r.Bits))
	defer stop()
	r.rsa, _, err = generate.OwnRSA(r.layout, r.Bits)
	return err
}

// busy shows that something takes its time.
func (r *generation) busy(what string) (stop func()) {
	fmt.Fprint(r.s.Err, what+" ")
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(300 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case <-done:
				fmt.Fprintln(r.s.Err, "done")
				return
			case <-t.C:
				fmt.Fprint(r.s.Err, ".")
			}
		}
	}()
	return func() { close(done); <-ended }
}

// hostFile is what the boot node gets.
func (r *generation) hostFile() []byte {
	if r.Engine == TincdOne {
		t := r.tincd()
		if r.vpn.IsValid() {
			return t.HostFile()
		}
		file, _ := config.Delete(t.HostFile(), "Subnet", "")
		return file
	}
	var b []byte
	if r.vpn.IsValid() {
		b = fmt.Appendf(b, "Subnet = %s\n", r.vpn.Addr())
	}
	for _, a := range r.public {
		b = fmt.Appendf(b, "Address = %s\n", a)
	}
	b = fmt.Appendf(b, "Port = %d\nEd25519PublicKey = %s\n", r.port, r.key.Public())
	if r.rsa != nil {
		b = append(b, r.rsa.Public().MarshalPEM()...)
	}
	return b
}

// join asks the boot nodes.
func (r *generation) join(ctx context.Context) (err error) {
	if r.space != nil {
		if r.vpn, err = r.space.Pick(r.taken()); err != nil {
			return err
		}
	}
	if r.Standalone {
		return nil
	}
	q := bootnode.Request{
		URLs: r.urls, Token: r.secret, Protocol: r.protocol, Name: r.name, Host: r.hostFile(), Key: r.key,
		Assign: !r.vpn.IsValid(), Attempt: min(r.Timeout, 15*time.Second), Timeout: r.Timeout * time.Duration(len(r.urls)),
		Log: func(text string) { r.say("%s", text) },
	}
	if r.protocol != bootnode.Current {
		r.warnOld()
	}
	if r.Old && len(r.urls) > 1 { // one that is dead must not keep us from finding out that the others are old
		once := q
		once.Timeout = 0
		r.joined, err = bootnode.Join(ctx, once)
		if err != nil && !errors.Is(err, bootnode.ErrNotCurrent) {
			r.joined, err = bootnode.Join(ctx, q)
		}
	} else {
		r.joined, err = bootnode.Join(ctx, q)
	}
	if errors.Is(err, bootnode.ErrNotCurrent) {
		if !r.Old {
			return terminal.Hint(err, "if it is the bootnode of tinc-boot, add --protocol gen1; that protocol is weaker, see docs/bootstrap.md")
		}
		r.say("the boot node does not support the protocol of tincan; continuing with that of tinc-boot")
		r.protocol, q.Protocol, q.Assign = bootnode.Generation1, bootnode.Generation1, false
		r.warnOld()
		if r.space == nil {
			if err := r.chooseSpace(); err != nil {
				return err
			}
			if r.vpn, err = r.space.Pick(r.taken()); err != nil {
				return err
			}
			q.Host = r.hostFile()
		}
		r.joined, err = bootnode.Join(ctx, q)
	}
	if public := new(bootnode.PublicAddressError); errors.As(err, public) {
		a := public.Address
		return terminal.Hint(err, "if that is right, give it explicitly: --ip %v --mask %d", a.Addr(), a.Bits())
	}
	if errors.Is(err, bootnode.ErrUnavailable) {
		return terminal.Hint(err, "its log says why; try again later, or give another boot node, too (nothing but keys was stored, and they are used again)")
	}
	if err != nil {
		for _, u := range r.urls {
			if u.Port() == generate.DefaultPort {
				return terminal.Hint(err, "port %d is that of nodes, most likely; the boot service listens on %d: %s", generate.DefaultPort, bootnode.DefaultPort,
					net.JoinHostPort(u.Host(), strconv.Itoa(bootnode.DefaultPort)))
			}
		}
		return terminal.Hint(err, "nothing but keys was stored, and they are used again at the next attempt")
	}
	if !r.vpn.IsValid() {
		r.vpn = r.joined.Address
	}
	if r.joined.Boot != "" {
		r.say("the boot node is %s", r.joined.Boot)
	}
	if name := r.joined.NetName; name != "" && name != r.layout.NetName {
		r.say("note: the boot node calls the network %.60q", name)
	}
	return nil
}

func (r *generation) warnOld() {
	for _, u := range r.urls {
		if strings.HasPrefix(u.String(), "http:") && !privateHost(u.Host()) {
			r.say("warning: the protocol of tinc-boot over plain HTTP does not protect against an attacker between here and %s who knows its host file", u.Host())
		}
	}
}

func privateHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && (a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast())
}

// taken tells which addresses the host files that are here claim, or machines around have.
func (r *generation) taken() func(netip.Addr) bool {
	used := map[netip.Addr]bool{}
	for a := range netwatch.InUse("") {
		used[a] = true
	}
	entries, _ := os.ReadDir(r.layout.Hosts())
	for _, e := range entries {
		if name, err := node.ParseName(e.Name()); err == nil && name != r.name {
			if h, _, err := confdir.LoadHost(r.layout, name, nil); err == nil {
				for _, s := range h.Subnets {
					used[s.Prefix().Addr()] = true
				}
			}
		}
	}
	return func(a netip.Addr) bool { return used[a] }
}

// write makes the files of the node.
func (r *generation) write() (Made, error) {
	if other := generate.Overlap(r.vpn.Masked()); r.vpn.IsValid() && other != "" {
		r.say("warning: the range %v of the VPN overlaps with %s: a node with the address of a machine there cannot be reached from here", r.vpn.Masked(), other)
	}
	hosts := r.joined.Hosts
	connect := slices.Clone(r.ConnectTo)
	if boot := r.joined.Boot; boot != "" {
		connect = append([]string{string(boot)}, connect...)
		if file := hosts[boot]; len(config.Values(file, "Address")) == 0 {
			// It does not say where it is, but we have just reached it.
			hosts[boot] = append([]byte("Address = "+r.joined.URL.Host()+"\n"), file...)
		}
	} else if r.protocol == bootnode.Generation2 {
		for name, file := range hosts {
			if len(config.Values(file, "Address")) > 0 {
				connect = append(connect, string(name))
			}
		}
	}
	made := Made{Layout: r.layout, Name: r.name, VPN: r.vpn, Port: r.port, Boot: r.joined.Boot}
	if r.Engine == TincdOne {
		t := r.tincd()
		t.ConnectTo = connect
		if err := t.Create(hosts); err != nil {
			return made, err
		}
		return made, r.copyBin()
	}
	n := generate.Node{
		Layout: r.layout, Name: r.name, Port: r.port, VPN: r.vpn, Public: r.public, Key: r.key, RSA: r.rsa,
		AutoAddress: r.joined.Address.IsValid() && r.joined.Network == "", Hosts: hosts, NetworkID: r.joined.Network,
	}
	for _, text := range connect {
		name, err := node.ParseName(text)
		if err != nil {
			return made, fmt.Errorf("--connect-to: %w", err)
		}
		if !slices.Contains(n.ConnectTo, name) {
			n.ConnectTo = append(n.ConnectTo, name)
		}
	}
	if _, err := n.Create(); err != nil {
		return made, err
	}
	return made, r.noteReceived(hosts)
}

// noteReceived sees to it that the addresses in the host files that the boot node has sent count as what others
// have told us. The user has pointed at the boot node, though, so one on this machine may be dialled there.
func (r *generation) noteReceived(hosts map[node.Name][]byte) error {
	var names []node.Name
	for name := range hosts {
		if name != r.joined.Boot || !netwatch.IsHere(r.joined.URL.Host()) {
			names = append(names, name)
		}
	}
	s := keydist.Store{Layout: r.layout, Self: r.name}
	if err := s.Received(names...); err != nil {
		return fmt.Errorf("noting that the host files came from a boot node: %w", err)
	}
	return nil
}

func (r *generation) tincd() generate.Tincd {
	bin, err := filepath.Abs(r.Bin)
	if err != nil {
		bin = r.Bin
	}
	t := generate.Tincd{
		Layout: r.layout, Interface: r.layout.NetName, Name: r.name, VPN: r.vpn, Port: r.port,
		ConnectTo: r.ConnectTo, Bin: bin, RSA: r.rsa,
	}
	if t.Interface == "" {
		t.Interface = filepath.Base(r.layout.ConfBase)
	}
	for _, a := range r.public {
		t.Public = append(t.Public, a.String())
	}
	return t
}

// copyBin puts this program where the scripts look for it.
func (r *generation) copyBin() error {
	self, err := os.Executable()
	if err != nil || r.NoBinCopy {
		return err
	}
	bin, err := filepath.Abs(r.Bin)
	if err != nil || bin == self {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(bin), 0o755); err != nil {
		return err
	}
	tmp := bin + ".new"
	out, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(out, in); err == nil {
		err = out.Chmod(0o755)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, bin)
}
