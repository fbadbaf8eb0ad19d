package invite

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/files"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/sptps"
	"tincan/internal/subnet"
)

// totalLimit bounds a whole conversation, whatever its single waits.
const totalLimit = 30 * time.Second

// Server lets newcomers in. Its fields must not change while it serves; it is
// safe for concurrent use.
type Server struct {
	Dir     string // CONFBASE
	NetName string // "" if the network has none
	Name    node.Name
	Expire  time.Duration // InvitationExpire; 0: DefaultExpire
	// Members is the signed network that this node belongs to; nil: the network is open.
	Members Members
	// Port is what the daemon listens on, whatever the configuration says. It may be nil.
	Port func() uint16

	// Taken returns the subnets of the network as it is now. It may be nil.
	Taken func() []subnet.Subnet
	// Known tells whether the network has a node of that name, host file or
	// not. It may be nil.
	Known func(node.Name) bool
	// Accepted is called when a newcomer's key has been stored, before it is
	// told so; it waits 5 seconds for that. It may be nil.
	Accepted func(name node.Name, key keys.PublicKey, remote netip.Addr)
	// Log gets one line for each conversation. It may be nil.
	Log func(text string)

	Rand io.Reader // nil: crypto/rand

	limit limiter
	wait  time.Duration // 0: waitLimit
}

// Serve runs the conversation with a newcomer to its end and closes conn.
// firstLine is the line that began it, without newline ("0 ?KEY 17.1"),
// buffered what was received after it. The error says why nobody was let in
// and has been logged.
func (s *Server) Serve(ctx context.Context, conn net.Conn, firstLine string, buffered []byte) error {
	remote := remoteAddr(conn)
	outcome, err := s.serve(ctx, conn, remote, firstLine, buffered)
	if err != nil {
		conn.Close()
		text := fmt.Sprintf("invitation for %v: %v", remote, err)
		var refusal Refusal
		if errors.As(err, &refusal) && refusal.kind() != "" { // readers of tinc's log look for these words
			text = fmt.Sprintf("%v tried to use %s invitation", remote, refusal.kind())
		}
		if s.limit.mayLog(remote, time.Now()) {
			s.log(text)
		}
		return fmt.Errorf("invitation for %v: %w", remote, err)
	}
	s.log(fmt.Sprintf("%v %s", remote, outcome))
	return nil
}

func (s *Server) log(text string) {
	if s.Log != nil {
		s.Log(text)
	}
}

func (s *Server) random() io.Reader {
	if s.Rand == nil {
		return rand.Reader
	}
	return s.Rand
}

func (s *Server) expire() time.Duration {
	if s.Expire == 0 {
		return DefaultExpire
	}
	return s.Expire
}

