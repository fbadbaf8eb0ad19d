// Package layers checks that the architecture stands: packages import only downwards,
// and the lower layers are pure.
package layers

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layers of the packages in internal/. A package may import what is on its own
// layer or below. What is not listed here fails the test: put it somewhere.
var layers = map[string]int{
	"forward": 0, "nearest": 0, "rate": 0, "reconcile": 0, "roster": 0,
	"node": 0, "b64": 0, "scan": 0, "keys": 0, "chapoly": 0, "aesgcm": 0, "hybrid": 0, "mask": 0, "sptps": 0, "wire": 0, "subnet": 0,
	"legacy": 0, "compress": 0, "graph": 0, "packet": 0, "route": 0, "config": 0, "files": 0, "oserr": 0, "hostfile": 0,
	"policy": 0, "flow": 0, "zone": 0, "exits": 0,
	"mesh": 1, "sim": 1, "membership": 1,
	"metaconn": 2, "carrier": 2, "proxy": 2, "netwatch": 2, "portmap": 2, "dataplane": 2, "udp": 2, "device": 2, "netconf": 2, "script": 2, "limit": 2, "etcd": 2,
	"process": 2, "netdiag": 2, "terminal": 2, "confdir": 2, "netif": 2,
	"names": 2, "dbus": 2, "inside": 2, "door": 2, "gateway": 2, "userns": 2, "netstack": 2, "proxyserver": 2,
	"daemon": 3, "control": 3, "pidfile": 3, "report": 3, "metrics": 3, "events": 3, "notify": 3,
	"invite":   3, // its server runs in the daemon
	"keydist":  3, // it runs in the daemon
	"members":  3, // the same
	"generate": 4, "check": 4, "fsck": 4,
	"bootnode": 4, "command": 4, "api": 4, "ui": 4,
	"cli": 5,
}

// testOnly packages serve tests and the demo: no other package may import them.
var testOnly = []string{"lab", "sim", "fixture"}

// notPure are packages of the lower layers that do touch the world.
var notPure = []string{"files", "oserr"}

const (
	root        = "../.."
	public      = "tincan" // the package at the root, which is on the top layer beside cli
	lowestDirty = 2        // the first layer that may touch the world
)

// worldly imports are what a pure package has no business with.
var worldly = []string{"os", "net/http", "syscall", "crypto/rand", "golang.org/x/sys/unix", "golang.org/x/sys/windows", "log"}

// pureNet are the names of package net that only handle text.
var pureNet = []string{"JoinHostPort", "SplitHostPort", "ParseIP", "ParseMAC", "HardwareAddr", "ErrClosed"}

// exceptions are what a pure package uses all the same: which names of services a Port may have is the system's business.
var exceptions = map[string][]string{"config": {"uses the network: net.LookupPort"}}

// clocks are the names of package time that read or wait for the real time.
var clocks = []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}

// files calls f for each Go file below dir that is not a test.
func files(t *testing.T, dir string, f func(pkg, path string, file *ast.File, set *token.FileSet)) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "gen") { // gen writes code, it is not linked in
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(filepath.Join(root, "internal"), path)
		if err != nil {
			return err
		}
		pkg, _, _ := strings.Cut(filepath.ToSlash(rel), "/")
		f(pkg, path, file, set)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func imports(file *ast.File) []string {
	var paths []string
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func TestImportsPointDownwards(t *testing.T) {
	files(t, "internal", func(pkg, path string, file *ast.File, _ *token.FileSet) {
		layer, ok := layers[pkg]
		if !ok && !slices.Contains(testOnly, pkg) {
			t.Errorf("%s: package %s is on no layer; known are %v", path, pkg, slices.Sorted(maps.Keys(layers)))
			return
		}
		for _, imported := range imports(file) {
			if imported == public {
				t.Errorf("%s imports %s, which is for other programs", path, imported)
			}
			inner, ours := strings.CutPrefix(imported, "tincan/internal/")
			if !ours {
				continue
			}
			inner, _, _ = strings.Cut(inner, "/")
			if inner == pkg {
				continue
			}
			if slices.Contains(testOnly, inner) {
				t.Errorf("%s imports %s, which is for tests", path, inner)
			}
			if ok && layers[inner] > layer {
				t.Errorf("%s (layer %d) imports %s (layer %d)", path, layer, inner, layers[inner])
			}
		}
	})
}

// commandLayers are the layers within cli. The groups of commands on the fourth one know nothing of each other.
var commandLayers = map[string]int{
	"version": 0, "getopt": 0, "frontend": 0, "launch": 0, "top": 0,
	"env": 1, "newcomers": 2, "signed": 2, "service": 3,
	"join": 4, "run": 4, "look": 4, "change": 4,
	"tinc": 5, "tincd": 5, "tincboot": 5,
	"": 6,
}

func TestGroupsOfCommandsAreApart(t *testing.T) {
	const groups = 4
	inCommands := func(path string) (string, bool) {
		inner, ok := strings.CutPrefix(path, "tincan/internal/cli")
		return strings.TrimPrefix(inner, "/"), ok
	}
	files(t, "internal/cli", func(_, path string, file *ast.File, _ *token.FileSet) {
		pkg, _ := filepath.Rel(filepath.Join(root, "internal", "cli"), filepath.Dir(path))
		pkg = strings.TrimPrefix(filepath.ToSlash(pkg), ".")
		layer, ok := commandLayers[pkg]
		if !ok {
			t.Errorf("%s: package %s of cli is on no layer", path, pkg)
		}
		for _, imported := range imports(file) {
			other, ours := inCommands(imported)
			if ours && (commandLayers[other] > layer || layer == groups && commandLayers[other] == groups) {
				t.Errorf("%s (layer %d of cli) imports %s (layer %d)", path, layer, imported, commandLayers[other])
			}
		}
	})
}

// mostMethods of one type: who has more cannot be read from beginning to end.
const mostMethods = 60

func TestNoTypeHasTooManyMethods(t *testing.T) {
	methods := map[string]int{}
	files(t, "internal", func(_, path string, file *ast.File, _ *token.FileSet) {
		dir, _ := filepath.Rel(filepath.Join(root, "internal"), filepath.Dir(path))
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv == nil {
				continue
			}
			methods[filepath.ToSlash(dir)+"."+receiver(f.Recv.List[0].Type)]++
		}
	})
	for name, n := range methods {
		if n > mostMethods {
			t.Errorf("%s has %d methods; at most %d: make parts of it", name, n, mostMethods)
		}
	}
}

// receiver is the name of the type of a receiver.
func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// What is compiled when the program starts takes time of every command, and of every node.
func TestNoRegularExpressionIsCompiledAtTheStart(t *testing.T) {
	files(t, "internal", func(pkg, path string, file *ast.File, set *token.FileSet) {
		if slices.Contains(testOnly, pkg) {
			return
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); !ok || g.Tok != token.VAR {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if _, later := n.(*ast.FuncLit); later {
					return false
				}
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "regexp" && s.Sel.Name == "MustCompile" {
						t.Errorf("%s compiles a regular expression when the program starts; use sync.OnceValue", set.Position(n.Pos()))
					}
				}
				return true
			})
		}
	})
}

