// Build makes the packages of tincan: for Debian, RPM, Alpine, Arch and OpenWrt, a container image, the source as an
// archive, a bill of materials, and their checksums. "make packages" runs it, in the root of the source.
//
// The same commit and the same release of Go give the same bytes, wherever and whenever that is: all times are that of
// the commit (or SOURCE_DATE_EPOCH), all modes and owners are set here, and nothing else of the machine gets in.
package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	out     string   // directory for the results
	source  string   // as scripts/source prints it; empty without git
	number  string   // a version that the distribution has chosen
	archs   []string // those to build for; empty: all
	formats []string // those to make; empty: all
}

func main() {
	o := options{}
	flag.StringVar(&o.out, "out", "dist", "`directory` for the results; what is in it is removed")
	flag.StringVar(&o.source, "source", "", "`commit` of the source, as scripts/source prints it")
	flag.StringVar(&o.number, "number", "", "`version` to be used instead of that of the source")
	archs := flag.String("archs", "", "only these processors, such as amd64,arm64 (`list`)")
	formats := flag.String("formats", "", "only these packages: deb,rpm,apk,archlinux,ipk,oci,source (`list`)")
	flag.Parse()
	o.archs, o.formats = words(*archs), words(*formats)
	err := o.check()
	if err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "packages:", err)
		os.Exit(1)
	}
}

func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

// check refuses words that nothing would be made for.
func (o options) check() error {
	formats, archs := []string{"oci", "source"}, []string{}
	for _, p := range allPackages {
		formats, archs = append(formats, p.format), append(archs, p.target.arch)
	}
	for _, c := range []struct {
		what         string
		words, known []string
	}{{"format", o.formats, formats}, {"processor", o.archs, archs}} {
		slices.Sort(c.known)
		for _, w := range c.words {
			if !slices.Contains(c.known, w) {
				return fmt.Errorf("there is no %s %q: there are %s", c.what, w, strings.Join(slices.Compact(c.known), ", "))
			}
		}
	}
	return nil
}

// wants tells whether a list of the command line has a word.
func wants(list []string, word string) bool { return len(list) == 0 || slices.Contains(list, word) }

// build is one run of this program.
type build struct {
	options
	work    string    // directory for what is needed in between
	version string    // as "tincan version" says it
	commit  string    // empty if unknown
	time    time.Time // of all files
}

func run(o options) error {
	work, err := os.MkdirTemp("", "tincan-packages")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	b := &build{options: o, work: work}
	if err := os.RemoveAll(o.out); err != nil {
		return err
	}
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return err
	}
	// The one of this machine writes the manual pages and completions of all packages.
	native, err := b.program(target{arch: runtime.GOARCH})
	if err != nil {
		return err
	}
	if err := b.know(native); err != nil {
		return err
	}
	sayCompiler()
	third, err := b.thirdParties()
	if err != nil {
		return err
	}
	if err := b.bill(third); err != nil {
		return err
	}
	s, err := b.stage(native, third)
	if err != nil {
		return err
	}
	if err := b.packages(s); err != nil {
		return err
	}
	if wants(o.formats, "oci") {
		if err := b.image(s); err != nil {
			return err
		}
	}
	if wants(o.formats, "source") {
		if err := b.archive(); err != nil {
			return err
		}
	}
	return b.checksums()
}

// know asks the program itself which version it is.
func (b *build) know(program string) error {
	out, err := exec.Command(program, "version", "--json").Output()
	if err != nil {
		return fmt.Errorf("asking the program for its version: %w", err)
	}
	var v struct {
		Version, Commit string
		Time            time.Time `json:"commit_time"`
	}
	if err := json.Unmarshal(out, &v); err != nil {
		return fmt.Errorf("the program's version: %w", err)
	}
	b.version, b.commit, b.time = v.Version, v.Commit, v.Time
	if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
		}
		b.time = time.Unix(seconds, 0).UTC()
	}
	if b.time.IsZero() {
		b.time = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) // the time of the source is not known
	}
	return nil
}

// sayCompiler warns that others will not get the same bytes.
func sayCompiler() {
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(mod)) {
		if want, ok := strings.CutPrefix(strings.TrimSpace(line), "toolchain "); ok && want != runtime.Version() {
			fmt.Printf("note: this is %s, and go.mod names %s: the packages work, and differ from those of others\n", runtime.Version(), want)
		}
	}
}

// target is a processor in the words of the go command.
type target struct {
	arch, variant string // variant: GOARM or GOMIPS
}

func (t target) String() string { return t.arch + strings.TrimPrefix(t.variant, "softfloat") }

// tags are those that the program is built with: see the Makefile.
const tags = "netstack"

// program builds tincan for a processor, and returns its path.
func (b *build) program(t target) (string, error) {
	path := filepath.Join(b.work, "programs", t.String())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	fmt.Println("building for", t)
	const pkg = "tincan/internal/cli/version."
	cmd := exec.Command(goTool(), "build", "-trimpath", "-buildvcs=false", "-tags", tags, "-ldflags",
		fmt.Sprintf("-s -w -buildid= -X %sNumber=%s -X %sSource=%s", pkg, b.number, pkg, b.source), "-o", path, "./cmd/tincan")
	cmd.Env = append(os.Environ(), t.env()...)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building for %s: %w", t, err)
	}
	return path, nil
}

func (t target) env() []string {
	env := []string{"GOOS=linux", "GOARCH=" + t.arch, "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GO386=sse2", "GOARM64=v8.0"}
	switch t.arch {
	case "arm":
		env = append(env, "GOARM="+cmp.Or(t.variant, "7"))
	case "mips", "mipsle":
		env = append(env, "GOMIPS="+cmp.Or(t.variant, "softfloat"))
	}
	return env
}

func goTool() string { return cmp.Or(os.Getenv("GO"), "go") }

// checksums writes SHA256SUMS about all other results.
func (b *build) checksums() error {
	entries, err := os.ReadDir(b.out)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(b.out, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(data), e.Name())
		fmt.Printf("%9d  %s\n", len(data), filepath.Join(b.out, e.Name()))
	}
	return os.WriteFile(filepath.Join(b.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}
