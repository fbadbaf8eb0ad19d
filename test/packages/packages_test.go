//go:build linux

package packages

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// dist builds all packages for this processor, once, from a clone of the last commit. With PACKAGES=DIRECTORY those
// there are tested.
var dist = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("PACKAGES"); dir != "" {
		return filepath.Abs(dir)
	}
	return distAt("a", "022", "TZ=UTC")
})

// scratch is the directory for what the tests of this package share; TestMain removes it.
var scratch string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if scratch, err = os.MkdirTemp("", "tincan-packages"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(scratch)
		return m.Run()
	}())
}

// distAt runs "make packages" in a new clone.
func distAt(name, umask string, env ...string) (string, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(scratch, name)
	cmd := exec.Command("sh", "-c", `set -e; umask `+umask+`; git clone -q --no-hardlinks "$0" "$1"; cd "$1"; make packages ARCHS=`+runtime.GOARCH, abs, dir)
	cmd.Env = slices.Concat(clean(), env, trusting)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make packages: %w\n%s", err, out)
	}
	return filepath.Join(dir, "dist"), nil
}

// built is the directory with the packages.
func built(t *testing.T) string {
	t.Helper()
	head(t)
	dir, err := dist()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// one is the only file in a directory that fits a pattern.
func one(t *testing.T, dir, pattern string) string {
	t.Helper()
	list, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %v (%v)", pattern, list, err)
	}
	return list[0]
}

// Who builds the same commit elsewhere gets the same bytes, and SHA256SUMS is about them.
func TestPackagesAreReproducible(t *testing.T) {
	t.Parallel()
	here := built(t)
	there, err := distAt("a/longer/path with blanks", "077", "TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "HOME="+scratch, "USER=somebody")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(here, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(here)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]bool{}
	for _, e := range entries {
		a, err := os.ReadFile(filepath.Join(here, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(there, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s differs", e.Name())
		}
		if line := fmt.Sprintf("%x  %s\n", sha256.Sum256(a), e.Name()); e.Name() != "SHA256SUMS" && !strings.Contains(string(sums), line) {
			t.Errorf("SHA256SUMS lacks %s", line)
		}
		if bytes.Contains(a, []byte(scratch)) {
			t.Errorf("%s tells where it was built", e.Name())
		}
		kinds[filepath.Ext(e.Name())] = true
	}
	if want := []string{"", ".apk", ".deb", ".gz", ".ipk", ".json", ".rb", ".rpm", ".tar", ".zst"}; !slices.Equal(slices.Sorted(maps.Keys(kinds)), want) {
		t.Errorf("there are %v", slices.Sorted(maps.Keys(kinds)))
	}
}

// contents are the files of a package, by their absolute paths, with their contents.
func contents(t *testing.T, path string) map[string][]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	switch filepath.Ext(path) {
	case ".deb":
		dir := t.TempDir()
		run(t, "/", nil, "dpkg-deb", "-x", path, dir)
		readDir(t, dir, files)
	case ".apk": // three archives, one after the other; the last has the files
		for r := bytes.NewReader(data); r.Len() > 0; {
			z := gunzip(t, r)
			z.Multistream(false)
			text, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			untar(t, bytes.NewReader(text), files)
		}
	case ".ipk":
		outer := map[string][]byte{}
		untar(t, gunzip(t, bytes.NewReader(data)), outer)
		untar(t, gunzip(t, bytes.NewReader(outer["/data.tar.gz"])), files)
		untar(t, gunzip(t, bytes.NewReader(outer["/control.tar.gz"])), files)
	case ".zst":
		dir := t.TempDir()
		if _, err := exec.LookPath("zstd"); err != nil {
			t.Skip("NOT TESTED: there is no zstd")
		}
		run(t, dir, nil, "sh", "-c", `zstd -dc "$0" | tar -xf -`, path)
		readDir(t, dir, files)
	case ".rpm":
		untarCPIO(t, data, files)
	}
	return files
}

func gunzip(t *testing.T, r io.Reader) *gzip.Reader {
	t.Helper()
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func untar(t *testing.T, r io.Reader, files map[string][]byte) {
	t.Helper()
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			files[filepath.Join("/", h.Name)] = data
		}
		if h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s belongs to %d:%d", h.Name, h.Uid, h.Gid)
		}
	}
}

