package command

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"tincan/internal/bootnode"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/node"
	"tincan/internal/terminal"
)

// Serve is a boot node's service.
type Serve struct {
	Token
	Layout    confdir.Layout
	Binding   string
	TLSKey    string
	TLSCert   string
	TLSSelf   bool
	Protocols []string // the old ones that are spoken, too
	AllowWeak bool
	Limits    bootnode.Limits // of the token that was given or is generated
	Store     bootnode.StoreURL

	// Generate: make a token if none is given, unless the boot nodes that share the store have some.
	Generate bool
}

// Service is an opened Serve.
type Service struct {
	server   *bootnode.Server
	listener net.Listener
	binding  string
	url      func(at net.Addr) (string, error)
	later    func() error // stores the token, once the store can be asked; nil: that is done
	// Secret is the token that was given or generated; HasSecret tells whether
	// there is one.
	Secret    bootnode.Secret
	HasSecret bool
	Generated bool
	// URL is where newcomers find the service.
	URL string
}

// Open reads the network and takes the token in. What the service logs goes to st.Err.
func (s Serve) Open(st terminal.Streams) (*Service, error) {
	if _, err := os.Stat(s.Layout.TincConf()); err != nil {
		return nil, fmt.Errorf("there is no network in %s: %w", s.Layout.ConfBase, err)
	}
	name, err := confdir.OwnName(s.Layout)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(s.Layout.Host(name)); err != nil {
		return nil, fmt.Errorf("our own host file: %w", err)
	}
	store, err := bootnode.OpenStoreAt(s.Layout, s.Store)
	if err != nil {
		return nil, err
	}
	log := func(text string) { fmt.Fprintln(st.Err, text) }
	signed, err := newBootMembers(s.Layout)
	if err != nil {
		return nil, err
	}
	srv := &bootnode.Server{
		Network: &bootnode.Network{Layout: s.Layout, Name: name, Ranges: bootnode.RangesOf(s.Layout), Running: RunningSubnets(s.Layout), Members: signed},
		Store:   store, NetName: s.Layout.NetName, Log: log,
	}
	for _, text := range s.Protocols {
		p, err := bootnode.ParseProtocol(text)
		if err != nil {
			return nil, err
		}
		if p != bootnode.Current {
			srv.Old = append(srv.Old, p)
		}
	}
	if s.Store.Exposed() {
		log("warning: whoever can read what is between here and the store of the tokens can join with each of them: use etcds://, see docs/bootstrap.md")
	}
	v := &Service{server: srv, binding: s.Binding}
	if err := s.token(v, store, st); err != nil {
		return nil, StoreHint(err)
	}
	pin := ""
	switch {
	case s.TLSSelf:
		cert, p, err := store.SelfSigned()
		if err != nil {
			return nil, StoreHint(err)
		}
		srv.TLS, pin = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}, p
	case s.TLSKey != "" && s.TLSCert != "":
		cert, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate: %w", err)
		}
		srv.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	case s.TLSKey != "" || s.TLSCert != "":
		return nil, errors.New("--tls-key and --tls-cert belong together")
	}
	at, err := bindingAddr(s.Binding)
	if err != nil {
		return nil, err
	}
	v.url = func(at net.Addr) (string, error) { return s.url(name, at, store, v, pin) }
	if v.URL, err = v.url(at); err != nil {
		return nil, StoreHint(err)
	}
	if len(srv.Old) > 0 {
		log(fmt.Sprintf("the old protocols %v are on because they were requested: anyone who records a join can try to guess the token, see docs/bootstrap.md", srv.Old))
	}
	return v, nil
}

// BindingPort is the port of an address at which newcomers are let in, or tells why that cannot be.
func BindingPort(at string) (int, error) {
	addr, err := bindingAddr(at)
	if err != nil {
		return 0, err
	}
	return addr.Port, nil
}

func bindingAddr(at string) (*net.TCPAddr, error) {
	addr, err := net.ResolveTCPAddr("tcp", at)
	if err == nil {
		return addr, nil
	}
	err = fmt.Errorf("%.60q is no address to listen on: %w", at, err)
	if _, number := strconv.ParseUint(at, 10, 16); number == nil {
		return nil, terminal.Hint(err, "for that port of all addresses write :%s", at)
	}
	return nil, err
}

