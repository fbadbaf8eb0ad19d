package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"
)

// fileSize is how much is moved, in bytes.
const fileSize = 200_000_000

// moveFile moves a file over HTTP from one newcomer to the other.
func (s *story) moveFile() error {
	bob, carol := s.nodes[1], s.nodes[2]
	ln, err := bob.host.Listen("tcp", netip.AddrPortFrom(bob.addr, 80).String())
	if err != nil {
		return err
	}
	sent := sha256.New()
	server := &http.Server{Handler: serveFile(sent)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(ln) }()
	defer func() { _ = server.Close(); <-served }()

	url := fmt.Sprintf("http://%s/file", bob.addr)
	s.say("carol downloads %s: %d MB", url, fileSize/1_000_000)
	began := time.Now()
	got, n, err := download(carol.host.HTTP(), url)
	if err != nil {
		return fmt.Errorf("downloading from bob to carol: %w", err)
	}
	d := time.Since(began)
	if n != fileSize {
		return fmt.Errorf("carol got %d bytes of %d", n, fileSize)
	}
	if want := fmt.Sprintf("%x", sent.Sum(nil)); got != want {
		return errors.New("the file arrived damaged: its SHA-256 is " + got + ", not " + want)
	}
	s.say("it took %.1f s, %.0f Mbit/s, and the SHA-256 is the same: %s…", d.Seconds(), float64(n)*8/d.Seconds()/1e6, got[:16])
	return nil
}

// serveFile serves a stream of pseudo-random bytes and hashes what it hands out.
func serveFile(sent hash.Hash) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		file := io.LimitReader(rand.NewChaCha8([32]byte{'t', 'i', 'n', 'c', 'a', 'n'}), fileSize)
		w.Header().Set("Content-Length", fmt.Sprint(fileSize))
		_, _ = io.CopyBuffer(io.MultiWriter(sent, w), file, make([]byte, 128<<10))
	}
}

func download(client *http.Client, url string) (sum string, n int64, err error) {
	resp, err := client.Get(url)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return "", 0, errors.New(resp.Status)
	}
	got := sha256.New()
	n, err = io.CopyBuffer(got, resp.Body, make([]byte, 128<<10))
	return fmt.Sprintf("%x", got.Sum(nil)), n, err
}
