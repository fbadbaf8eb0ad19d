package bootnode

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"tincan/internal/hostfile"
	"tincan/internal/keys"
	"tincan/internal/node"
	"tincan/internal/oserr"
	"tincan/internal/subnet"
)

// Request is what a newcomer wants.
type Request struct {
	URLs     []URL
	Token    Secret
	Protocol Protocol
	Name     node.Name
	Host     []byte           // the host file, with the public key
	Key      *keys.PrivateKey // its private half; nil if there is no Ed25519 key
	Assign   bool             // ask for an address (Current only)

	Attempt time.Duration // limit of one attempt; 0: 15 seconds
	Timeout time.Duration // how long to go on trying; 0: each URL once
	Log     func(text string)

	// For tests; zero means the real thing.
	random io.Reader
	pause  time.Duration // before the second round
}

// Joined is what a newcomer gets.
type Joined struct {
	Boot    node.Name // who let us in; "" with Generation2, which does not say
	URL     URL
	NetName string               // what the boot node calls the network; "" if it does not say
	Network string               // the id of a signed network; "": it is open, or the boot node does not say
	Address netip.Prefix         // with Request.Assign
	Hosts   map[node.Name][]byte // host files of others, checked
}

// final is an error that asking again does not fix.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// ErrNotCurrent is part of the error when nobody speaks the protocol of tincan.
var ErrNotCurrent = errors.New("this boot node does not support the protocol of tincan")

// ErrRefused is part of the error when the token is not accepted.
var ErrRefused = errors.New("the token is not accepted: it is wrong, has expired, is used up or was revoked")

// ErrUnavailable is part of the error when a boot node says that it cannot admit anybody at the moment. Another one may, or the
// same later.
var ErrUnavailable = errors.New("it cannot admit anybody at the moment")

// PublicAddressError is part of the error when the boot node gives us an address that
// nobody but the user may choose.
type PublicAddressError struct{ Address netip.Prefix }

func (e PublicAddressError) Error() string {
	return fmt.Sprintf("it gives us the address %v, which would lead %v into the VPN; that is not within a private network", e.Address, e.Address.Masked())
}

// longest pause between two rounds.
const longestPause = 15 * time.Second

// Join asks the boot nodes in turn, and again with growing pauses, until one of
// them lets us in. It writes nothing.
func Join(ctx context.Context, r Request) (Joined, error) {
	if r.Attempt == 0 {
		r.Attempt = 15 * time.Second
	}
	if r.Log == nil {
		r.Log = func(string) {}
	}
	if r.random == nil {
		r.random = rand.Reader
	}
	pause := r.pause
	if pause == 0 {
		pause = time.Second
	}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.Timeout)
		defer cancel()
	}
	refused, failed := map[URL]error{}, map[URL]error{}
	var last error
	for {
		for _, u := range r.URLs {
			if refused[u] != nil {
				continue
			}
			r.Log("trying " + u.String())
			j, err := r.attempt(ctx, u)
			if err == nil {
				return j, nil
			}
			last = fmt.Errorf("%s: %w", u, oserr.PlainDial(err))
			failed[u] = last
			if errors.As(err, new(final)) {
				refused[u] = last
			}
			if len(r.URLs) > 1 || r.Timeout > 0 && refused[u] == nil {
				r.Log(last.Error())
			}
			if ctx.Err() != nil && len(r.URLs) == 1 {
				return Joined{}, last
			} else if ctx.Err() != nil {
				return Joined{}, allFailed{last, r.inOrder(failed)}
			}
		}
		if len(r.URLs) == 1 && last != nil && (r.Timeout == 0 || len(refused) == 1) {
			return Joined{}, last
		}
		if r.Timeout == 0 || len(refused) >= len(r.URLs) {
			return Joined{}, allFailed{last, r.inOrder(failed)}
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return Joined{}, allFailed{fmt.Errorf("within %v: %w", r.Timeout, last), r.inOrder(failed)}
		}
		pause = min(2*pause, longestPause)
	}
}

// allFailed is the error when no boot node has let us in: the last error of each of them.
type allFailed struct {
	last error
	all  []error
}

func (e allFailed) Error() string   { return "all boot nodes failed; the last one: " + e.last.Error() }
func (e allFailed) Unwrap() []error { return e.all }

