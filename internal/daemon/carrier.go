package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"tincan/internal/carrier"
	"tincan/internal/config"
	"tincan/internal/mesh"
	"tincan/internal/metaconn"
)

// carrierListeners take meta connections inside of HTTPS. They are opened before the process gives up its rights.
type carrierListeners struct {
	log         *logger
	listeners   []carrierListener
	paths       carrier.Paths
	certificate *carrier.Certificate // nil: none is needed
	site        http.Handler         // what visitors see
	release     func()               // of site; nil: there is none
}

type carrierListener struct {
	net.Listener
	plain bool
}

// expirySoon is how long before its end a certificate is worth a warning.
const expirySoon = 7 * 24 * time.Hour

// open opens what CarrierListen names.
func (k *carrierListeners) open(s config.Settings, log *logger) error {
	k.log = log
	if len(s.CarrierListen) == 0 {
		return nil
	}
	var err error
	if slices.ContainsFunc(s.CarrierListen, func(l config.Listener) bool { return !l.Plain }) {
		if s.CarrierCertificate == "" || s.CarrierKey == "" {
			return &Hinted{errors.New("CarrierListen with TLS needs CarrierCertificate and CarrierKey"),
				"behind a web server that has the certificate, write CarrierListen = http://127.0.0.1:8080"}
		}
		if k.certificate, err = carrier.LoadCertificate(s.CarrierCertificate, s.CarrierKey, k.failed); err != nil {
			return err
		}
		k.checkExpiry()
	}
	if k.site, k.release, err = carrier.Site(s.CarrierSite); err != nil {
		return err
	}
	k.setPaths(s)
	network := map[config.Family]string{config.OnlyIPv4: "tcp4", config.OnlyIPv6: "tcp6"}[s.AddressFamily]
	if network == "" {
		network = "tcp"
	}
	for _, at := range s.CarrierListen {
		lc := net.ListenConfig{Control: marked(s.Mark(), "")} // what it answers is not to leave by an exit node
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(context.Background(), network, net.JoinHostPort(at.Host, at.Port))
		if err != nil {
			return adviseListen(fmt.Errorf("CarrierListen = %s: %w", at, cause(err)))
		}
		k.listeners = append(k.listeners, carrierListener{l, at.Plain})
		log.printf(1, mesh.Info, "Taking carriers at %s", at)
	}
	return nil
}

// failed tells that what was read again cannot be used.
func (k *carrierListeners) failed(err error) {
	k.log.failed(0, mesh.Warning, fmt.Errorf("the old one is kept: %w", err))
}

func (k *carrierListeners) checkExpiry() {
	switch end := k.certificate.Expires(); {
	case time.Now().After(end):
		k.log.printf(0, mesh.Warning, "the certificate of the carrier expired on %s: only nodes that have its fingerprint can use it", end.Format(time.DateOnly))
	case time.Until(end) < expirySoon:
		k.log.printf(0, mesh.Warning, "the certificate of the carrier expires on %s", end.Format(time.DateOnly))
	}
}

// setPaths takes over the paths by which members are known.
func (k *carrierListeners) setPaths(s config.Settings) {
	var paths []string
	for _, c := range s.OwnCarriers {
		paths = append(paths, c.Path)
	}
	if k.paths.Set(paths); len(paths) == 0 {
		k.log.printf(0, mesh.Warning, "CarrierListen shows only its site: there is no line Carrier = wss://HOST/PATH in the host file of this node")
	}
}

// reload takes over what a reload applies: paths, and the files of the certificate.
func (k *carrierListeners) reload(s config.Settings) {
	if len(k.listeners) == 0 {
		return
	}
	k.setPaths(s)
	if k.certificate != nil {
		if err := k.certificate.Reload(); err != nil {
			k.failed(err)
			return
		}
		k.checkExpiry()
	}
}

// serve serves until ctx ends.
func (k *carrierListeners) serve(ctx context.Context, conns *metaconn.Table) {
	var all sync.WaitGroup
	defer all.Wait()
	for _, l := range k.listeners {
		s := carrier.Server{
			Knows: k.paths.Know, Site: k.site, Wrap: metaconn.WrapCarrier,
			Take: func(s *carrier.Stream, from netip.AddrPort) { conns.Carry(s, from, l.plain) },
		}
		if !l.plain {
			s.Certificate = k.certificate.Get
		}
		all.Go(func() {
			if err := s.Serve(ctx, l.Listener); err != nil {
				k.log.failed(0, mesh.Error, fmt.Errorf("carriers at %s: %w", l.Addr(), err))
			}
		})
	}
}

func (k *carrierListeners) close() {
	for _, l := range k.listeners {
		l.Close()
	}
	if k.release != nil {
		k.release()
	}
}

// loadRoots reads the certificate authorities of this machine, which are out of reach once the process has given up its
// rights.
func loadRoots() { _, _ = x509.SystemCertPool() }
