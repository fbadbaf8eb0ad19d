package invite

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/keydist"
	"tincan/internal/keys"
	"tincan/internal/netwatch"
	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/sptps"
)

// joinLimit bounds a whole join, with all addresses of the inviter.
const joinLimit = 2 * time.Minute

// Options say how to join.
type Options struct {
	URL string
	// Place is where the new configuration goes. With Net or Conf it must not
	// hold one yet; without them the invitation may propose a name for the
	// network. If that is taken here the invitation is not used up, or, with TincUp, another name is chosen.
	Place confdir.Place
	Force bool // store unsafe variables too, and enable tinc-up
	// TincUp writes what tinc's join writes: a tinc-up script for Ifconfig and
	// Route, and invitation-data. Otherwise they become lines of tinc.conf.
	TincUp bool
	Log    func(text string) // progress and warnings, one line each; may be nil
	// RSAKey becomes the new node's key for the protocol of tinc 1.0. It stays here:
	// an invitation carries only the Ed25519 key to the inviter. Nil: none.
	RSAKey *keys.RSAPrivateKey

	// The rest is for tests; nil means the real thing.
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Resolve  func(ctx context.Context, host string) ([]netip.Addr, error)
	Rand     io.Reader
	PortFree func(port uint16) bool

	wait time.Duration
	once bool // do not try again
}

// Result is a new node.
type Result struct {
	Name      node.Name
	Layout    confdir.Layout // where its files lie
	Addresses []string       // ADDR/LEN that the inviter has given us
	Port      uint16
	Settings  []string // the lines of tinc.conf and of the own host file, keys apart
	Approval  bool     // an owner has to approve it
	Hosts     []string // of whom there is a host file
	TincUp    string   // the script written with Options.TincUp
	Enabled   bool     // it is called tinc-up and will be run
}

// ErrOccupied: the place for the configuration is taken.
var ErrOccupied = errors.New("there is a configuration already")

// ErrMember is [ErrOccupied] by a node of the very network that is to be joined.
var ErrMember = errors.New("this machine is in that network already")

// Join uses an invitation: it fetches the text, makes a key, has it stored by
// the inviter and puts the new configuration in its place. Nothing is left
// behind if it fails, except with an [UnansweredError]: another Join with the same URL and place goes on there.
func Join(ctx context.Context, o Options) (Result, error) {
	u, err := ParseURL(o.URL)
	if err != nil {
		return Result{}, err
	}
	o.fillIn()
	j := &joiner{Options: o, url: u}
	if err := j.checkPlace(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, joinLimit)
	defer cancel()
	if j.throwAway, err = keys.Generate(o.Rand); err != nil {
		return Result{}, err
	}
	if j.findPrepared(); j.sent != nil {
		j.Log("an earlier join with this URL got no answer to its key; continuing with that key")
	}
	pause, said := firstPause, false
	for try := 1; ; try++ {
		res, err := j.attempt(ctx)
		if err == nil || try >= j.worth(err) || o.once || ctx.Err() != nil {
			return res, j.unanswered(err)
		}
		if !said && !errors.Is(err, Busy) {
			j.Log(fmt.Sprintf("%v; trying again for a while", err))
			said = true
		}
		// Newcomers that came together must not come back together.
		wait := pause/2 + time.Duration(mathrand.Int64N(int64(pause)))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Result{}, j.unanswered(err)
		}
		pause = min(2*pause, longestPause)
	}
}

const (
	firstPause   = 300 * time.Millisecond
	longestPause = 10 * time.Second
)

// worth is how many attempts an error is worth, which may pass. Nothing has been sent then that
// would spend the invitation, or it will be sent again.
func (j *joiner) worth(err error) int {
	switch {
	case errors.Is(err, Busy) && j.sent != nil: // an attempt of our own, which the inviter gives up after [waitLimit]
		return 8
	case errors.Is(err, Busy): // an attempt that broke off a moment ago may still hold the invitation
		return 3
	case errors.As(err, new(*UnansweredError)):
		return 3
	case errors.Is(err, ErrTooMany), errors.Is(err, ErrTooManyFailures):
		return 20 // about two minutes
	case errors.Is(err, errHungUp): // an inviter with many newcomers, or without an invitation
		return 5
	}
	return 1
}

// attempt is one conversation with the inviter.
func (j *joiner) attempt(ctx context.Context) (Result, error) {
	c, inviter, err := j.connect(ctx)
	if err != nil {
		return Result{}, err
	}
	defer c.conn.Close()
	defer c.watch(ctx)()
	res, err := j.talk(c, inviter)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return res, err
}

func (o *Options) fillIn() {
	if o.Log == nil {
		o.Log = func(string) {}
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: waitLimit}).DialContext
	}
	if o.Resolve == nil {
		o.Resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.PortFree == nil {
		o.PortFree = portFree
	}
	if o.wait == 0 {
		o.wait = waitLimit
	}
}

func portFree(port uint16) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("", strconv.Itoa(int(port))))
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// joiner is one run of Join.
type joiner struct {
	Options
	url       URL
	inviter   string // the name it greeted with
	throwAway *keys.PrivateKey
	sent      *prepared // what has been sent, perhaps, in an earlier attempt; nil: nothing
	left      []string  // directories of attempts whose key has been sent
}