func remoteAddr(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// serve returns what has become of the newcomer, for the log.
func (s *Server) serve(ctx context.Context, conn net.Conn, remote netip.Addr, firstLine string, buffered []byte) (outcome string, err error) {
	if err := s.limit.begin(ctx, remote); err != nil {
		return "", s.sendAway(conn, err)
	}
	outcome, err = s.converse(ctx, conn, remote, firstLine, buffered)
	s.limit.end(remote, toBlame(err))
	return outcome, err
}

// toBlame tells whether the newcomer is to blame for the end of its conversation: it knew no
// invitation, or broke off. That one has been used, say, is none of a guesser's failures.
func toBlame(err error) bool {
	var why Refusal
	if errors.As(err, &why) {
		return why == Unknown || why == BadKey
	}
	return err != nil && !errors.Is(err, ErrNoneOpen)
}

// sendAway tells a newcomer before anything costs a key exchange that it comes for nothing now.
func (s *Server) sendAway(conn net.Conn, why error) error {
	c := &conversation{conn: conn, wait: time.Second, end: time.Now().Add(time.Second)}
	if err := c.write(appendAway(nil, why)); err == nil {
		c.goodbye()
	}
	return why
}

// converse leads the conversation.
func (s *Server) converse(ctx context.Context, conn net.Conn, remote netip.Addr, firstLine string, buffered []byte) (outcome string, err error) {
	newcomer, err := parseHello(firstLine)
	if err != nil {
		return "", err
	}
	key, err := s.key()
	if errors.Is(err, fs.ErrNotExist) {
		return "", s.sendAway(conn, ErrNoneOpen)
	} else if err != nil {
		return "", err
	}

	c := &conversation{conn: conn, in: bytes.Clone(buffered), wait: s.wait, end: time.Now().Add(totalLimit)}
	if c.wait == 0 {
		c.wait = waitLimit
	}
	defer c.watch(ctx)()
	stream, kex, err := sptps.NewStream(sptps.Config{
		Key:   key,
		Peer:  newcomer,
		Label: sptps.LabelInvitation,
		Rand:  s.random(),
	})
	if err != nil {
		return "", err
	}
	c.stream = stream
	// tinc's join hands what it has read after the second line to SPTPS at
	// once, and gives up if that is nothing. So all of this is one write.
	greeting := fmt.Appendf(nil, "0 %s 17.7\n4 %s\n", s.Name, key.Public())
	if err := c.write(append(greeting, kex...)); err != nil {
		return "", err
	}
	outcome, err = s.talk(c, key.Public(), newcomer, remote)
	var why Refusal
	if errors.As(err, &why) && stream.Established() && c.send(recordRefused, []byte(why)) == nil {
		c.goodbye()
	}
	if err == nil {
		c.goodbye()
	}
	return outcome, err
}

// parseHello reads "0 ?KEY 17.1". The version does not matter: there is only
// one kind of invitation.
func parseHello(line string) (keys.PublicKey, error) {
	words := strings.Fields(line)
	if len(words) >= 2 && words[0] == "0" {
		if text, ok := strings.CutPrefix(words[1], "?"); ok {
			return keys.ParsePublicKey(text)
		}
	}
	return keys.PublicKey{}, errors.New("this is not the greeting of a joining node")
}

// talk leads the encrypted part, at whose end the newcomer has proved that it has the key of its greeting. An error
// that is a Refusal has not been sent.
func (s *Server) talk(c *conversation, invitationKey, newcomer keys.PublicKey, remote netip.Addr) (outcome string, err error) {
	if _, _, done, err := c.next(); err != nil || !done {
		return "", fmt.Errorf("no key exchange: %w", err)
	}
	cookie, err := c.expect(recordText)
	if err != nil {
		return "", err
	}
	if len(cookie) != tokenSize {
		return "", Unknown
	}
	if s.Members != nil {
		if inv := s.Members.Find(cookie, time.Now()); inv != nil {
			outcome, name, key, err := s.talkSigned(c, cookie, inv, newcomer)
			if name != "" && err == nil && s.Accepted != nil {
				s.Accepted(name, key, remote)
			}
			return outcome, err
		}
	}
	file := fileOf(token(cookie), invitationKey)
	name, inv, err := s.claim(file, newcomer, remote)
	switch {
	case err != nil:
		return "", err
	case name != "":
		return fmt.Sprintf("has joined as %s, and is sent the confirmation again", name), c.send(recordAccepted, nil)
	}
	name, key, err := s.admit(c, inv)
	if err != nil {
		// Nobody was let in, so the URL may be used again.
		return "", errors.Join(err, inv.release())
	}
	s.spend(file, name, key, inv.made.Add(s.expire()), remote)
	if err := c.send(recordAccepted, nil); err != nil {
		s.log(fmt.Sprintf("%s is stored as a new node, but the confirmation could not be sent: %v", name, err))
	}
	return "joined as " + string(name), nil
}

// claim takes an invitation out of circulation for a newcomer, or returns the name of a newcomer that has used it
// already and has missed the answer, see [Server.acceptedBefore].
func (s *Server) claim(file string, newcomer keys.PublicKey, remote netip.Addr) (name node.Name, inv *claimed, err error) {
	if name, err = s.acceptedBefore(file, newcomer, remote); err != nil || name != "" {
		return name, nil, err
	}
	inv, err = storeIn(s.Dir).claim(file, time.Now(), s.expire())
	if errors.Is(err, Used) { // perhaps in a conversation of this very newcomer that has ended only now
		if name, again := s.acceptedBefore(file, newcomer, remote); again != nil || name != "" {
			return name, nil, again
		}
	}
	if err != nil {
		return "", nil, asRefusal(err)
	}
	return "", inv, nil
}

// spend makes an invitation worthless whose newcomer is stored, and tells of the newcomer.
func (s *Server) spend(file string, name node.Name, key keys.PublicKey, until time.Time, remote netip.Addr) {
	switch err := storeIn(s.Dir).spend(file, name, time.Now(), until); {
	case errors.Is(err, fs.ErrNotExist): // it came again meanwhile
		return
	case err != nil:
		s.log(fmt.Sprintf("removing the used invitation of %s: %v", name, err))
	}
	if s.Accepted != nil {
		s.Accepted(name, key, remote)
	}
}

// acceptedBefore returns the name of a newcomer that has used this very invitation already and has missed the answer:
// the host file that it would get has the key that it has just proved to have. Such a host file is made from an
// invitation in one step, so there is nothing else to do, unless this program has died before the invitation was spent.
func (s *Server) acceptedBefore(file string, newcomer keys.PublicKey, remote netip.Addr) (node.Name, error) {
	st := storeIn(s.Dir)
	n, now := st.recallNote(file), time.Now()
	inUse, err := st.read(file + usedSuffix)
	if err == nil {
		n.by = inUse.name
	}
	if n.by == "" || !s.hasKey(n.by, newcomer) {
		return "", nil
	}
	if err != nil {
		if now.After(n.until) {
			return "", Expired
		}
		return n.by, nil
	}
	s.spend(file, n.by, newcomer, now.Add(s.expire()), remote)
	return n.by, nil
}

// hasKey tells whether the host file of a node has exactly this key.
func (s *Server) hasKey(name node.Name, key keys.PublicKey) bool {
	data, err := files.Read(s.hostFile(name), maxText)
	if err != nil {
		return false
	}
	values := config.Values(data, "Ed25519PublicKey")
	return len(values) == 1 && values[0] == key.String()
}

// asRefusal adds Failed to an error that tells the newcomer nothing.
func asRefusal(err error) error {
	if errors.As(err, new(Refusal)) {
		return err
	}
	return fmt.Errorf("%w: %w", Failed, err)
}

// admit sends the text and stores the key that comes back.
func (s *Server) admit(c *conversation, inv *claimed) (node.Name, keys.PublicKey, error) {
	t, err := s.prepare(inv)
	if err != nil {
		return "", keys.PublicKey{}, asRefusal(err)
	}
	key, err := c.offer(inv.data)
	if err != nil {
		return "", keys.PublicKey{}, err
	}
	if err := s.store(t, key); err != nil {
		return "", keys.PublicKey{}, asRefusal(err)
	}
	return t.name, key, nil
}

// offer sends the text of an invitation, and receives the newcomer's key.
func (c *conversation) offer(text []byte) (key keys.PublicKey, err error) {
	for len(text) > 0 {
		n := min(pieceSize, len(text))
		if err := c.send(recordText, text[:n]); err != nil {
			return key, err
		}
		text = text[n:]
	}
	if err := c.send(recordEnd, nil); err != nil {
		return key, err
	}
	data, err := c.expect(recordEnd)
	if err != nil {
		return key, err
	}
	if key, err = keys.ParsePublicKey(string(data)); err == nil {
		err = key.Valid()
	}
	if err != nil {
		return keys.PublicKey{}, fmt.Errorf("%w: %w", BadKey, err)
	}
	return key, nil
}

// prepare checks an invitation before it is sent and brings the address in it
// up to date.
func (s *Server) prepare(inv *claimed) (text, error) {
	t, err := parseText(inv.data)
	if err != nil {
		return text{}, err
	}
	if t.name == s.Name {
		return text{}, errors.New("the invitation is for a node with our own name")
	}
	if _, err := os.Lstat(s.hostFile(t.name)); err == nil {
		return text{}, Taken
	}
	if s.Known != nil && s.Known(t.name) {
		return text{}, Taken
	}
	var running []subnet.Subnet
	if s.Taken != nil {
		running = s.Taken()
	}
	unlock, err := inv.store.lock() // nobody else may choose the same address
	if err != nil {
		return text{}, err
	}
	defer unlock()
	data, changed, err := Readdress(inv.data, s.Dir, s.Name, inv.name, running, s.random())
	switch {
	case errors.Is(err, errRangeFull):
		return text{}, fmt.Errorf("%w: %w", Full, err)
	case err != nil || !changed:
		return t, err
	}
	if err := inv.rewrite(data); err != nil {
		return text{}, err
	}
	return parseText(data)
}

func (s *Server) hostFile(n node.Name) string {
	return filepath.Join(s.Dir, "hosts", string(n))
}

// store creates the host file of the newcomer, with the subnets that it was
// given, so that later invitations do not give them away again.
func (s *Server) store(t text, key keys.PublicKey) error {
	if err := confdir.MakeDir(filepath.Join(s.Dir, "hosts"), 0o755); err != nil {
		return err
	}
	err := confdir.Create(s.hostFile(t.name), hostFileOf(t, key), 0o644)
	if errors.Is(err, fs.ErrExist) {
		return Taken
	}
	return err
}

// hostFileOf is the host file of a newcomer.
func hostFileOf(t text, key keys.PublicKey) []byte {
	var w writer
	w.set("Ed25519PublicKey", key.String())
	for _, v := range t.values("Subnet") {
		if _, err := subnet.ParseLocal(v); err == nil {
			w.set("Subnet", v)
		}
	}
	return w.Bytes()
}
