package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tincan/internal/confdir"
	"tincan/internal/terminal"
)

// BootLayout finds the network of a boot node: that of p, or the directory dir if it is given.
func BootLayout(p confdir.Place, dir string) (confdir.Layout, error) {
	switch {
	case dir != "":
		p.Conf = dir
		if p.Net == "" && filepath.Dir(dir) == confdir.SystemDir() {
			p.Net = filepath.Base(dir)
		}
	case p.Net == "" && p.Conf == "":
		p.Net = DefaultNetwork
	}
	l, err := p.Layout()
	if err == nil {
		l, err = l.Abs()
	}
	return l, err
}

// openHinted is Open for somebody who may have no node yet.
func (s Serve) openHinted(st terminal.Streams) (*Service, error) {
	v, err := s.Open(st)
	if errors.Is(err, os.ErrNotExist) {
		err = terminal.Hint(err, "create the node first: tincan gen --standalone")
	}
	return v, err
}

// printGenerated prints the token if it was made here: nobody knows it yet.
func (v *Service) printGenerated(st terminal.Streams) {
	if v.Generated {
		fmt.Fprintf(st.Out, "Generated token: %s\n", v.Secret.Reveal())
	}
}

// Run opens the service and answers until somebody presses Ctrl-C.
func (s Serve) Run(st terminal.Streams) error {
	v, err := s.openHinted(st)
	if err == nil {
		err = v.Listen()
	}
	if err != nil {
		return err
	}
	v.printGenerated(st)
	fmt.Fprintf(st.Err, "admitting new nodes at %s\n", v.URL)
	fmt.Fprintf(st.Err, "on the next machine: sudo tincan up --join %s --token TOKEN\n", Quote(v.URL))
	ctx, stop := Interruptible()
	defer stop()
	return v.Run(ctx, nil)
}

// Install stores a systemd unit for the service. frontEnd are the words before the name of the command in it.
func (s Serve) Install(frontEnd []string, st terminal.Streams) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	// What the service would refuse is refused now, when there is somebody to read why.
	s.Generate = true
	v, err := s.openHinted(st)
	if err != nil {
		return err
	}
	if v.later != nil {
		if err := v.later(); err != nil {
			return StoreHint(err)
		}
	}
	v.printGenerated(st)
	path, text, err := s.Unit(self, frontEnd, v.Secret)
	if err != nil {
		return err
	}
	if err := confdir.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	token := ""
	if v.HasSecret {
		token = "; the token is stored with the network, readable by root only"
	}
	fmt.Fprintf(st.Err, "stored %s%s\n", path, token)
	fmt.Fprintf(st.Err, "next: systemctl daemon-reload && systemctl enable --now %s\n", filepath.Base(path))
	return nil
}
