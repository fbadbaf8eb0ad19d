// Package ui is the page that shows a network in a browser: its files, and who may see it.
//
// The page asks the API of package api and nothing else. [Local] serves it to one user of this machine: command "tincan ui" is that
// server, and passes the page's requests on to the node. [Members] serves it to members of the network, from inside the node.
package ui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"

	"tincan/internal/api"
)

//go:embed static
var embedded embed.FS

// file is one file of the page.
type file struct {
	content   []byte
	mediaType string
	tag       string
}

// files are those of the page, by path. They are made when the page is first asked for: most processes never show it.
var files = sync.OnceValue(func() map[string]file {
	all := map[string]file{}
	_ = fs.WalkDir(embedded, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := embedded.ReadFile(name)
		sum := sha256.Sum256(b)
		all[strings.TrimPrefix(name, "static")] = file{b, mediaType(name), `"` + hex.EncodeToString(sum[:12]) + `"`}
		return err
	})
	all["/"] = all["/index.html"]
	return all
})

// mediaType does not ask the system, whose table may lack or distort a type.
func mediaType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return ""
}

// page answers requests for the files of the page, and passes those of the API on.
func page(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			inner.ServeHTTP(w, r)
			return
		}
		f, ok := files()[r.URL.Path]
		switch {
		case !ok:
			refuse(w, r, http.StatusNotFound, "there is no such page")
			return
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			refuse(w, r, http.StatusMethodNotAllowed, "this can only be read")
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.mediaType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.tag)
		if r.Header.Get("If-None-Match") == f.tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(f.content)
	})
}

// secure sets what keeps other pages out of this one, and this one from everything but its own server.
func secure(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// refuse says no: in the form of the API to what asks that, else as text.
func refuse(w http.ResponseWriter, r *http.Request, status int, text string) {
	if !strings.HasPrefix(r.URL.Path, "/v1/") {
		http.Error(w, text, status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(api.Problem{Code: "page", Message: text})
}

// foreign tells whether a request was made by another page than ours. Browsers say by Sec-Fetch-Site where a request comes from, but
// only to loopback and over HTTPS; they say by Origin which page made it, always if it can change anything. A page at another port
// of the same host is foreign, too, though cookies do not tell.
func foreign(r *http.Request) bool {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	origin := r.Header.Get("Origin")
	if origin != "" && origin != "http://"+r.Host {
		return true
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin":
		return false
	case "none": // typed, or from outside of the browser
		return !read
	case "":
		// An old browser, or none at all: reading is guarded by the browser's own rules.
		return !read && origin == ""
	}
	// Another page may lead here by a link, and no further.
	return !read || r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" || strings.HasPrefix(r.URL.Path, "/v1/")
}