// untarCPIO reads the payload of an RPM: a cpio archive with hexadecimal headers.
func untarCPIO(t *testing.T, data []byte, files map[string][]byte) {
	t.Helper()
	at := bytes.Index(data, []byte{0x1f, 0x8b, 0x08})
	if at < 0 {
		t.Fatal("no payload")
	}
	text, err := io.ReadAll(gunzip(t, bytes.NewReader(data[at:])))
	if err != nil {
		t.Fatal(err)
	}
	align := func(n int) int { return (n + 3) &^ 3 }
	for len(text) >= 110 {
		var size, name int
		fmt.Sscanf(string(text[54:62]), "%x", &size)
		fmt.Sscanf(string(text[94:102]), "%x", &name)
		path := string(text[110 : 110+name-1])
		text = text[align(110+name):]
		if path == "TRAILER!!!" {
			return
		}
		files[filepath.Join("/", path)] = text[:size]
		text = text[align(size):]
	}
	t.Error("the payload has no end")
}

func readDir(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, dir)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every package has the program, and the licences of all that is in it.
func TestEveryPackageHasTheLicences(t *testing.T) {
	t.Parallel()
	dir := built(t)
	common := []string{"/usr/share/man/man1/tincan.1.gz", "/usr/share/man/man5/tincan.conf.5.gz", "/usr/share/bash-completion/completions/tincan", "/usr/share/tincan/prometheus/tincan.rules.yml",
		"/usr/share/zsh/site-functions/_tincan", "/usr/share/fish/vendor_completions.d/tincan.fish"}
	systemd := append([]string{"/usr/lib/systemd/system/tincan@.service", "/usr/lib/sysusers.d/tincan.conf"}, common...)
	for pattern, also := range map[string][]string{
		"*.deb": systemd, "*.rpm": systemd, "*.pkg.tar.zst": systemd, "*.apk": common,
		"*.ipk": {"/etc/init.d/tincan", "/etc/config/tincan", "/lib/upgrade/keep.d/tincan"},
	} {
		t.Run(pattern, func(t *testing.T) {
			list, err := filepath.Glob(filepath.Join(dir, pattern))
			if err != nil || len(list) == 0 {
				t.Fatalf("there is none (%v)", err)
			}
			files := contents(t, list[0])
			for _, path := range append(also, "/usr/bin/tincan") {
				if len(files[path]) == 0 {
					t.Errorf("%s is missing", path)
				}
			}
			complete(t, files["/usr/bin/tincan"], string(files["/usr/share/doc/tincan/copyright"]))
			if unit := files["/usr/lib/systemd/system/tincan@.service"]; bytes.Contains(unit, []byte("/usr/local")) {
				t.Error("the unit starts a program in /usr/local")
			}
		})
	}
}