// inOrder lists the errors of the boot nodes in the order of the URLs.
func (r Request) inOrder(failed map[URL]error) (list []error) {
	for _, u := range r.URLs {
		if err := failed[u]; err != nil {
			list = append(list, err)
		}
	}
	return list
}

// attempt asks one boot node.
func (r Request) attempt(ctx context.Context, u URL) (j Joined, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.Attempt)
	defer cancel()
	c := r.client(u)
	defer c.CloseIdleConnections()
	switch r.Protocol {
	case Generation1:
		j, err = r.join1(ctx, c, u)
	case Generation2:
		j, err = r.join2(ctx, c, u)
	default:
		j, err = r.joinCurrent(ctx, c, u)
	}
	if err != nil {
		return Joined{}, err
	}
	j.URL = u
	for name, file := range j.Hosts {
		clean, problems, err := hostfile.Check(name, file, hostfile.Policy{KeyOptional: r.Protocol != Current})
		if err != nil {
			r.Log(fmt.Sprintf("leaving out the %v", err))
			delete(j.Hosts, name)
			continue
		}
		for _, p := range problems {
			r.Log(fmt.Sprintf("leaving out of the host file of %s: %s", name, p))
		}
		j.Hosts[name] = clean
	}
	if j.Boot != "" && j.Hosts[j.Boot] == nil {
		return Joined{}, final{fmt.Errorf("the host file of the boot node %s cannot be used", j.Boot)}
	}
	return j, nil
}

func (r Request) client(u URL) *http.Client {
	t := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: r.Attempt}).DialContext, MaxResponseHeaderBytes: maxHeader,
		TLSHandshakeTimeout: ioTimeout, DisableCompression: false,
	}
	if u.certPin != "" {
		t.TLSClientConfig = pinned(u.certPin)
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it redirects to another address, which is not followed")
	}}
}

// post sends a body and returns status, one header and at most limit bytes.
func post(ctx context.Context, c *http.Client, url string, body []byte, limit int64) (status int, header http.Header, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("User-Agent", "")
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, nil, plainer(err)
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && int64(len(answer)) > limit {
		err = fmt.Errorf("the answer has more than %d bytes", limit)
	}
	return res.StatusCode, res.Header, answer, err
}

// plainer leaves the URL out of the error of package http: whoever calls has
// said it.
func plainer(err error) error {
	var u interface{ Unwrap() error }
	if errors.As(err, &u) && u.Unwrap() != nil {
		return u.Unwrap()
	}
	return err
}

// saying is the error for a status that is not 200.
func saying(status int, text []byte) error {
	err := fmt.Errorf("it answers %d %s", status, http.StatusText(status))
	line, _, _ := bytes.Cut(text, []byte("\n"))
	switch {
	case status == http.StatusServiceUnavailable && len(line) > 0:
		err = fmt.Errorf("%w: %.200q", ErrUnavailable, line)
	case status == http.StatusServiceUnavailable:
		err = ErrUnavailable
	case len(line) > 0:
		err = fmt.Errorf("it answers %d: %.200q", status, line)
	}
	return err
}

func (r Request) joinCurrent(ctx context.Context, c *http.Client, u URL) (j Joined, err error) {
	n, hello, err := newNewcomer(r.random)
	if err != nil {
		return j, err
	}
	status, _, reply, err := post(ctx, c, u.base+pathHello, hello, 1024)
	switch {
	case err != nil:
		return j, err
	case status == http.StatusNotFound || status == http.StatusUnauthorized || status == http.StatusForbidden:
		return j, final{ErrNotCurrent}
	case status != http.StatusOK:
		return j, saying(status, reply)
	case len(reply) < sessionSize:
		return j, final{ErrNotCurrent}
	}
	message, receive, err := n.ask(reply[sessionSize:], u.keyPin, r.Token, request{Name: string(r.Name), Host: r.Host, Assign: r.Assign}, r.Key)
	if err != nil {
		return j, final{err}
	}
	status, _, sealed, err := post(ctx, c, u.base+pathJoin, append(reply[:sessionSize:sessionSize], message...), maxAnswer)
	switch {
	case err != nil:
		return j, err
	case status == http.StatusForbidden:
		return j, final{ErrRefused}
	case status != http.StatusOK:
		return j, saying(status, sealed)
	}
	a, err := openAnswer(receive, sealed)
	switch {
	case err != nil:
		return j, err
	case a.Refused != "":
		return j, final{fmt.Errorf("it refuses %s: %.300s", r.Name, a.Refused)}
	}
	return a.joined(r)
}

