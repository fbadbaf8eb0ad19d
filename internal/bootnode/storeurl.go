package bootnode

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"tincan/internal/confdir"
	"tincan/internal/etcd"
	"tincan/internal/terminal"
)

// StoreURL says where the boot nodes of a network keep what they share:
//
//	etcd://[USER@]HOST[:PORT][,HOST[:PORT]]…/PREFIX[?OPTION=VALUE[&…]]     plain HTTP
//	etcds://…                                                              TLS
//
// with the options ca, cert, key and password-file, each the path of a file. The zero value is the directory of the network.
type StoreURL struct {
	tls       bool
	user      string
	endpoints []string // HOST:PORT
	prefix    string   // without slashes at its ends
	files     [4]string

	attempt time.Duration // longer than usual, for tests
}

// Indices of StoreURL.files.
const (
	fileCA = iota
	fileCert
	fileKey
	filePassword
)

var storeOptions = [...]string{"ca", "cert", "key", "password-file"}

const (
	etcdPort    = "2379"
	maxPrefix   = 200
	maxPassword = 1024 // bytes
)

// ParseStoreURL reads where the store is. "" is the directory of the network.
func ParseStoreURL(text string) (u StoreURL, err error) {
	if text == "" {
		return u, nil
	}
	scheme, rest, _ := strings.Cut(text, "://")
	switch scheme {
	case "etcd":
	case "etcds":
		u.tls = true
	default:
		return u, errors.New("a store is etcd://HOST:2379/PREFIX, or etcds:// for TLS")
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if u.user, err = url.PathUnescape(authority[:i]); err != nil || u.user == "" || strings.Contains(u.user, ":") {
			return u, errors.New("the URL of a store has no password in it, which other users of this machine could read: write USER@ and password-file=FILE")
		}
		authority = authority[i+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		at, err := endpoint(host)
		if err != nil {
			return u, err
		}
		u.endpoints = append(u.endpoints, at)
	}
	u.prefix = strings.Trim(path, "/")
	if u.prefix == "" || len(u.prefix) > maxPrefix || strings.ContainsFunc(u.prefix, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' || r == '?' }) {
		return u, errors.New("the URL of a store ends with a prefix for this network, such as etcd://HOST:2379/tincan/home")
	}
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		value, err := url.PathUnescape(value)
		if err != nil || value == "" {
			return u, fmt.Errorf("the option %.40q of the store has no value", name)
		}
		i := slices.Index(storeOptions[:], name)
		if i < 0 {
			return u, fmt.Errorf("a store has no option %.40q: there are %s", name, strings.Join(storeOptions[:], ", "))
		}
		if u.files[i], err = filepath.Abs(value); err != nil {
			return u, err
		}
	}
	switch {
	case !u.tls && (u.files[fileCA] != "" || u.files[fileCert] != "" || u.files[fileKey] != ""):
		return u, errors.New("ca, cert and key are for TLS: write etcds://")
	case (u.files[fileCert] == "") != (u.files[fileKey] == ""):
		return u, errors.New("cert and key of the store belong together")
	case (u.user == "") != (u.files[filePassword] == ""):
		return u, errors.New("a user of the store has a password in a file: write USER@ and password-file=FILE")
	}
	return u, nil
}

// endpoint reads HOST[:PORT].
func endpoint(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), etcdPort
	}
	_, bad := netip.ParseAddr(host)
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 || host == "" || strings.ContainsFunc(host, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune(`@/?#[]\"%`, r) || r == ':' && bad != nil
	}) {
		return "", fmt.Errorf("%.60q is no HOST:%s of a store", text, etcdPort)
	}
	return net.JoinHostPort(host, port), nil
}

// String is the URL with absolute paths. There is nothing secret in it.
func (u StoreURL) String() string {
	if u.prefix == "" {
		return ""
	}
	text := "etcd://"
	if u.tls {
		text = "etcds://"
	}
	if u.user != "" {
		text += url.PathEscape(u.user) + "@"
	}
	text += strings.Join(u.endpoints, ",") + "/" + u.prefix
	separator := "?"
	for i, file := range u.files {
		if file != "" {
			text += separator + storeOptions[i] + "=" + strings.NewReplacer("%", "%25", "&", "%26").Replace(file)
			separator = "&"
		}
	}
	return text
}

// Exposed tells whether somebody between here and the store could read the tokens: it is not on this machine, and there is no
// TLS.
func (u StoreURL) Exposed() bool {
	for _, at := range u.endpoints {
		host, _, _ := net.SplitHostPort(at)
		addr, err := netip.ParseAddr(host)
		if !u.tls && host != "localhost" && (err != nil || !addr.IsLoopback()) {
			return true
		}
	}
	return false
}

// client reads the files that the URL names.
func (u StoreURL) client() (*etcd.Client, error) {
	c := etcd.Config{Endpoints: u.endpoints, User: u.user, Attempt: u.attempt}
	if u.tls {
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if file := u.files[fileCA]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate authority of the store: %w", err)
		}
		c.TLS.RootCAs = x509.NewCertPool()
		if !c.TLS.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("there is no certificate in %s", file)
		}
	}
	if file := u.files[fileCert]; file != "" {
		cert, err := tls.LoadX509KeyPair(file, u.files[fileKey])
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for the store: %w", err)
		}
		c.TLS.Certificates = []tls.Certificate{cert}
	}
	if file := u.files[filePassword]; file != "" {
		var err error
		if c.Password, err = readPassword(file); err != nil {
			return nil, fmt.Errorf("reading the password for the store: %w", err)
		}
	}
	return etcd.New(c), nil
}

// readPassword reads the first line of a file that nobody else may read.
func readPassword(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if confdir.HasModes && info.Mode().Perm()&0o077 != 0 {
		return "", terminal.Hint(fmt.Errorf("others can read %s", path), "chmod 600 %s", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPassword+3))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(strings.TrimSuffix(string(data), "\r\n"), "\n")
	if line == "" || len(line) > maxPassword {
		return "", fmt.Errorf("%s holds no password", path)
	}
	return line, nil
}
