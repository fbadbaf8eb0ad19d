package carrier

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// lookAgain is how often it is checked whether the files of a certificate have changed: at the next greeting after that.
const lookAgain = 30 * time.Second

// Certificate is a certificate in two files, which are read again when they have changed.
type Certificate struct {
	certFile, keyFile string
	failed            func(error)

	mu      sync.Mutex
	current *tls.Certificate
	stamps  [2]stamp
	looked  time.Time
}

// stamp tells whether a file is still the same.
type stamp struct {
	time time.Time
	size int64
}

// LoadCertificate reads a certificate with its chain, and its key, in PEM. failed is told if files that have changed cannot
// be used; the certificate then stays what it was.
func LoadCertificate(certFile, keyFile string, failed func(error)) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, failed: failed}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) load() error {
	stamps, err := c.stat()
	if err != nil {
		return fmt.Errorf("the certificate of the carrier: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("the certificate of the carrier in %s, with its key in %s: %w", c.certFile, c.keyFile, err)
	}
	c.current, c.stamps, c.looked = &pair, stamps, time.Now()
	return nil
}

func (c *Certificate) stat() (stamps [2]stamp, err error) {
	for i, file := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(file)
		if err != nil {
			return stamps, err
		}
		stamps[i] = stamp{info.ModTime(), info.Size()}
	}
	return stamps, nil
}

// Reload reads the files again, whether or not they seem to have changed.
func (c *Certificate) Reload() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.load()
}

// Get returns the certificate, for [tls.Config].
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.looked) >= lookAgain {
		c.looked = now
		if stamps, err := c.stat(); err == nil && stamps != c.stamps {
			if err := c.load(); err != nil {
				c.stamps = stamps // told once for each change
				c.failed(err)
			}
		}
	}
	return c.current, nil
}

// Expires is when the certificate ends to be valid.
func (c *Certificate) Expires() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current.Leaf.NotAfter
}
