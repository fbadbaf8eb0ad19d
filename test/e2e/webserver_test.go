//go:build linux

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tincan/internal/lab"
)

// example is the first block of docs/carriers.md after a line.
func example(t *testing.T, after string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/carriers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(page), "\n"+after+"\n")
	block := regexp.MustCompile("(?s)^\n```[a-z]*\n(.*?)```\n").FindStringSubmatch(rest)
	if !found || block == nil {
		t.Fatalf("docs/carriers.md has no example after %q", after)
	}
	return block[1]
}

// knowsHost has the programs of a host find a name.
func (n *node) knowsHost(name, addr string) {
	n.w.Helper()
	n.w.must(n.InFiles(func() error {
		const file = "/run/hosts"
		if err := os.WriteFile(file, []byte("127.0.0.1 localhost\n"+addr+" "+name+"\n"), 0o644); err != nil {
			return err
		}
		return unix.Mount(file, "/etc/hosts", "", unix.MS_BIND, "")
	}))
}

// The examples of the documentation for web servers that pass carriers on, with the servers themselves. Strangers see the site of the server.
func TestExamplesForWebServers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		program, title string
		config         func(example, dir string) string
		args           func(file, dir string) []string
		version        string // of HTTP, for visitors
	}{
		"nginx": {"nginx", "nginx:", func(example, dir string) string {
			return fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
    access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
    server {
        listen 443 ssl; server_name vpn.example.org; root %[1]s/site; index index.html;
        ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate %[1]s/carrier.crt; ssl_certificate_key %[1]s/carrier.key;
        %[2]s
    }
}
`, dir, example)
		}, func(file, dir string) []string { return []string{"-p", dir, "-c", file} }, "1"},
		"Caddy": {"caddy", "Caddy:", func(example, dir string) string {
			site := strings.ReplaceAll(example, "/var/www/bakery", dir+"/site")
			site = strings.Replace(site, "{\n", fmt.Sprintf("{\n    tls %[1]s/carrier.crt %[1]s/carrier.key\n", dir), 1)
			return fmt.Sprintf("{\n    admin off\n    auto_https disable_redirects\n    storage file_system %s\n}\n%s", dir, site)
		}, func(file, _ string) []string { return []string{"run", "--adapter", "caddyfile", "--config", file} }, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			program, err := exec.LookPath(c.program)
			if err != nil {
				program, err = exec.LookPath("/usr/sbin/" + c.program)
			}
			if err != nil {
				t.Skipf("SKIP: %s is not installed, so its example in docs/carriers.md is not tested", name)
			}
			text := example(t, c.title)
			path := regexp.MustCompile(`/[A-Za-z0-9]{16,}`).FindString(text)
			w := carriageIn(t, newWorld(t, "ip4"), "CarrierListen = http://127.0.0.1:8080\n", "LogLevel = 1\nCarriers = tls\n", "vpn.example.org"+path+"#sha256=FINGERPRINT")
			w.alice.knowsHost("vpn.example.org", "10.99.2.2")
			dir := t.TempDir()
			file := filepath.Join(dir, "config")
			for name, text := range map[string]string{
				"config": c.config(text, dir), "carrier.crt": string(w.cert.Cert), "carrier.key": string(w.cert.Key), "site/index.html": "<h1>Bread</h1>",
			} {
				w.must(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
				w.must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
			}
			w.block(lab.NotTCP, w.alice)
			w.block(lab.OtherTCP(443), w.alice)
			cmd := w.bob.Command(program, c.args(file, dir)...)
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
			server, err := w.bob.StartCommand(cmd)
			w.must(err)
			upAll(w.alice, w.bob)
			if w.linksUp(20 * time.Second); t.Failed() {
				t.Logf("%s says:\n%s", name, server.Tail(20))
			}
			w.allReach("ip4", w.alice, w.bob)
			if !strings.Contains(w.bob.daemon.Log(), "connection with alice (10.99.1.2:") {
				t.Errorf("bob does not know where alice is:\n%s", w.bob.daemon.Tail(10))
			}
			w.visitor("/", "200 "+c.version+" <h1>Bread</h1>")
			w.visitor("/no/such/page", "404 "+c.version)
			w.visitor(path, "404 "+c.version)
		})
	}
}