// A word that nothing is made for is no reason to make nothing, and to remove what was there.
func TestPackagesThatDoNotExistAreRefused(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-formats=deb,arch", "-archs=amd64,i386"} {
		out := t.TempDir()
		kept := filepath.Join(out, "kept")
		if err := os.WriteFile(kept, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("go", "run", "-buildvcs=false", ".", "-out", out, args)
		cmd.Dir = filepath.Join(root, "packaging/build")
		if text, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(text), "there is no ") || !strings.Contains(string(text), "there are ") {
			t.Errorf("%s: %v, %s", args, err, text)
		}
		if _, err := os.Stat(kept); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// pacman calls one function after an installation and another one after an upgrade.
func TestPacmanRestartsNodesAtAnUpgrade(t *testing.T) {
	t.Parallel()
	list, err := filepath.Glob(filepath.Join(built(t), "*.pkg.tar.zst"))
	if err != nil || len(list) == 0 {
		t.Fatalf("there is no package (%v)", err)
	}
	script := string(contents(t, list[0])["/.INSTALL"])
	for _, function := range []string{"post_install", "post_upgrade"} {
		_, body, _ := strings.Cut(script, "function "+function+"() {")
		body, _, _ = strings.Cut(body, "\nfunction ")
		if !strings.Contains(body, "systemctl try-restart") {
			t.Errorf("%s restarts nothing:\n%s", function, script)
		}
	}
}

// complete checks that a text has the licence of each module that is linked into a program. It knows them from the
// program, not from what made the text.
func complete(t *testing.T, program []byte, text string) {
	t.Helper()
	info, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 10 {
		t.Fatalf("the program has only %d modules in it", len(info.Deps))
	}
	for _, dep := range info.Deps {
		if !strings.Contains(text, dep.Path+" "+dep.Version) {
			t.Errorf("%s %s is not named", dep.Path, dep.Version)
		}
		dir := run(t, root, nil, "go", "list", "-m", "-f", "{{.Dir}}", dep.Path)
		found := 0
		for _, pattern := range []string{"LICEN[SC]E*", "License*", "COPYING*", "NOTICE*"} {
			list, _ := filepath.Glob(filepath.Join(dir, pattern))
			for _, path := range list {
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if !strings.Contains(text, strings.TrimSpace(strings.ReplaceAll(string(data), "\r\n", "\n"))) {
					t.Errorf("%s: the text of %s is missing", dep.Path, filepath.Base(path))
				}
			}
		}
		if found == 0 {
			t.Errorf("%s has no licence that this test finds", dep.Path)
		}
	}
	for _, words := range []string{"Mozilla Public License", "The Go Authors", "Go, its runtime and standard library " + info.GoVersion} {
		if !strings.Contains(text, words) {
			t.Errorf("%q is missing", words)
		}
	}
}

// The bill of materials is about the modules in the program, in their versions.
func TestBillOfMaterials(t *testing.T) {
	t.Parallel()
	dir := built(t)
	var bom struct {
		BOMFormat, SpecVersion string
		Metadata               struct {
			Component struct{ Name, Version string }
		}
		Components []struct {
			Name, Version, Purl string
			Licenses            []struct{ Expression string }
		}
	}
	data, err := os.ReadFile(one(t, dir, "*.cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &bom); err != nil {
		t.Fatal(err)
	}
	if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Name != "tincan" || !strings.HasPrefix(filepath.Base(one(t, dir, "*.cdx.json")), "tincan-"+bom.Metadata.Component.Version) {
		t.Errorf("it is about %+v", bom.Metadata)
	}
	have := map[string]string{}
	for _, c := range bom.Components {
		have[c.Name] = c.Version
		if len(c.Licenses) != 1 || !regexp.MustCompile(`^(Apache-2.0|MPL-2.0|BSD-[23]-Clause|ISC|MIT|Zlib)( AND |$)`).MatchString(c.Licenses[0].Expression) {
			t.Errorf("%s has the licence %v", c.Name, c.Licenses)
		}
		if !strings.HasPrefix(c.Purl, "pkg:golang/"+c.Name+"@") {
			t.Errorf("%s is called %s", c.Name, c.Purl)
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(contents(t, one(t, dir, "*.deb"))["/usr/bin/tincan"]))
	if err != nil {
		t.Fatal(err)
	}
	if have["std"] != info.GoVersion {
		t.Errorf("Go is %s, and in the program %s", have["std"], info.GoVersion)
	}
	for _, dep := range info.Deps {
		if have[dep.Path] != dep.Version {
			t.Errorf("%s is %s, and in the program %s", dep.Path, have[dep.Path], dep.Version)
		}
	}
}

// The container image is an OCI layout in which all is what its digest says, and its program runs with nothing
// else around it.
func TestContainerImage(t *testing.T) {
	t.Parallel()
	dir := built(t)
	blobs := map[string][]byte{}
	file, err := os.Open(one(t, dir, "*.oci.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	untar(t, file, blobs)
	type descriptor struct {
		MediaType, Digest string
		Size              int
		Platform          struct{ OS, Architecture string }
	}
	seen := 0
	get := func(d descriptor, into any) []byte {
		t.Helper()
		hash, ok := strings.CutPrefix(d.Digest, "sha256:")
		data := blobs["/blobs/sha256/"+hash]
		if !ok || fmt.Sprintf("%x", sha256.Sum256(data)) != hash || len(data) != d.Size {
			t.Fatalf("%+v is %d bytes of something else", d, len(data))
		}
		seen++
		if into != nil {
			if err := json.Unmarshal(data, into); err != nil {
				t.Fatal(err)
			}
		}
		return data
	}
	var version struct{ ImageLayoutVersion string }
	if err := json.Unmarshal(blobs["/oci-layout"], &version); err != nil || version.ImageLayoutVersion != "1.0.0" {
		t.Errorf("oci-layout: %s", blobs["/oci-layout"])
	}
	var outer, index struct{ Manifests []descriptor }
	if err := json.Unmarshal(blobs["/index.json"], &outer); err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("index.json: %s", blobs["/index.json"])
	}
	get(outer.Manifests[0], &index)
	for _, d := range index.Manifests {
		if d.MediaType != "application/vnd.oci.image.manifest.v1+json" || d.Platform.OS != "linux" || d.Platform.Architecture != runtime.GOARCH {
			t.Errorf("%+v", d)
		}
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		get(d, &manifest)
		var config struct {
			OS, Architecture string
			Config           struct {
				Entrypoint, Cmd []string
				Volumes         map[string]any
			}
			RootFS struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		get(manifest.Config, &config)
		if config.OS != "linux" || config.Architecture != d.Platform.Architecture || !slices.Equal(config.Config.Entrypoint, []string{"/usr/bin/tincan"}) ||
			!slices.Equal(config.Config.Cmd, []string{"up"}) || config.Config.Volumes["/etc/tinc"] == nil {
			t.Errorf("configuration: %+v", config)
		}
		if len(manifest.Layers) != 1 || len(config.RootFS.DiffIDs) != 1 {
			t.Fatalf("%d layers", len(manifest.Layers))
		}
		layer, err := io.ReadAll(gunzip(t, bytes.NewReader(get(manifest.Layers[0], nil))))
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); config.RootFS.DiffIDs[0] != want {
			t.Errorf("the layer is %s, not %s", want, config.RootFS.DiffIDs[0])
		}
		files := map[string][]byte{}
		untar(t, bytes.NewReader(layer), files)
		complete(t, files["/usr/bin/tincan"], string(files["/usr/share/doc/tincan/copyright"]))
		if n := bytes.Count(files["/etc/ssl/certs/ca-certificates.crt"], []byte("BEGIN CERTIFICATE")); n < 50 {
			t.Errorf("%d authorities for TLS", n)
		}
		if os.Getuid() == 0 {
			rootfs := t.TempDir()
			if err := os.WriteFile(filepath.Join(scratch, "layer.tar"), layer, 0o600); err != nil {
				t.Fatal(err)
			}
			run(t, rootfs, nil, "tar", "-xf", filepath.Join(scratch, "layer.tar"))
			if got := run(t, "/", nil, "chroot", rootfs, "/usr/bin/tincan", "version"); !strings.HasPrefix(got, "tincan ") {
				t.Errorf("in the container: %s", got)
			}
			run(t, "/", nil, "chroot", rootfs, "/usr/bin/tincan", "-n", "home", "init", "alice")
		}
	}
	if seen != len(blobs)-2 {
		t.Errorf("%d blobs, and only %d belong to the image", len(blobs)-2, seen)
	}
}

// The script for OpenWrt starts the networks that /etc/config/tincan enables, and no others.
func TestProcdService(t *testing.T) {
	t.Parallel()
	// What OpenWrt's rc.common and functions.sh would do, in short. UCI's file is read by the script below.
	const stub = `
config_load() { :; }
config_foreach() { "$1" home "$3"; "$1" off "$3"; "$1" gone "$3"; }
config_get_bool() { case $2 in home|gone) eval "$1=1" ;; *) eval "$1=0" ;; esac; }
config_get() { case $2 in home) eval "$1=nobody" ;; *) eval "$1=" ;; esac; }
logger() { echo "log: $*"; }
procd_open_instance() { echo "open $1"; }
procd_set_param() { echo "set $*"; }
procd_append_param() { echo "append $*"; }
procd_close_instance() { echo close; }
. "$SCRIPT"
start_service "$ONLY"
`
	script, err := os.ReadFile(filepath.Join(root, "packaging/openwrt/tincan.init"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, net := range []string{"home", "off"} {
		if err := os.MkdirAll(filepath.Join(dir, "tinc", net), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tinc", net, "tinc.conf"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "init")
	if err := os.WriteFile(path, bytes.ReplaceAll(script, []byte("/etc/tinc/"), []byte(dir+"/tinc/")), 0o644); err != nil {
		t.Fatal(err)
	}
	shell := []string{"sh"}
	if _, err := exec.LookPath("busybox"); err == nil {
		shell = []string{"busybox", "sh"} // OpenWrt's
	}
	start := func(only string) string {
		return run(t, dir, []string{"SCRIPT=" + path, "ONLY=" + only}, shell[0], append(shell[1:], "-c", stub)...)
	}
	got := start("")
	for _, want := range []string{"open home\nset command /usr/bin/tincan -n home up\nappend command --user nobody\n", "set respawn 3600 5 0", "network gone: there is no"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing:\n%s", want, got)
		}
	}
	if strings.Contains(got, "open off") || strings.Contains(got, "open gone") || strings.Count(got, "close") != 1 {
		t.Errorf("too much is started:\n%s", got)
	}
	if got := start("off"); got != "" {
		t.Errorf("a network that is not enabled:\n%s", got)
	}
}
