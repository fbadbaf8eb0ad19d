package mesh

import (
	"errors"
	"fmt"
	"time"

	"tincan/internal/legacy"
	"tincan/internal/wire"
)

// leaveGrace is how long the other side has to end a connection that has served to
// exchange keys, before we dial again. What we have sent arrives all the same.
const leaveGrace = 500 * time.Millisecond

// login is how the two ends of a connection prove who they are.
type login uint8

const (
	loginSPTPS   login = iota
	loginRSA           // as in tinc 1.0
	loginUpgrade       // as in tinc 1.0, but only to tell each other the Ed25519 keys (tinc 1.1)
)

// minorFor is the minor to announce on c. To a node whose Ed25519 key we
// do not know, who dials says 1: let us exchange keys.
func (l *links) minorFor(c *conn) int {
	if c.dialled() && l.keyring.minor() > 1 && l.keyring.loginKey(c.peer) == nil && l.keyring.rsaLogin(c.peer) {
		return 1
	}
	return l.keyring.minor()
}

// chooseLogin decides by the rules of tinc 1.1 which login follows the ID of p with the given minor.
func (l *links) chooseLogin(c *conn, p *peer, minor int) (login, error) {
	switch {
	case l.cfg.Key == nil:
		minor = 0
	case minor == 0 && l.keyring.loginKey(p) != nil: // nobody may make us fall back
		return 0, fmt.Errorf("%s offers only the protocol of tinc 1.0, but its Ed25519 key is known; "+
			"if it really went back to tinc 1.0, take Ed25519PublicKey out of its host file", p.name)
	case minor > 1 && l.keyring.loginKey(p) != nil:
		return loginSPTPS, nil
	case minor > 1 && c.dialled() && l.keyring.rsaLogin(p): // we have announced minor 1
		minor = 1
	case minor > 1:
		return 0, fmt.Errorf("the host file of %s has no Ed25519PublicKey", p.name)
	}
	switch {
	case l.cfg.RSAKey == nil && minor == 0:
		return 0, fmt.Errorf("%s offers only the protocol of tinc 1.0, which needs an RSA key, and this node has none; "+
			"make one with \"tincan tinc generate-rsa-keys\" and give its public half to %s", p.name, p.name)
	case l.cfg.RSAKey == nil:
		return 0, fmt.Errorf("%s does not know our Ed25519 key, and this node has no RSA key with which to send it", p.name)
	case p.host().RSAKey == nil:
		return 0, fmt.Errorf("the host file of %s has no RSA public key, which the protocol of tinc 1.0 needs", p.name)
	case minor == 0:
		return loginRSA, nil
	}
	return loginUpgrade, nil
}

// upgradeAck takes the Ed25519 key of a node (tinc 1.1). Both sides then end the connection, and
// whoever dialled comes back for a login with SPTPS.
func (l *links) upgradeAck(c *conn, text string) error {
	r, err := wire.ParseAckKey(text)
	if err == nil {
		err = r.Key.Valid()
	}
	if err != nil {
		return fmt.Errorf("it sent an unusable Ed25519 key: %w", err)
	}
	p := c.peer
	switch known := p.key(); {
	case known == nil:
		l.keyring.learn(p, r.Key)
	case *known != r.Key:
		return errors.New("it has another Ed25519 key than its host file says")
	}
	c.stage = leaving
	l.send(c, wire.TermReq{}.Append(nil))
	if c.dialled() {
		// tinc 1.1 throws its TERMREQ away when ours comes together with our key,
		// and then keeps the connection without a word.
		l.after(leaveGrace, func() {
			if l.conns[c.id] == c {
				l.drop(c, "the other side has had its time")
			}
		})
	}
	return nil
}

// loginKeyChanged tells whether c, in the light of the new host file h, was let in with a wrong key.
func (l *links) loginKeyChanged(c *conn, h Host) bool {
	if c.login == loginSPTPS {
		return !sameKey(h.Key, c.host.Key)
	}
	was := c.host.RSAKey
	return was == nil || h.RSAKey == nil || !h.RSAKey.Equal(*was) || c.login == loginRSA && h.Key != nil && l.cfg.Key != nil
}

// explainWeak tells what to do when a connection failed because it would have been too weak.
func (l *links) explainWeak(c *conn, err error) {
	var weak *legacy.ErrWeak
	if c.peer == nil || !errors.As(err, &weak) {
		return
	}
	l.logf(0, Warning, "%s has %s, which is too weak; change that on %s, or allow it with %q in its host file",
		c.peer.name, weak.What, c.peer.name, weak.Setting)
}
