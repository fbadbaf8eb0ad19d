package carrier

import (
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path"

	"tincan/internal/config"
)

// Site makes the site that visitors see from a value of the variable CarrierSite: a directory of files, the URL of another
// site, or "" for a plain page. The directory is held open, so that it can be read after the process has given up its
// rights; release closes it.
func Site(value string) (h http.Handler, release func(), err error) {
	release = func() {}
	switch {
	case value == "":
		return http.HandlerFunc(plainPage), release, nil
	case config.IsSiteURL(value):
		to, err := url.Parse(value)
		if err != nil {
			return nil, release, fmt.Errorf("the site of the carrier: %w", err)
		}
		return &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(to)
				r.SetXForwarded()
			},
			ErrorLog: log.New(io.Discard, "", 0),
		}, release, nil
	}
	root, err := os.OpenRoot(value)
	if err != nil {
		return nil, release, fmt.Errorf("the site of the carrier: %w", err)
	}
	return http.FileServerFS(pages{root.FS()}), func() { root.Close() }, nil
}

// pages are the files of a site. A directory without a page of its own is not listed.
type pages struct{ fs.FS }

func (p pages) Open(name string) (fs.File, error) {
	f, err := p.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		if _, err := fs.Stat(p.FS, path.Join(name, "index.html")); err != nil {
			f.Close()
			return nil, fs.ErrNotExist
		}
	}
	return f, nil
}

// plainPage is what a web server shows that nobody has given a page yet.
func plainPage(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	switch {
	case r.URL.Path != "/" && r.URL.Path != "/index.html":
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<!doctype html>\n<title>Not found</title>\n<h1>Not found</h1>\n<p>There is no page at this address.</p>\n")
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		_, _ = io.WriteString(w, "<!doctype html>\n<title>Welcome</title>\n<h1>It works</h1>\n<p>There is nothing here yet.</p>\n")
	}
}
