package tincboot

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tincan/internal/bootnode"
	"tincan/internal/cli/frontend"
	"tincan/internal/cli/launch"
	"tincan/internal/cli/version"
	"tincan/internal/command"
	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/control"
	"tincan/internal/generate"
	"tincan/internal/node"
)

// run is the command of tinc-boot's second generation: node, boot service and
// newcomer in one.
type run struct {
	command.Token
	name, device, host, ip, dir, tincd string
	advertise, join                    []string
	port, tincPort                     uint16
	tls, ufw, weak                     bool
	store                              bootnode.StoreURL
	cert, key                          string
	retry, discovery                   time.Duration
}

func (a *app) bootRunCommand() *cobra.Command {
	var r run
	c := &cobra.Command{
		Use: "run", Short: "Run a node that others can join", Args: frontend.Between("no arguments", 0, 0),
		Long: `Makes a node in DIR if there is none, runs it (with the engine of tincan: no
tincd is needed), admits new nodes that know the token, and joins the networks of
--join with it.`,
		RunE: func(*cobra.Command, []string) error { return a.run(r) },
	}
	f := c.Flags()
	f.StringVarP(&r.name, "name", "n", "", "node `name` (default host name and five random letters)")
	f.StringArrayVarP(&r.advertise, "advertise", "a", nil, "`host[:port]` where others reach this node (default all global addresses); may be repeated")
	f.Uint16Var(&r.tincPort, "tinc-port", 0, "`port` of a new node (default a free one)")
	f.StringVar(&r.device, "device", "", "suffix of the interface `name` (default the last five letters of the node's)")
	f.Uint16VarP(&r.port, "port", "p", bootnode.DefaultPort, "`port` of the join service")
	f.StringVar(&r.host, "host", "", "`address` of the join service (default all)")
	frontend.TokenFlags(&r.Token, f)
	frontend.StoreFlag(&r.store, f)
	f.BoolVar(&r.tls, "tls", false, "serve the join service over HTTPS")
	f.StringVar(&r.cert, "cert", "server.crt", "`file` with the certificate")
	f.StringVar(&r.key, "key", "server.key", "`file` with the key of the certificate")
	f.StringVar(&r.ip, "ip", "", "VPN `address` of a new node (default a random one of 172.16.0.0/12)")
	f.StringVarP(&r.dir, "dir", "d", "vpn", "`directory` of the state")
	f.StringVar(&r.tincd, "tincd", "tincd", "not used")
	f.StringArrayVarP(&r.join, "join", "j", nil, "`URL` of a node to join; may be repeated")
	f.DurationVar(&r.retry, "join-retry", 15*time.Second, "pause between attempts to join")
	f.DurationVar(&r.discovery, "discovery-interval", 5*time.Second, "not used: host files are distributed automatically")
	f.BoolVar(&r.ufw, "ufw", false, "not used: open the ports yourself")
	f.BoolVar(&r.weak, "allow-weak-token", false, "use a token that can be guessed from one recorded join")
	return c
}