// joined checks what the boot node has sent.
func (a answer) joined(r Request) (Joined, error) {
	boot, ok := nodeName(a.Node)
	if !ok || boot == r.Name {
		return Joined{}, final{fmt.Errorf("the boot node calls itself %.40q", a.Node)}
	}
	if id, err := hex.DecodeString(a.Network); err != nil || len(id) != 32 && len(id) != 0 {
		return Joined{}, final{fmt.Errorf("the boot node calls the network %.80q, which is no id", a.Network)}
	}
	j := Joined{Boot: boot, NetName: a.NetName, Network: strings.ToLower(a.Network), Hosts: map[node.Name][]byte{}}
	if r.Assign {
		if !a.Address.IsValid() || a.Address.IsSingleIP() || !usable(a.Address.Addr()) {
			return Joined{}, final{fmt.Errorf("the boot node has chosen the address %v, which cannot be used", a.Address)}
		}
		if !subnet.Harmless(a.Address) {
			return Joined{}, final{PublicAddressError{a.Address}}
		}
		j.Address = a.Address
	}
	for text, file := range a.Hosts {
		if name, ok := nodeName(text); ok && name != r.Name && len(j.Hosts) <= 2*maxSharedHosts {
			j.Hosts[name] = file
		}
	}
	return j, nil
}

func usable(a netip.Addr) bool {
	return a.IsGlobalUnicast() && a.Zone() == ""
}

func (r Request) join1(ctx context.Context, c *http.Client, u URL) (j Joined, err error) {
	// A new nonce for each URL: two answers under one nonce would give away more.
	key := r.Token.oldKey()
	n, err := newNonce(r.random)
	if err != nil {
		return j, err
	}
	sealed := seal1(key, n, string(r.Name), r.Host)
	status, header, body, err := post(ctx, c, u.base+"/"+n.String()+"/"+string(r.Name), sealed, maxBody)
	switch {
	case err != nil:
		return j, err
	case status == http.StatusForbidden && len(body) == 0:
		return j, final{ErrRefused}
	case status == http.StatusBadRequest || status == http.StatusForbidden || status == http.StatusNotFound:
		return j, final{saying(status, body)}
	case status != http.StatusOK:
		return j, saying(status, body)
	}
	boot, ok := nodeName(header.Get("X-Node"))
	switch {
	case !ok:
		return j, fmt.Errorf("the boot node calls itself %.40q, which is not a valid name", header.Get("X-Node"))
	case boot == r.Name || bytes.Equal(body, sealed):
		return j, errors.New("our own request was sent back to us")
	}
	file, err := open1(key, n, string(boot), body)
	if err != nil {
		return j, fmt.Errorf("the answer: %w", err)
	}
	return Joined{Boot: boot, Hosts: map[node.Name][]byte{boot: file}}, nil
}

func (r Request) join2(ctx context.Context, c *http.Client, u URL) (j Joined, err error) {
	key := r.Token.oldKey()
	body, err := seal2(r.random, key, envelope{string(r.Name), r.Host})
	if err != nil {
		return j, err
	}
	if len(body) > maxEnvelope {
		return j, final{fmt.Errorf("our host file is too long for this protocol, which carries %d bytes", maxEnvelope)}
	}
	status, _, reply, err := post(ctx, c, u.base, body, maxArchive)
	switch {
	case err != nil:
		return j, err
	case status == http.StatusUnauthorized && bytes.HasPrefix(reply, []byte(wrongTag)):
		return j, final{ErrRefused}
	case status == http.StatusUnprocessableEntity || status == http.StatusForbidden || status == http.StatusNotFound:
		return j, final{saying(status, reply)}
	case status != http.StatusOK:
		return j, saying(status, reply)
	}
	hosts, err := openArchive(key, reply, r.Name)
	return Joined{Hosts: hosts}, err
}