// explicit tells whether the user has said where the configuration goes.
func (j *joiner) explicit() bool {
	return j.Place.Conf != "" || j.Place.Net != "" && j.Place.Net != "."
}

// checkPlace finds a clash before anybody is asked for anything.
func (j *joiner) checkPlace() error {
	l, err := j.Place.Layout()
	if err != nil {
		return err
	}
	if j.explicit() {
		return vacant(l)
	}
	return nil
}

func vacant(l confdir.Layout) error {
	switch _, err := os.Lstat(l.TincConf()); {
	case err == nil:
		return fmt.Errorf("%w: %s", ErrOccupied, l.TincConf())
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	return nil
}

// connect tries the addresses of the inviter until one answers as it should.
func (j *joiner) connect(ctx context.Context) (*conversation, keys.PublicKey, error) {
	addrs, err := j.addresses(ctx)
	if err != nil {
		return nil, keys.PublicKey{}, fmt.Errorf("looking up %s: %w", j.url.Host, err)
	}
	var failures []error
	for _, a := range addrs {
		to := netip.AddrPortFrom(a, j.url.Port).String()
		c, key, err := j.exchangeIDs(ctx, to)
		if err == nil {
			j.Log("connected to " + to)
			return c, key, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", to, err))
		if ctx.Err() != nil || errors.Is(err, ErrOtherKey) {
			break
		}
	}
	return nil, keys.PublicKey{}, fmt.Errorf("could not talk to the inviter: %w", errors.Join(failures...))
}

func (j *joiner) addresses(ctx context.Context) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(j.url.Host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := j.Resolve(ctx, j.url.Host)
	if err == nil && len(addrs) == 0 {
		err = errors.New("it has no address")
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, err
}

// ErrOtherKey: somebody answers, but not with the key of the URL.
var ErrOtherKey = errors.New("the inviter has another invitation key than the URL says: " +
	"the invitation was used or has expired, or this is not the inviter")

// ErrNoGreeting: somebody is there, and does not talk to newcomers.
var ErrNoGreeting = errors.New("no greeting: no invitation is open there, it has too many connections, or it is not tinc 1.1")

// errHungUp is ErrNoGreeting that was said by closing the connection, as an inviter does that has
// too many connections from one address. With tinc it means that no invitation is open.
var errHungUp = fmt.Errorf("it closed the connection: %w", ErrNoGreeting)

// reset tells whether the other end has reset the connection.
func reset(err error) bool {
	return errors.Is(err, oserr.Reset) || errors.Is(err, oserr.Broken)
}

// exchangeIDs connects and exchanges the lines of clear text.
func (j *joiner) exchangeIDs(ctx context.Context, to string) (c *conversation, inviter keys.PublicKey, err error) {
	dialing, cancel := context.WithTimeout(ctx, j.wait)
	defer cancel()
	conn, err := j.Dial(dialing, "tcp", to)
	if err != nil {
		return nil, inviter, oserr.PlainDial(err)
	}
	end, _ := ctx.Deadline()
	c = &conversation{conn: conn, wait: j.wait, end: end}
	defer c.watch(ctx)()
	if inviter, err = j.exchangeGreetings(c); err != nil {
		conn.Close()
		return nil, inviter, err
	}
	return c, inviter, nil
}

func (j *joiner) exchangeGreetings(c *conversation) (inviter keys.PublicKey, err error) {
	if err := c.write(fmt.Appendf(nil, "0 ?%s 17.1\n", j.greetingKey().Public())); err != nil {
		return inviter, err
	}
	c.wait *= 2 // it may be somebody else's turn
	first, err := c.line()
	c.wait /= 2
	switch {
	case errors.Is(err, errSilent):
		return inviter, ErrNoGreeting
	case errors.Is(err, io.EOF), reset(err):
		return inviter, errHungUp
	case err != nil:
		return inviter, err
	}
	if err := parseAway(first); err != nil {
		return inviter, err
	}
	words := strings.Fields(first)
	if len(words) < 3 || words[0] != "0" {
		return inviter, errors.New("its greeting is not that of a tinc node")
	}
	if _, err := node.ParseName(words[1]); err != nil {
		return inviter, errors.New("its greeting is not that of a tinc node")
	}
	j.inviter = words[1]
	if major, _, _ := strings.Cut(words[2], "."); major != "17" {
		return inviter, errors.New("it uses another version of the protocol")
	}
	second, err := c.line()
	if err != nil {
		return inviter, fmt.Errorf("waiting for its key: %w", err)
	}
	words = strings.Fields(second)
	if len(words) < 2 || words[0] != "4" {
		return inviter, errors.New("it did not send an invitation key")
	}
	// The hash is over the text, and the key that is used must be that text's.
	if inviter, err = keys.ParsePublicKey(words[1]); err != nil || inviter.String() != words[1] {
		return inviter, errors.New("it sent something that is not a key")
	}
	if keyHashOf(inviter) != j.url.keyHash {
		return inviter, ErrOtherKey
	}
	return inviter, nil
}

// greetingKey is the key of the conversation: one for this conversation alone, or that which may have been accepted.
func (j *joiner) greetingKey() *keys.PrivateKey {
	if j.sent != nil {
		return j.sent.key
	}
	return j.throwAway
}

// talk leads the encrypted part.
func (j *joiner) talk(c *conversation, inviter keys.PublicKey) (Result, error) {
	stream, kex, err := sptps.NewStream(sptps.Config{
		Initiator: true,
		Key:       j.greetingKey(),
		Peer:      inviter,
		Label:     sptps.LabelInvitation,
		Rand:      j.Rand,
	})
	if err != nil {
		return Result{}, err
	}
	c.stream = stream
	if err := c.write(kex); err != nil {
		return Result{}, err
	}
	if _, _, _, err := c.next(); err != nil {
		return Result{}, fmt.Errorf("agreeing on keys with the inviter: %w", err)
	}
	if err := c.send(recordText, j.url.cookie[:]); err != nil {
		return Result{}, err
	}
	text, err := receiveText(c)
	accepted := errors.Is(err, errAccepted) && j.sent != nil
	switch {
	case accepted:
		text = j.sent.text
	case err != nil:
		return Result{}, j.final(err)
	}
	b, err := j.build(text)
	if err != nil {
		return Result{}, err
	}
	defer b.discard()
	if err := b.write(j.url, text); err != nil {
		return Result{}, fmt.Errorf("writing the configuration: %w", err)
	}
	if !accepted {
		if err := j.handIn(c, b, text); err != nil {
			return Result{}, err
		}
	}
	res, err := b.finish()
	if err != nil {
		j.left = nil // the key is answered; the directories stay until the files are in their place
		return res, err
	}
	j.forget("")
	j.noteReceived(c.conn, res)
	return res, nil
}

// handIn sends our key and waits until it is accepted. Without an answer everything that has been prepared is kept.
func (j *joiner) handIn(c *conversation, b *builder, text []byte) error {
	j.sent = &prepared{key: b.key, rsa: b.rsa, text: text}
	err := c.send(recordEnd, []byte(b.key.Public().String()))
	var typ byte
	var data []byte
	if err == nil {
		typ, data, _, err = c.next()
	}
	switch {
	case err != nil:
		j.left = append(j.left, b.tmp)
		j.forget(b.tmp)
		b.tmp = ""
		return j.unanswered(fmt.Errorf("waiting for the inviter to store our key: %w", silence(err)))
	case typ != recordAccepted:
		return j.final(refused(typ, data))
	}
	return nil
}

// final drops what was kept if the inviter says that our key is not that of a node, and will not be.
func (j *joiner) final(err error) error {
	var why Refusal
	if errors.As(err, &why) && slices.Contains([]Refusal{Unknown, Used, Taken, BadKey}, why) {
		j.forget("")
		j.sent = nil
	}
	return err
}

// noteReceived sees to it that the addresses in the host files of the invitation count as what others have told
// us: those of this very machine, say, are not dialled. The user has pointed at the inviter, though,
// so one on the same machine may be dialled there.
func (j *joiner) noteReceived(conn net.Conn, res Result) {
	var names []node.Name
	for _, text := range res.Hosts {
		if text != j.inviter || !netwatch.SameHost(conn) {
			names = append(names, node.Name(text))
		}
	}
	s := keydist.Store{Layout: res.Layout, Self: res.Name}
	if err := s.Received(names...); err != nil {
		j.Log(fmt.Sprintf("warning: noting that the host files came with an invitation: %v", err))
	}
}

// errAccepted is what a newcomer hears that has been let in before.
var errAccepted = errors.New("the inviter accepted a key that was not sent")

func receiveText(c *conversation) ([]byte, error) {
	var text []byte
	for {
		typ, data, _, err := c.next()
		switch {
		case err != nil && len(text) == 0:
			return nil, fmt.Errorf("asking for the invitation: %w", silence(err))
		case err != nil:
			return nil, fmt.Errorf("receiving the invitation: %w", silence(err))
		case typ == recordEnd:
			return text, nil
		case typ == recordAccepted && len(text) == 0:
			return nil, errAccepted
		case typ != recordText:
			return nil, refused(typ, data)
		case len(text)+len(data) > maxText:
			return nil, errors.New("the invitation is too long")
		}
		text = append(text, data...)
	}
}

// silence explains what a tinc daemon means by saying nothing.
func silence(err error) error {
	if errors.Is(err, errSilent) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w; mostly that means that it was used or has expired, the inviter's log says more", errSilent)
	}
	return err
}

func refused(typ byte, data []byte) error {
	if why := Refusal(data); typ == recordRefused && why.known() {
		return why
	}
	return fmt.Errorf("the inviter ended the conversation (record type %d)", typ)
}

// randomNet returns a name for a network whose own name is taken.
func (j *joiner) randomNet() (string, error) {
	var b [4]byte
	if _, err := io.ReadFull(j.Rand, b[:]); err != nil {
		return "", err
	}
	return "join_" + hex.EncodeToString(b[:]), nil
}