// token takes in the token that was given, or makes one.
func (s Serve) token(v *Service, store *bootnode.Store, st terminal.Streams) (err error) {
	old := len(v.server.Old) > 0
	v.Secret, err = s.Token.Secret(st)
	switch {
	case errors.Is(err, ErrNoToken) && s.Generate && !s.shared(store, v.server.Log):
		v.Secret, err = bootnode.NewSecret(rand.Reader)
		v.Generated = true
	case errors.Is(err, ErrNoToken):
		return nil
	}
	if err != nil {
		return err
	}
	if old && v.Secret.Weak() {
		if !s.AllowWeak {
			return ErrWeakToken
		}
		v.server.Log("warning: the token is weak: it can be guessed from a recorded join by an old protocol")
	}
	limits := s.Limits
	limits.Old = old
	v.HasSecret = true
	add := func() error {
		_, err := AddToken(s.Layout, store, v.Secret, limits)
		return err
	}
	if err = add(); errors.As(err, new(*bootnode.UnavailableError)) {
		v.later = add
		v.server.Log(fmt.Sprintf("%v; nobody is admitted until it can be asked", err))
		return nil
	}
	return err
}

// shared tells whether there are tokens in a store that boot nodes share, or may be.
func (s Serve) shared(store *bootnode.Store, log func(string)) bool {
	if s.Store.String() == "" {
		return false
	}
	tokens, err := store.List()
	if err != nil {
		log(fmt.Sprintf("%v; nobody is admitted until it can be asked", err))
	}
	return err != nil || len(tokens) > 0
}

// StoreHint adds to an error of a shared store what can be done about it.
func StoreHint(err error) error {
	if errors.As(err, new(*bootnode.UnavailableError)) {
		return terminal.Hint(err, "does etcd run there, and are host, certificates and password right? see \"Several boot nodes\" in docs/bootstrap.md")
	}
	return err
}

// url is where newcomers find us, with the pins.
func (s Serve) url(name node.Name, at net.Addr, store *bootnode.Store, v *Service, pin string) (string, error) {
	host, port, err := net.SplitHostPort(at.String())
	if err != nil {
		return "", err
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if host, err = PublicHost(s.Layout, name); err != nil {
			return "", err
		}
	}
	url := net.JoinHostPort(host, port)
	var pins []string
	if v.server.TLS != nil {
		url = "https://" + url
	}
	if pin != "" {
		pins = append(pins, "sha256="+pin)
	}
	if v.HasSecret && !v.Generated {
		// A token that a person has thought of is protected by the key of the service.
		key, err := store.Pin()
		if err != nil {
			return "", err
		}
		pins = append(pins, "key="+key)
	}
	if len(pins) > 0 {
		url += "#" + strings.Join(pins, "&")
	}
	return url, nil
}

// PublicHost is where others reach this machine.
func PublicHost(l confdir.Layout, name node.Name) (string, error) {
	if data, err := os.ReadFile(l.Host(name)); err == nil {
		for _, v := range config.Values(data, "Address") {
			if a, err := config.ParseAddress(v); err == nil {
				return a.Host, nil
			}
		}
	}
	var settings config.Settings
	if n, _, err := confdir.Load(l, nil); err == nil {
		settings = n.Settings
	}
	if a := GuessAddress(settings); a != "" {
		return a, nil
	}
	return os.Hostname()
}

// Listen takes the port. If that is for the system to choose, the URL has it from now on.
func (v *Service) Listen() (err error) {
	if v.listener, err = net.Listen("tcp", v.binding); err != nil {
		return terminal.Hint(fmt.Errorf("the boot service cannot listen: %w", err), "another program may use that port; choose another address")
	}
	v.URL, err = v.url(v.listener.Addr())
	return err
}

