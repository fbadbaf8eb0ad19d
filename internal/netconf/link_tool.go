//go:build darwin || freebsd || windows

package netconf

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"

	"tincan/internal/config"
)

// Link is a configured interface.
type Link struct {
	name   string
	undo   [][]string // the last first
	routes []netip.Prefix
}

// run runs one of the system's own programs.
func run(args []string) error {
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %.200s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// Up gives the interface its addresses and brings it up. After an error nothing is left.
func Up(cfg Config) (*Link, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	l := &Link{name: cfg.Interface}
	if system.up != nil {
		if err := run(system.up(cfg.Interface, cfg.MTU)); err != nil {
			return nil, err
		}
	}
	for _, a := range cfg.Addresses {
		if err := run(system.addr(cfg.Interface, a)); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.undo = append(l.undo, system.dropAddr(cfg.Interface, a))
		if system.pointToPoint && !a.IsSingleIP() {
			if err := run(system.route(cfg.Interface, a.Masked())); err != nil {
				return nil, errors.Join(err, l.Close())
			}
			l.undo = append(l.undo, system.dropRoute(cfg.Interface, a.Masked()))
		}
	}
	return l, nil
}

// AddRoute leads p through the interface.
func (l *Link) AddRoute(p netip.Prefix) error {
	if err := config.Routable(p); err != nil {
		return err
	}
	if err := run(system.route(l.name, p)); err != nil {
		return err
	}
	l.routes = append(l.routes, p)
	return nil
}

// RemoveRoute undoes AddRoute.
func (l *Link) RemoveRoute(p netip.Prefix) error {
	i := slices.Index(l.routes, p)
	if i < 0 {
		return nil
	}
	l.routes = slices.Delete(l.routes, i, i+1)
	return run(system.dropRoute(l.name, p))
}

// Close takes back everything. What goes with the interface may be gone already.
func (l *Link) Close() error {
	var errs []error
	for _, p := range slices.Clone(l.routes) {
		errs = append(errs, l.RemoveRoute(p))
	}
	for _, args := range slices.Backward(l.undo) {
		errs = append(errs, run(args))
	}
	l.undo = nil
	return errors.Join(errs...)
}
