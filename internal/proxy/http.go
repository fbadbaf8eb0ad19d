package proxy

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"tincan/internal/config"
)

// maxHead is the longest answer of an HTTP proxy, in bytes.
const maxHead = 16 << 10

// askHTTP sends CONNECT (RFC 9110, 9.3.6) and reads the answer.
func askHTTP(conn io.ReadWriter, p config.Proxy, to Target) error {
	var b strings.Builder
	fmt.Fprintf(&b, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n", to, to)
	if p.User != "" {
		login := base64.StdEncoding.EncodeToString([]byte(p.User + ":" + p.Password))
		fmt.Fprintf(&b, "Proxy-Authorization: Basic %s\r\n", login)
	}
	b.WriteString("\r\n")
	if _, err := io.WriteString(conn, b.String()); err != nil {
		return err
	}
	head, err := readHead(conn)
	if err != nil {
		return err
	}
	status, err := parseStatus(head)
	switch {
	case err != nil:
		return err
	case status/100 == 2:
		return nil
	case status == 407:
		return errors.New("it wants another user and password (status 407)")
	}
	return fmt.Errorf("it refused to connect, with status %d", status)
}

// readHead reads up to the empty line after the header fields, byte by byte: what
// follows belongs to the other end.
func readHead(r io.Reader) (string, error) {
	var b []byte
	var one [1]byte
	for len(b) < maxHead {
		if _, err := io.ReadFull(r, one[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return "", errors.New("it closed the connection without an answer")
			}
			return "", err
		}
		b = append(b, one[0])
		if one[0] == '\n' && (strings.HasSuffix(string(b[max(0, len(b)-4):]), "\n\r\n") || strings.HasSuffix(string(b[max(0, len(b)-2):]), "\n\n")) {
			return string(b), nil
		}
	}
	return "", fmt.Errorf("its answer is longer than %d bytes", maxHead)
}

// parseStatus returns the status of an answer: "HTTP/1.1 200 Connection established".
func parseStatus(head string) (int, error) {
	line, _, _ := strings.Cut(head, "\n")
	version, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	code, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/1.") || err != nil || len(code) != 3 || status < 100 {
		return 0, fmt.Errorf("it answered %.40q, which is not HTTP", line)
	}
	return status, nil
}