// Run answers until ctx ends. log, unless it is nil, gets what the service logs from now on.
func (v *Service) Run(ctx context.Context, log func(string)) error {
	if log != nil {
		v.server.Log = log
	}
	if v.later == nil {
		return v.server.Serve(ctx, v.listener)
	}
	ctx, cancel := context.WithCancel(ctx)
	var storing sync.WaitGroup
	storing.Go(func() { v.store(ctx) })
	defer storing.Wait()
	defer cancel()
	return v.server.Serve(ctx, v.listener)
}

// longestPause is the longest time between two attempts to store the token.
const longestPause = 15 * time.Second

// store stores the token as soon as the store can be asked.
func (v *Service) store(ctx context.Context) {
	for pause := time.Second; ; pause = min(2*pause, longestPause) {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		err := v.later()
		switch {
		case err == nil:
			v.server.Log("the store of the tokens answers; new nodes are admitted")
			return
		case !errors.As(err, new(*bootnode.UnavailableError)):
			v.server.Log(fmt.Sprintf("storing the token: %v", err))
			return
		}
	}
}

// RunningSubnets returns what asks the running node of a network for its subnets, at
// most once a second. Without a running node there are none.
func RunningSubnets(l confdir.Layout) func() []bootnode.Owned {
	var mu sync.Mutex
	var known []bootnode.Owned
	var asked time.Time
	return func() []bootnode.Owned {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(asked) < time.Second {
			return slices.Clone(known)
		}
		known, asked = nil, time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		c, err := control.Dial(ctx, l.ForClient().PidFile)
		if err != nil {
			return nil
		}
		defer c.Close()
		list, err := c.Subnets("")
		if err != nil {
			return nil
		}
		for _, s := range list {
			if s.Owner != "" {
				known = append(known, bootnode.Owned{Subnet: s.Subnet, Owner: s.Owner})
			}
		}
		return slices.Clone(known)
	}
}

// Unit is the systemd unit of a boot service: its path and text. The token, if
// there is one, goes to a file that only root can read.
func (s Serve) Unit(program string, options []string, secret bootnode.Secret) (path, text string, err error) {
	if port, err := BindingPort(s.Binding); err == nil && port == 0 {
		return "", "", terminal.Hint(fmt.Errorf("%q is another port at each start, which new nodes cannot know", s.Binding), "choose one: --binding :%d", bootnode.DefaultPort)
	}
	store, err := bootnode.OpenStore(s.Layout)
	if err != nil {
		return "", "", err
	}
	if secret.Reveal() != "" {
		if err := confdir.WriteFile(store.ServiceToken(), []byte(secret.Reveal()+"\n"), confdir.SecretMode); err != nil {
			return "", "", err
		}
	}
	base := filepath.Base(s.Layout.ConfBase)
	path = "/etc/systemd/system/tinc-boot-" + base + ".service"
	words := append([]string{program, "bootnode"}, options...)
	words = append(words, "--dir", s.Layout.ConfBase, "--binding", s.Binding)
	if secret.Reveal() != "" {
		words = append(words, "--token-file", store.ServiceToken())
	}
	if at := s.Store.String(); at != "" {
		words = append(words, "--store", at)
	}
	for _, o := range []struct{ name, value string }{{"--tls-key", absolute(s.TLSKey)}, {"--tls-cert", absolute(s.TLSCert)}} {
		if o.value != "" {
			words = append(words, o.name, o.value)
		}
	}
	if s.TLSSelf {
		words = append(words, "--tls-self")
	}
	if s.AllowWeak {
		words = append(words, "--allow-weak-token")
	}
	for _, p := range s.Protocols {
		words = append(words, "--protocol", p)
	}
	text = fmt.Sprintf(`[Unit]
Description=boot service of the network %s: admits new nodes
After=network-online.target
Wants=network-online.target

[Service]
ExecStart=%s
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`, base, UnitWords(words))
	return path, text, nil
}

func absolute(path string) string {
	if path == "" {
		return ""
	}
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}

// UnitWords is a command line for ExecStart.
func UnitWords(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = unitQuote(w)
	}
	return strings.Join(quoted, " ")
}

// unitQuote makes a word safe for ExecStart.
func unitQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(s) + `"`
}
