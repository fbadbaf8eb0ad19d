package netwatch

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// again is the pause before the next subscription to the kernel's messages, and blind is the
	// interval of polling in the meantime.
	again = 5 * time.Second
	blind = 5 * time.Second
)

// notify gives a hint for each message of the kernel that may matter.
func notify(ctx context.Context, hints chan<- struct{}, cfg Config) {
	failed := cfg.Failed
	for ctx.Err() == nil {
		err := subscribe(ctx, hints, &cfg)
		cfg.moved(false)
		if ctx.Err() != nil {
			return
		}
		if failed != nil && err != nil {
			failed(fmt.Errorf("watch the network interfaces: %w", err))
			failed = nil // once is enough
		}
		wait, cancel := context.WithTimeout(ctx, again)
		poll(wait, hints, blind)
		cancel()
	}
}

// subscribe listens to the kernel until ctx ends or the kernel has had to drop messages.
func subscribe(ctx context.Context, hints chan<- struct{}, cfg *Config) error {
	over := make(chan struct{})
	links := make(chan netlink.LinkUpdate, 64)
	addrs := make(chan netlink.AddrUpdate, 64)
	routes := make(chan netlink.RouteUpdate, 64)
	// The library's goroutines end when over is closed, and close the channels: they
	// must be drained until then.
	defer func() {
		close(over)
		go func() {
			for range links {
			}
		}()
		go func() {
			for range addrs {
			}
		}()
		go func() {
			for range routes {
			}
		}()
	}()
	var errs [3]error
	errs[0] = netlink.LinkSubscribe(links, over)
	errs[1] = netlink.AddrSubscribe(addrs, over)
	errs[2] = netlink.RouteSubscribe(routes, over)
	for i, err := range errs {
		if err != nil { // nobody closes the channels of those that have not begun
			switch i {
			case 0:
				close(links)
			case 1:
				close(addrs)
			case 2:
				close(routes)
			}
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	hint(hints) // the kernel does not report what happened before
	for {
		cfg.moved(true)
		select {
		case <-ctx.Done():
			return nil
		case _, ok := <-links:
			if !ok {
				return errors.New("the kernel has ended it")
			}
			hint(hints)
		case _, ok := <-addrs:
			if !ok {
				return errors.New("the kernel has ended it")
			}
			hint(hints)
		case r, ok := <-routes:
			if !ok {
				return errors.New("the kernel has ended it")
			}
			// A router may learn other routes all day long.
			if isDefault(r.Dst) || r.Type == unix.RTM_DELROUTE && ours(&r.Route, cfg.Ignore) {
				hint(hints)
			}
		}
	}
}

// ours reports whether a route may be one of the VPN's: it leads through an ignored interface, or nowhere.
func ours(r *netlink.Route, ignore func(string) bool) bool {
	if r.Type == unix.RTN_UNREACHABLE {
		return true
	}
	dev, err := net.InterfaceByIndex(r.LinkIndex)
	return err == nil && ignore(dev.Name)
}

// isDefault reports whether dst is all addresses.
func isDefault(dst *net.IPNet) bool {
	if dst == nil {
		return true
	}
	ones, _ := dst.Mask.Size()
	return ones == 0
}

// defaultRoutes lists the default routes of the main table.
func defaultRoutes(ignore func(string) bool) (out []string) {
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		list, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: nil}, netlink.RT_FILTER_DST)
		if err != nil {
			continue
		}
		for _, r := range list {
			dev, _ := net.InterfaceByIndex(r.LinkIndex)
			if dev != nil && !ignore(dev.Name) {
				out = append(out, fmt.Sprintf("%v dev %s metric %d", r.Gw, dev.Name, r.Priority))
			}
		}
	}
	return out
}
