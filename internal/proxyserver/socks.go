package proxyserver

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"tincan/internal/oserr"
)

// SOCKS 5 (RFC 1928), with user and password (RFC 1929).
const (
	version5     = 5
	loginVersion = 1

	methodNone     = 0
	methodPassword = 2
	methodNoneFits = 0xff

	cmdConnect   = 1
	cmdAssociate = 3

	addrIPv4 = 1
	addrName = 3
	addrIPv6 = 4

	replyDone        = 0
	replyFailed      = 1
	replyNotAllowed  = 2
	replyNoNetwork   = 3
	replyNoHost      = 4
	replyRefused     = 5
	replyTimeout     = 6
	replyNoSuchCmd   = 7
	replyNoSuchAddrs = 8
)

// socksRequest is what a client wants.
type socksRequest struct {
	command byte
	host    string // a name or an address
	port    uint16
}

var (
	errNotSOCKS5 = errors.New("the client does not speak SOCKS 5")
	errLogin     = errors.New("wrong user or password")
	errNoLogin   = errors.New("the client offers no user and password")
)

// SOCKS serves SOCKS 5 at a listener until ctx ends. Names are resolved by the network.
func (s *Server) SOCKS(ctx context.Context, l net.Listener) error {
	return s.serve(ctx, l, func(ctx context.Context, c net.Conn) {
		if err := s.socks(ctx, c); err != nil {
			s.log("SOCKS client %s: %v", c.RemoteAddr(), err)
		}
	})
}

func (s *Server) socks(ctx context.Context, c net.Conn) error {
	_ = c.SetDeadline(time.Now().Add(headTime))
	// The reader takes only what belongs to the handshake: a client does not go on before it has an answer.
	in := bufio.NewReaderSize(c, 1024)
	r, err := s.handshake(in, c)
	if err != nil {
		return err
	}
	if in.Buffered() > 0 {
		return errors.New("the client has not waited for the answer")
	}
	_ = c.SetDeadline(time.Time{})
	switch r.command {
	case cmdConnect:
		to, err := s.dial(ctx, r.host, r.port)
		if err != nil {
			return errors.Join(fmt.Errorf("connecting to %s: %w", net.JoinHostPort(r.host, fmt.Sprint(r.port)), err), writeReply(c, replyFor(err), netip.AddrPort{}))
		}
		if err := writeReply(c, replyDone, netip.AddrPort{}); err != nil {
			to.Close()
			return err
		}
		s.carry(c, to)
		return nil
	case cmdAssociate:
		return s.associate(ctx, c)
	}
	return errors.Join(fmt.Errorf("command %d is not supported", r.command), writeReply(c, replyNoSuchCmd, netip.AddrPort{}))
}

// handshake reads what a client wants, after it has said who it is if that is asked for. What cannot be answered in another way is answered.
func (s *Server) handshake(in *bufio.Reader, out io.Writer) (r socksRequest, err error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return r, err
	}
	if head[0] != version5 {
		return r, errNotSOCKS5
	}
	methods := make([]byte, head[1])
	if _, err := io.ReadFull(in, methods); err != nil {
		return r, err
	}
	want := byte(methodNone)
	if s.Login != "" {
		want = methodPassword
	}
	if !slices.Contains(methods, want) {
		_, _ = out.Write([]byte{version5, methodNoneFits})
		if want == methodPassword {
			return r, errNoLogin
		}
		return r, errors.New("the client wants to log in in a way that is not supported")
	}
	if _, err := out.Write([]byte{version5, want}); err != nil {
		return r, err
	}
	if want == methodPassword {
		if err := s.login(in, out); err != nil {
			return r, err
		}
	}
	var rest [3]byte
	if _, err := io.ReadFull(in, rest[:]); err != nil {
		return r, err
	}
	if rest[0] != version5 {
		return r, errNotSOCKS5
	}
	r.command = rest[1]
	r.host, r.port, err = readAddr(in)
	if errors.Is(err, errAddrType) {
		err = errors.Join(err, writeReply(out, replyNoSuchAddrs, netip.AddrPort{}))
	}
	return r, err
}

// login reads user and password.
func (s *Server) login(in *bufio.Reader, out io.Writer) error {
	if v, err := in.ReadByte(); err != nil || v != loginVersion {
		return errors.Join(err, errNotSOCKS5)
	}
	user, err := readText(in)
	if err != nil {
		return err
	}
	password, err := readText(in)
	if err != nil {
		return err
	}
	if !s.may(user, password) {
		time.Sleep(wrongLogin)
		_, _ = out.Write([]byte{loginVersion, replyFailed})
		return errLogin
	}
	_, err = out.Write([]byte{loginVersion, replyDone})
	return err
}

// readText reads a text of up to 255 bytes after its length.
func readText(in *bufio.Reader) (string, error) {
	n, err := in.ReadByte()
	if err != nil {
		return "", err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(in, b)
	return string(b), err
}

var errAddrType = errors.New("an address of an unknown type")

// readAddr reads an address and a port.
func readAddr(in *bufio.Reader) (host string, port uint16, err error) {
	kind, err := in.ReadByte()
	if err != nil {
		return "", 0, err
	}
	switch kind {
	case addrIPv4, addrIPv6:
		b := make([]byte, map[byte]int{addrIPv4: 4, addrIPv6: 16}[kind])
		if _, err := io.ReadFull(in, b); err != nil {
			return "", 0, err
		}
		a, _ := netip.AddrFromSlice(b)
		host = a.Unmap().String()
	case addrName:
		if host, err = readText(in); err != nil {
			return "", 0, err
		}
		if err := checkHost(host); err != nil {
			return "", 0, err
		}
	default:
		return "", 0, errAddrType
	}
	var p [2]byte
	if _, err := io.ReadFull(in, p[:]); err != nil {
		return "", 0, err
	}
	return host, binary.BigEndian.Uint16(p[:]), nil
}

// checkHost refuses what is no name of a host and no address.
func checkHost(host string) error {
	if host == "" || len(host) > 255 {
		return errors.New("the name of the host is empty or too long")
	}
	for _, c := range []byte(host) {
		if c <= ' ' || c >= 0x7f || c == '/' || c == '@' {
			return fmt.Errorf("the name of the host has the character %q", c)
		}
	}
	return nil
}

// writeReply answers a request.
func writeReply(out io.Writer, code byte, at netip.AddrPort) error {
	_, err := out.Write(appendAddr([]byte{version5, code, 0}, at))
	return err
}

// appendAddr appends an address and a port, zero if there is none.
func appendAddr(b []byte, at netip.AddrPort) []byte {
	switch a := at.Addr().Unmap(); {
	case a.Is6():
		b = append(append(b, addrIPv6), a.AsSlice()...)
	case a.Is4():
		b = append(append(b, addrIPv4), a.AsSlice()...)
	default:
		b = append(b, addrIPv4, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint16(b, at.Port())
}

// replyFor is what a client is told about an error.
func replyFor(err error) byte {
	var timeout net.Error
	switch {
	case errors.As(err, new(*Refusal)):
		return replyNotAllowed
	case errors.Is(err, ErrNoHost), errors.Is(err, syscall.EHOSTUNREACH):
		return replyNoHost
	case errors.Is(err, oserr.Refused):
		return replyRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return replyNoNetwork
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return replyTimeout
	}
	return replyFailed
}
