package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Gateway is a machine that forwards. Its methods may be called from one goroutine at a time.
type Gateway struct {
	cfg       Config
	forwarded map[string]bool // families whose forwarding we have switched on
	radv      []string        // interfaces that were made to go on listening to routers
}

// nftTimeout bounds one call of nft.
const nftTimeout = 10 * time.Second

// program finds nft.
func program() (path string, err error) {
	for _, name := range []string{"nft", "/usr/sbin/nft", "/sbin/nft"} {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", &hinted{errors.New("the program nft is not installed, which an exit node needs to hide the addresses of others behind its own"),
		"install the package nftables, or set Exit = no"}
}

// Possible says what this machine lacks to be made a gateway, apart from rights.
func Possible() error {
	_, err := program()
	return err
}

// nft runs the program of that name.
func nft(stdin string, args ...string) (string, error) {
	path, err := program()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), nftTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		text, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		if strings.Contains(text, "Operation not permitted") {
			return "", &hinted{fmt.Errorf("nft: %.200s", text), "an exit node has to be run as root, or with CAP_NET_ADMIN"}
		}
		return "", &hinted{fmt.Errorf("nft: %.200s", text), "an exit node needs Linux 5.7 or later with nf_tables and NAT"}
	}
	if err != nil {
		return "", fmt.Errorf("running nft: %w", err)
	}
	return string(out), nil
}

// Up makes this machine a gateway. What an earlier process has left is replaced. The notes say what was changed for the
// whole machine, and what could not be.
func Up(cfg Config) (g *Gateway, notes []string, err error) {
	g = &Gateway{cfg: cfg, forwarded: map[string]bool{}}
	before, _ := nft("", "list", "table", "inet", table(cfg.Interface))
	for _, f := range families {
		setting := forwarding[f]
		old, err := os.ReadFile(setting)
		if err != nil {
			continue // there is no such family
		}
		ours := strings.Contains(before, "nfproto "+protocol[f]) && strings.Contains(before, switchedOn)
		if g.forwarded[f] = bytes.HasPrefix(old, []byte("0")) || ours; !bytes.HasPrefix(old, []byte("0")) {
			continue
		}
		if f == "ip6" {
			g.listenToRouters()
		}
		if err := os.WriteFile(setting, []byte("1"), 0); err != nil {
			g.forwarded[f] = false
			notes = append(notes, fmt.Sprintf("packets of others cannot be forwarded: %v; do it by hand: sysctl -w %s=1", err, sysctlName(setting)))
			continue
		}
		notes = append(notes, fmt.Sprintf("%s was 0, and is 1 while this node is an exit node; only its packets are forwarded", sysctlName(setting)))
	}
	if _, err := nft(cfg.script(g.forwarded), "-f", "-"); err != nil {
		return nil, nil, errors.Join(err, g.Close())
	}
	return g, notes, nil
}

// forwarding are the settings that have the kernel forward packets.
var forwarding = map[string]string{"ip": "/proc/sys/net/ipv4/ip_forward", "ip6": "/proc/sys/net/ipv6/conf/all/forwarding"}

func sysctlName(path string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, "/proc/sys/"), "/", ".")
}

func acceptRA(dev string) string { return "/proc/sys/net/ipv6/conf/" + dev + "/accept_ra" }

// listenToRouters keeps the default route of a machine that has it from a router's advertisements: one that forwards ignores
// them otherwise.
func (g *Gateway) listenToRouters() {
	list, err := netlink.RouteListFiltered(unix.AF_INET6, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
	if err != nil {
		return
	}
	for _, r := range list {
		dev, err := net.InterfaceByIndex(r.LinkIndex)
		if err != nil || r.Protocol != unix.RTPROT_RA || slices.Contains(g.radv, dev.Name) {
			continue
		}
		if old, err := os.ReadFile(acceptRA(dev.Name)); err == nil && bytes.HasPrefix(old, []byte("1")) && os.WriteFile(acceptRA(dev.Name), []byte("2"), 0) == nil {
			g.radv = append(g.radv, dev.Name)
		}
	}
}

// SetResolvers changes who answers queries. Nothing happens if they are the same. After an error the others go on answering.
func (g *Gateway) SetResolvers(list []netip.Addr) error {
	if slices.Equal(list, g.cfg.Resolvers) {
		return nil
	}
	next := g.cfg
	next.Resolvers = list
	if _, err := nft(next.script(g.forwarded), "-f", "-"); err != nil {
		return err
	}
	g.cfg = next
	return nil
}

// Close undoes everything.
func (g *Gateway) Close() error {
	var errs []error
	for f, ours := range g.forwarded {
		if ours {
			errs = append(errs, os.WriteFile(forwarding[f], []byte("0"), 0))
		}
	}
	for _, dev := range g.radv {
		errs = append(errs, os.WriteFile(acceptRA(dev), []byte("1"), 0))
	}
	return errors.Join(append(errs, Clear(g.cfg.Interface))...)
}

// Clear removes the rules that a process has left that was killed.
func Clear(iface string) error {
	name := table(iface)
	_, err := nft(fmt.Sprintf("table inet %s\ndelete table inet %[1]s\n", name), "-f", "-")
	return err
}

// FindUplinks looks for default routes that do not lead into the VPN, by interfaces that are connected, to routers that are not known to
// be away.
func FindUplinks(vpn string) Uplinks {
	return Uplinks{IPv4: uplink(unix.AF_INET, vpn), IPv6: uplink(unix.AF_INET6, vpn)}
}

func uplink(family int, vpn string) bool {
	list, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: nil, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil {
		return false
	}
	for _, r := range list {
		hops := []*netlink.NexthopInfo{{LinkIndex: r.LinkIndex, Gw: r.Gw}}
		if len(r.MultiPath) > 0 {
			hops = r.MultiPath
		}
		for _, h := range hops {
			if r.Type == unix.RTN_UNICAST && connected(h.LinkIndex, vpn) && !away(family, h.LinkIndex, h.Gw) {
				return true
			}
		}
	}
	return false
}

// connected tells whether an interface other than the VPN's is up, and has a carrier.
func connected(index int, vpn string) bool {
	link, err := netlink.LinkByIndex(index)
	if err != nil {
		return false
	}
	a := link.Attrs()
	return a.Name != vpn && a.Flags&net.FlagUp != 0 && a.OperState != netlink.OperDown && a.OperState != netlink.OperLowerLayerDown
}

// away tells whether a router does not answer.
func away(family, index int, gw net.IP) bool {
	if gw == nil {
		return false
	}
	list, err := netlink.NeighList(index, family)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(list, func(n netlink.Neigh) bool { return n.IP.Equal(gw) && n.State&netlink.NUD_FAILED != 0 })
}

// FindResolvers are the DNS servers of this machine that others can ask through it.
func FindResolvers() []netip.Addr {
	// The first is what systemd-resolved asks; then the other one only names itself.
	for _, path := range []string{"/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"} {
		f, err := os.Open(path)
		if err != nil {
			continue
		}
		list := Resolvers(f)
		f.Close()
		if len(list) > 0 {
			return list
		}
	}
	return nil
}