func (a *app) run(r run) error {
	dir, err := filepath.Abs(filepath.Join(r.dir, "config"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	l, err := confdir.Place{Conf: dir}.Layout()
	if err != nil {
		return err
	}
	if _, err := os.Stat(l.TincConf()); err != nil {
		if err := a.generateRun(r, l); err != nil {
			return err
		}
	}
	s := command.Serve{
		Token: r.Token, Layout: l, Binding: net.JoinHostPort(r.host, strconv.Itoa(int(r.port))), Generate: true, AllowWeak: r.weak,
		Protocols: []string{string(bootnode.Generation2)}, Limits: bootnode.Limits{Label: "run", Uses: bootnode.Unlimited}, Store: r.store,
	}
	if r.tls {
		s.TLSCert, s.TLSKey = r.cert, r.key
	}
	v, err := s.Open(a.Streams)
	if err != nil {
		return err
	}
	var urls []bootnode.URL
	for _, text := range r.join {
		u, err := bootnode.ParseURL(text)
		if err != nil {
			return err
		}
		urls = append(urls, u)
	}
	if err := v.Listen(); err != nil {
		return err
	}
	if v.Generated {
		fmt.Fprintf(a.Out, "tinc-boot run --token %s --join %s\n", v.Secret.Reveal(), command.Quote(v.URL))
	}
	if err := os.Chdir(l.ConfBase); err != nil {
		return err
	}
	l, _ = l.ForDaemon()
	compat, err := config.ParseOverrides([]string{"KeyDistribution = compat"}) // whoever joins may run the original
	if err != nil {
		return err
	}
	return launch.Run(context.Background(), launch.Options{
		Layout: l, Overrides: compat, Version: version.Text(), Style: launch.Human,
		Beside: func(ctx context.Context, log func(string)) error {
			for _, u := range urls {
				go joinRunning(ctx, l, u, v.Secret, r.retry, log)
			}
			return v.Run(ctx, log)
		},
	}, a.Streams)
}

// generateRun makes the node of run.
func (a *app) generateRun(r run, l confdir.Layout) error {
	if r.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("asking for the host name: %w", err)
		}
		r.name = node.Normalise(host) + strings.ToLower(rand.Text()[:5])
	}
	g := command.Gen{
		Place: confdir.Place{Conf: l.ConfBase}, Name: r.name, Prefix: "172.16.0.0/12", IP: r.ip, Port: r.tincPort, Public: r.advertise,
		Standalone: true, Engine: command.Embedded, Protocol: string(bootnode.Current),
		Bits: generate.DefaultRSABits, // the original runs tinc 1.0, which knows no other keys
	}
	if g.IP != "" {
		g.Prefix, g.Mask = "", 12
	}
	if len(g.Public) == 0 {
		g.Public = globalAddresses()
	}
	m, err := g.Run(context.Background(), a.Streams)
	if err != nil {
		return err
	}
	if r.device == "" {
		r.device = string(m.Name[max(0, len(m.Name)-5):])
	}
	return confdir.Edit(l.TincConf(), func(data []byte) ([]byte, error) {
		data, _ = config.Set(data, "Interface", "tun"+strings.ToUpper(r.device))
		return data, nil
	})
}

// globalAddresses are those that others may reach this machine by.
func globalAddresses() (list []string) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && n.IP.IsGlobalUnicast() && len(list) < 8 {
			list = append(list, n.IP.String())
		}
	}
	return list
}

// joinRunning joins another network of run while the node runs.
func joinRunning(ctx context.Context, l confdir.Layout, u bootnode.URL, secret bootnode.Secret, retry time.Duration, log func(string)) {
	for ctx.Err() == nil {
		err := joinOnce(ctx, l, u, secret, log)
		if err == nil {
			return
		}
		log(fmt.Sprintf("joining at %s: %v", u, err))
		select {
		case <-time.After(retry):
		case <-ctx.Done():
		}
	}
}

func joinOnce(ctx context.Context, l confdir.Layout, u bootnode.URL, secret bootnode.Secret, log func(string)) error {
	name, err := confdir.OwnName(l)
	if err != nil {
		return err
	}
	host, err := os.ReadFile(l.Host(name))
	if err != nil {
		return err
	}
	key, _, err := generate.OwnKey(l)
	if err != nil {
		return err
	}
	q := bootnode.Request{URLs: []bootnode.URL{u}, Token: secret, Protocol: bootnode.Current, Name: name, Host: host, Key: key, Attempt: 30 * time.Second}
	j, err := bootnode.Join(ctx, q)
	if errors.Is(err, bootnode.ErrNotCurrent) {
		q.Protocol = bootnode.Generation2
		j, err = bootnode.Join(ctx, q)
	}
	if err != nil {
		return err
	}
	if err := storeHosts(l, j); err != nil {
		return err
	}
	log(fmt.Sprintf("joined at %s: %d host files", u, len(j.Hosts)))
	dial, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, err := control.Dial(dial, l.ForClient().PidFile)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Reload()
}

// storeHosts keeps the host files of nodes that are not known, and connects to
// those that can be dialled.
func storeHosts(l confdir.Layout, j bootnode.Joined) error {
	var connect []node.Name
	for name, file := range j.Hosts {
		if name == j.Boot && len(config.Values(file, "Address")) == 0 {
			file = append([]byte("Address = "+j.URL.Host()+"\n"), file...)
		}
		if err := confdir.Create(l.Host(name), file, confdir.FileMode); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		if len(config.Values(file, "Address")) > 0 {
			connect = append(connect, name)
		}
	}
	return confdir.Edit(l.TincConf(), func(data []byte) ([]byte, error) {
		switch was := config.Values(data, "NetworkID"); {
		case j.Network == "" || slices.Contains(was, j.Network):
		case len(was) > 0:
			return nil, fmt.Errorf("this node belongs to the network %s, and the boot node to %s", was[0], j.Network)
		default:
			data, _ = config.Set(data, "NetworkID", j.Network)
		}
		for _, name := range connect {
			data, _ = config.Add(data, "ConnectTo", string(name))
		}
		return data, nil
	})
}
