package command

import (
	"tincan/internal/confdir"
	"tincan/internal/pidfile"
)

// RunningPort answers "get Port" about the own node with the port that its
// daemon really listens on, which a configured 0 does not tell. For any other
// request it is "". The error says that no daemon has left its port.
func (r Setting) RunningPort(l confdir.Layout) (string, error) {
	if r.Verb != Get || r.Name != "Port" {
		return "", nil
	}
	if r.Host != "" {
		if own, err := confdir.OwnName(l); err != nil || own != r.Host {
			return "", nil
		}
	}
	p, err := pidfile.Read(l.PidFile)
	if err != nil {
		return "", err
	}
	return p.Port, nil
}
