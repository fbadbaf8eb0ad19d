package bootnode

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"path"
	"strings"

	"tincan/internal/node"
)

// Wrong requests of the old protocols get the answers of the original. What the
// original let in and should not have gets the answer for a wrong token, 403, as
// long as it is not known that the sender has the token; after that, 400 and why.

// looksLike1 tells whether a request is of generation 1, for a boot node that
// speaks both.
func looksLike1(r *http.Request) bool {
	parts := strings.Split(strings.Trim(path.Clean("/"+r.URL.Path), "/"), "/")
	return r.Method == http.MethodPost && len(parts) == 2 && len(parts[0]) == 2*nonceSize
}

func (s *Server) serve1(w http.ResponseWriter, r *http.Request, from netip.Addr) {
	clean := path.Clean("/" + r.URL.Path)
	parts := strings.Split(clean[1:], "/")
	switch {
	case r.Method != http.MethodPost || len(parts) != 2 || parts[0] == "" || parts[1] == "":
		s.failed(from, "%.10q %.40q is not supported by this boot node", r.Method, r.URL.Path)
		notFound(w)
		return
	case strings.HasSuffix(r.URL.Path, "/"):
		w.Header().Set("Location", clean)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	n, ok := parseNonce(parts[0])
	if !ok {
		s.failed(from, "its nonce is none")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	name, ok := nodeName(parts[1])
	if !ok || !strings.ContainsFunc(parts[1], func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' }) {
		s.failed(from, "%.40q is not a valid name for a node", parts[1])
		w.WriteHeader(http.StatusForbidden)
		return
	}
	body, ok := s.body(w, r, from)
	if !ok {
		return
	}
	t, host, ok, err := s.oldToken(r.Context(), func(key [32]byte) ([]byte, error) { return open1(key, n, string(name), body) })
	if err != nil {
		s.cannot(w, from, err)
		return
	}
	if !ok {
		s.failed(from, "%.40q does not know a token that is valid for the old protocols", name)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if err := s.spend(r.Context(), t.ID, n); errors.As(err, new(*UnavailableError)) {
		s.cannot(w, from, err)
		return
	} else if err != nil {
		s.failed(from, "%.40q with token %s (%s): %v", name, t.ID, t.Label, err)
		w.WriteHeader(http.StatusForbidden)
		return
	}
	own, err := s.Network.own()
	if err != nil {
		s.say(from, "%v", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	res, err := s.admit(r.Context(), t, applicant{name: name, host: host, old: true})
	if errors.As(err, new(*UnavailableError)) {
		s.cannot(w, from, err)
		return
	}
	if err != nil {
		s.say(from, "%.40q with token %s (%s): %v", name, t.ID, t.Label, err)
		text := refusalText(err)
		if errors.Is(err, ErrTaken) || name == s.Network.Name {
			text = fmt.Sprintf("open hosts/%s: file exists", name)
		}
		plainText(w, http.StatusBadRequest, text)
		return
	}
	s.welcome(from, Generation1, t, name, res)
	w.Header().Set("X-Node", string(s.Network.Name))
	w.Header().Set("Content-Type", octets)
	w.Write(seal1(*t.Old, n, string(s.Network.Name), own))
}

// oldToken finds the token of the old protocols with which try works.
func (s *Server) oldToken(ctx context.Context, try func(key [32]byte) ([]byte, error)) (t Token, plain []byte, found bool, err error) {
	tokens, err := s.tokens(ctx)
	for _, t := range tokens {
		if t.Old == nil {
			continue
		}
		if plain, err := try(*t.Old); err == nil {
			return t, plain, true, nil
		}
	}
	return Token{}, nil, false, err
}

// spend remembers a nonce, or tells that it was used before.
func (s *Server) spend(ctx context.Context, token string, n nonce) error {
	ctx, cancel := s.Store.within(ctx)
	defer cancel()
	return s.Store.spend(ctx, token, n)
}

// wrongTag is what the original says about a wrong token.
const wrongTag = "chacha20poly1305: message authentication failed"

func (s *Server) serve2(w http.ResponseWriter, r *http.Request, from netip.Addr) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxEnvelope))
	if err != nil {
		s.failed(from, "reading the body: %v", err)
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n, _, err := cut2(body)
	if err != nil {
		s.failed(from, "the body is too short")
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	t, plain, ok, err := s.oldToken(r.Context(), func(key [32]byte) ([]byte, error) { return open2(key, body) })
	if err != nil {
		s.cannot(w, from, err)
		return
	}
	if !ok {
		s.failed(from, "it does not know a token that is valid for the old protocols")
		http.Error(w, wrongTag, http.StatusUnauthorized)
		return
	}
	var e envelope
	if err := json.Unmarshal(plain, &e); err != nil {
		s.failed(from, "with token %s (%s): %v", t.ID, t.Label, err)
		http.Error(w, err.Error(), http.StatusUnauthorized)
		return
	}
	if err := s.spend(r.Context(), t.ID, n); errors.As(err, new(*UnavailableError)) {
		s.cannot(w, from, err)
		return
	} else if err != nil {
		s.failed(from, "%.40q with token %s (%s): %v", e.Name, t.ID, t.Label, err)
		http.Error(w, wrongTag, http.StatusUnauthorized)
		return
	}
	name, ok := nodeName(e.Name)
	switch {
	case e.Name == "":
		s.say(from, "the request has no name")
		http.Error(w, "save host file: the name is empty", http.StatusInternalServerError)
		return
	case !ok || node.Normalise(e.Name) != e.Name:
		s.say(from, "%.40q is not a valid name for a node of tinc-boot", e.Name)
		http.Error(w, "invalid node name", http.StatusUnprocessableEntity)
		return
	}
	res, err := s.admit(r.Context(), t, applicant{name: name, host: e.Config, old: true})
	if errors.As(err, new(*UnavailableError)) {
		s.cannot(w, from, err)
		return
	}
	if err != nil {
		s.say(from, "%.40q with token %s (%s): %v", name, t.ID, t.Label, err)
		http.Error(w, refusalText(err), http.StatusForbidden)
		return
	}
	all, err := s.Network.everything()
	var sealed []byte
	if err == nil {
		sealed, err = seal2(rand.Reader, *t.Old, all)
	}
	if err != nil {
		s.say(from, "%v", err)
		http.Error(w, "the host files could not be read", http.StatusInternalServerError)
		return
	}
	s.welcome(from, Generation2, t, name, res)
	w.Header().Set("Content-Type", octets)
	w.Write(sealed)
}