func TestTheLowerLayersArePure(t *testing.T) {
	files(t, "internal", func(pkg, path string, file *ast.File, set *token.FileSet) {
		layer, ok := layers[pkg]
		if !ok || layer >= lowestDirty || slices.Contains(notPure, pkg) || file.Name.Name == "main" {
			return // a generator beside a package is no part of it
		}
		for _, imported := range imports(file) {
			if slices.Contains(worldly, imported) {
				t.Errorf("%s imports %s", path, imported)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if what := impure(n); what != "" && !slices.Contains(exceptions[pkg], what) {
				t.Errorf("%s: %s", set.Position(n.Pos()), what)
			}
			return true
		})
	})
}

// impure says what is impure about a piece of code, "" if nothing is.
func impure(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "starts a goroutine"
	case *ast.SelectorExpr:
		x, ok := n.X.(*ast.Ident)
		if ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
			return fmt.Sprintf("uses the clock: time.%s", n.Sel.Name)
		}
		if ok && x.Name == "net" && !slices.Contains(pureNet, n.Sel.Name) {
			return fmt.Sprintf("uses the network: net.%s", n.Sel.Name)
		}
		if ok && x.Name == "rand" && (n.Sel.Name == "Int" || n.Sel.Name == "IntN" || n.Sel.Name == "Float64" || n.Sel.Name == "Reader") {
			return fmt.Sprintf("uses global randomness: rand.%s", n.Sel.Name)
		}
	}
	return ""
}

// publicFiles are the Go files of the package at the root that are not tests.
func publicFiles(t *testing.T) (list []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, file)
	}
	if len(list) == 0 {
		t.Fatal("there is no package at the root")
	}
	return list
}

func TestThePublicPackageStandsBesideTheCommands(t *testing.T) {
	for _, file := range publicFiles(t) {
		for _, imported := range imports(file) {
			inner, ours := strings.CutPrefix(imported, "tincan/internal/")
			inner, _, _ = strings.Cut(inner, "/")
			if ours && (layers[inner] >= layers["cli"] || slices.Contains(testOnly, inner)) {
				t.Errorf("package %s imports %s", public, imported)
			}
		}
	}
}

// TestThePublicPackageShowsNothingInternal: a type of an internal package could not be named by those who use
// the package, and would have to stay as it is.
func TestThePublicPackageShowsNothingInternal(t *testing.T) {
	for _, file := range publicFiles(t) {
		internal := map[string]bool{}
		for _, imported := range imports(file) {
			if strings.HasPrefix(imported, "tincan/") {
				internal[imported[strings.LastIndex(imported, "/")+1:]] = true
			}
		}
		show := func(where string, n ast.Node) {
			ast.Inspect(n, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok {
					if x, ok := s.X.(*ast.Ident); ok && internal[x.Name] {
						t.Errorf("%s shows %s.%s", where, x.Name, s.Sel.Name)
					}
				}
				return true
			})
		}
		documented := func(where string, docs ...*ast.CommentGroup) {
			if !slices.ContainsFunc(docs, func(d *ast.CommentGroup) bool { return d.Text() != "" }) {
				t.Errorf("%s has no documentation", where)
			}
		}
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() {
					show(d.Name.Name, d.Type)
					documented(d.Name.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if !spec.Name.IsExported() {
							continue
						}
						documented(spec.Name.Name, spec.Doc, d.Doc)
						if s, ok := spec.Type.(*ast.StructType); ok {
							for _, f := range s.Fields.List {
								if len(f.Names) == 0 || f.Names[0].IsExported() {
									show(spec.Name.Name, f.Type)
								}
							}
							continue
						}
						show(spec.Name.Name, spec.Type)
					case *ast.ValueSpec:
						if !spec.Names[0].IsExported() {
							continue
						}
						documented(spec.Names[0].Name, spec.Doc, d.Doc)
						if spec.Type != nil {
							show(spec.Names[0].Name, spec.Type)
						}
					}
				}
			}
		}
	}
}
