package carrier

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"tincan/internal/config"
)

const (
	// maxAnswer is the longest answer to the request that opens a WebSocket, in bytes.
	maxAnswer = 16 << 10
	// userAgent is told to proxies that take TLS away; some of them turn programs away.
	userAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

// Client opens a stream to c on conn, which is a connection with c's host. It owns conn: after an error that is closed.
// roots are the authorities that are believed; nil: those of the system. ctx limits only the making of the stream.
func Client(ctx context.Context, conn net.Conn, c config.Carrier, roots *x509.CertPool) (*Stream, error) {
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	s, err := open(ctx, conn, c, roots)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			err = errors.New("no answer in time")
		}
		return nil, fmt.Errorf("%s: %w", c.Name(), err)
	}
	return s, nil
}

func open(ctx context.Context, conn net.Conn, c config.Carrier, roots *x509.CertPool) (*Stream, error) {
	t := tls.Client(conn, tlsConfig(c, roots))
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, inWords(err, c)
	}
	if t.ConnectionState().Version < tls.VersionTLS13 {
		return nil, errors.New("it does not speak TLS 1.3, so its certificate was sent in clear")
	}
	var key [16]byte
	rand.Read(key[:])
	text := base64.StdEncoding.EncodeToString(key[:])
	_, err := fmt.Fprintf(t, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\nAccept: */*\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"+
		"Connection: Upgrade\r\nPragma: no-cache\r\nCache-Control: no-cache\r\nUpgrade: websocket\r\n\r\n", c.Path, c.Authority(), userAgent, text)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(io.LimitReader(t, maxAnswer))
	answer, err := http.ReadResponse(r, nil)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, errors.New("it closed the connection without an answer")
	case err != nil:
		return nil, fmt.Errorf("it did not answer as a web server: %w", err)
	case answer.StatusCode != http.StatusSwitchingProtocols:
		return nil, refused(answer.StatusCode)
	case !strings.EqualFold(answer.Header.Get("Upgrade"), "websocket"), answer.Header.Get("Sec-WebSocket-Accept") != accept(text):
		return nil, errors.New("its answer is not that of a WebSocket")
	}
	early, _ := r.Peek(r.Buffered())
	return newStream(t, conn, early, true), nil
}

// refused says what an answer with this status means.
func refused(status int) error {
	switch {
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return fmt.Errorf("the web server there does not reach the node behind it (status %d); is the node running, with that address in CarrierListen?", status)
	case status/100 == 3, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("it answered as a web site does, with status %d; if another program has that address, its configuration decides about this path", status)
	}
	return fmt.Errorf("it answered as a web site does, with status %d: it does not know the path in this Carrier", status)
}

// accept is the answer to the key of a request (RFC 6455, 4.2.2).
func accept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func tlsConfig(c config.Carrier, roots *x509.CertPool) *tls.Config {
	// The least version is Go's own, so that the greeting is the one that other programs in Go have.
	t := &tls.Config{ServerName: c.Host, NextProtos: []string{"http/1.1"}, RootCAs: roots}
	if c.SNI != "" {
		t.ServerName = c.SNI
	}
	if !c.Pinned {
		return t
	}
	t.InsecureSkipVerify = true // in its place:
	t.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("it has no certificate")
		}
		sum := sha256.Sum256(s.PeerCertificates[0].Raw)
		if subtle.ConstantTimeCompare(sum[:], c.Pin[:]) != 1 {
			return pinError(sum)
		}
		return nil
	}
	return t
}

// pinError: the certificate has another fingerprint.
type pinError [sha256.Size]byte

func (e pinError) Error() string {
	return "its certificate has the fingerprint sha256=" + hex.EncodeToString(e[:]) + ", which is not the one in this Carrier: " +
		"either it was renewed, or somebody is between"
}

// inWords is an error of the handshake in words that say what to do.
func inWords(err error, c config.Carrier) error {
	var (
		pin       pinError
		invalid   x509.CertificateInvalidError
		unknown   x509.UnknownAuthorityError
		name      x509.HostnameError
		roots     x509.SystemRootsError
		notTLS    tls.RecordHeaderError
		alert     tls.AlertError
		byAddress = func() bool { _, err := netip.ParseAddr(c.Host); return err == nil }()
	)
	switch {
	case errors.As(err, &pin):
		return pin
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		now := time.Now()
		if now.Before(invalid.Cert.NotBefore) {
			return fmt.Errorf("its certificate is not valid before %s; is the clock of this machine right?", invalid.Cert.NotBefore.Format(time.DateOnly))
		}
		return fmt.Errorf("its certificate expired on %s", invalid.Cert.NotAfter.Format(time.DateOnly))
	case errors.As(err, &unknown):
		return errors.New("its certificate was issued by nobody whom this machine knows; if it is self-made, add #sha256=FINGERPRINT to the Carrier")
	case errors.As(err, &name) && byAddress:
		return errors.New("its certificate is not for this address; write the name of the host, or add #sha256=FINGERPRINT to the Carrier")
	case errors.As(err, &name):
		return fmt.Errorf("its certificate is for another host: %.100s", strings.Join(name.Certificate.DNSNames, ", "))
	case errors.As(err, &roots):
		return errors.New("this machine has no list of certificate authorities; install it (ca-certificates), or add #sha256=FINGERPRINT to the Carrier")
	case errors.As(err, &notTLS):
		return errors.New("it does not speak TLS")
	case errors.As(err, &alert):
		return fmt.Errorf("TLS: %w", err)
	}
	return err
}
