package layers

import (
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The protocol core is one package in parts: each is a type that has its own state, and names in its fields the methods
// of its neighbours that it calls. The compiler keeps a part from what is not in these interfaces; the tests
// here keep it from the rest, and the interfaces small.

// A partOf the protocol core.
type partOf struct {
	files string // that belong to it, without .go
	calls string // parts that it may call
	keeps string // fields of peer, contact and conn that are its own
}

// parts by the name of their type. Who adds a file says here to which part it belongs, and who has a part call another one
// that it did not call so far, says so here.
var parts = map[string]partOf{
	"roll": {
		files: "roll islands",
		calls: "reach keyring links topology subnets",
		keeps: "peer.roll",
	},
	"topology": {
		files: "topology flood withdrawal bounds conflict antientropy",
		calls: "roll reach subnets keyring links dialer",
		keeps: "peer.topo conn.news",
	},
	"reach": {
		files: "reach presence pass",
		calls: "roll topology subnets links dialer sessions",
		keeps: "peer.reach",
	},
	"subnets": {
		files: "subnets routes learn attach",
		calls: "roll topology reach links",
		keeps: "peer.owns",
	},
	"keyring": {
		files: "keyring trust hosts",
		calls: "roll reach subnets links dialer sessions",
		keeps: "peer.trust",
	},
	"links": {
		files: "links conn legacy_login mapped ping",
		calls: "topology reach roll keyring dialer carriers addresses paths",
		keeps: "peer.link contact.logins",
	},
	"dialer": {
		files: "dialer outgoing ondemand punch",
		calls: "reach keyring links addresses carriers relays",
		keeps: "peer.dial conn.dial contact.onDemand contact.punch",
	},
	"carriers": {
		files: "carrier",
		calls: "links addresses dialer",
		keeps: "peer.carry conn.carry",
	},
	"addresses": {files: "endpoint"},
	"paths": {
		files: "paths udppath liveness opening contact form",
		calls: "reach keyring links dialer carriers addresses relays",
		keeps: "peer.paths peer.contacted contact.udp contact.told",
	},
	"relays": {
		files: "relays relay echo",
		calls: "reach keyring dialer paths forwarding",
		keeps: "contact.relaying contact.echoes contact.asks",
	},
	"forwarding": {
		files: "forwarding",
		calls: "reach addresses roll",
		keeps: "peer.published",
	},
	"sessions": {
		files: "session sptps second legacy_session",
		calls: "reach keyring links addresses paths forwarding",
		keeps: "peer.keys contact.starts",
	},
	"reports": {
		files: "info why",
		calls: "roll topology reach subnets keyring links dialer carriers paths relays forwarding",
	},
	// What the parts have in common: whom they may look up, and what they may use. These know no part.
	"directory": {files: "peer"},
	"env":       {files: "env hybrid"},
	// What others see, and the conductor, which knows all parts by their types.
	"Mesh": {files: "mesh facade api events"},
}

const (
	conductor  = "Mesh"
	mostCalled = 12 // methods of one neighbour that a part may call
)

// everybodys are fields that all parts may read, though none but their own may write them.
var everybodys = []string{
	"peer.name", "peer.id", "peer.born", "conn.id", "conn.peer", "conn.remote", "conn.local",
	"peer.contacted", "directory.*", "env.*",
	"echoed.lost", "echoed.rtt", // the answer to an echo
}

// anybody may write these: what changes is kept by all together.
var anybodys = []string{"directory.dirty", "directory.unplanned"}

// core is the package of the protocol core, with types.
type core struct {
	set   *token.FileSet
	files []*ast.File
	info  *types.Info
	pkg   *types.Package
	part  map[string]string // by the name of a file
}

func checkedCore(t *testing.T) *core {
	t.Helper()
	if checked == nil {
		checked = checkCore(t)
	}
	return checked
}

var checked *core // by one of the tests, for the others

func checkCore(t *testing.T) *core {
	t.Helper()
	c := &core{set: token.NewFileSet(), part: map[string]string{}}
	for name, p := range parts {
		for f := range strings.FieldsSeq(p.files) {
			if other := c.part[f+".go"]; other != "" {
				t.Fatalf("%s.go belongs to %s and to %s", f, other, name)
			}
			c.part[f+".go"] = name
		}
	}
	paths, err := filepath.Glob(filepath.Join(root, "internal", "mesh", "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(c.set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		c.files = append(c.files, f)
		found[filepath.Base(path)] = true
		if c.part[filepath.Base(path)] == "" {
			t.Errorf("%s belongs to no part", path)
		}
	}
	for f := range c.part {
		if !found[f] {
			t.Errorf("%s of %s does not exist", f, c.part[f])
		}
	}
	c.info = &types.Info{Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Selections: map[*ast.SelectorExpr]*types.Selection{}, Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: sources{c.set, goroot(t), map[string]*types.Package{}}, Error: func(err error) { t.Error(err) }}
	c.pkg, _ = conf.Check("mesh", c.set, c.files, c.info)
	if t.Failed() {
		t.FailNow()
	}
	return c
}

// sources imports packages from their sources, without the bodies of functions and what nothing but these need.
type sources struct {
	set    *token.FileSet
	goroot string
	done   map[string]*types.Package
}

func (s sources) Import(path string) (*types.Package, error) {
	if path == "unsafe" {
		return types.Unsafe, nil
	}
	if p := s.done[path]; p != nil {
		return p, nil
	}
	var dir string
	if inner, ours := strings.CutPrefix(path, "tincan/"); ours {
		dir = filepath.Join(root, filepath.FromSlash(inner))
	} else {
		dir = filepath.Join(s.goroot, "src", filepath.FromSlash(path))
	}
	var files []*ast.File
	if b, err := build.ImportDir(dir, 0); err == nil {
		for _, name := range b.GoFiles {
			f, err := parser.ParseFile(s.set, filepath.Join(dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
	} // else it is not of the standard library: nothing of it is seen in the protocol core
	s.done[path] = types.NewPackage(path, path[strings.LastIndex(path, "/")+1:]) // should it be needed by what it imports
	conf := types.Config{Importer: s, IgnoreFuncBodies: true, FakeImportC: true, Error: func(error) {}}
	if p, _ := conf.Check(path, s.set, files, nil); p != nil {
		p.MarkComplete()
		s.done[path] = p
	}
	return s.done[path], nil
}

// goroot is where the sources of the standard library are.
func goroot(t *testing.T) string {
	t.Helper()
	if dir := build.Default.GOROOT; dir != "" { // "" in a program that was built with -trimpath
		return dir
	}
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (c *core) file(n token.Pos) string { return filepath.Base(c.set.Position(n).Filename) }

// named is the name of a type of the protocol core, or of what a pointer to one points to; "" for others.
func (c *core) named(t types.Type) string {
	if p, ok := t.(*types.Pointer); ok {
		t = p.Elem()
	}
	if n, ok := t.(*types.Named); ok && n.Obj().Pkg() == c.pkg {
		return n.Obj().Name()
	}
	return ""
}

// owner is the part that a field of a struct belongs to.
func (c *core) owner(typ string, field *types.Var) string {
	for name, p := range parts {
		if slices.Contains(strings.Fields(p.keeps), typ+"."+field.Name()) {
			return name
		}
	}
	return c.part[c.file(field.Pos())]
}

// written are the expressions of a file that are assigned to, also in part, or whose address is taken.
func (c *core) written(file *ast.File) map[ast.Expr]bool {
	all := map[ast.Expr]bool{}
	var note func(e ast.Expr)
	note = func(e ast.Expr) {
		all[e] = true
		switch e := e.(type) {
		case *ast.IndexExpr:
			note(e.X)
		case *ast.ParenExpr:
			note(e.X)
		case *ast.SelectorExpr:
			if s := c.info.Selections[e]; s != nil && !s.Indirect() || c.isStruct(e.X) {
				note(e.X)
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				note(e)
			}
		case *ast.IncDecStmt:
			note(n.X)
		case *ast.UnaryExpr:
			if n.Op == token.AND {
				note(n.X)
			}
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "delete" || f.Name == "clear") {
				note(n.Args[0])
			}
		}
		return true
	})
	return all
}

// isStruct tells whether e is a struct, not a pointer to one.
func (c *core) isStruct(e ast.Expr) bool {
	_, ok := c.info.TypeOf(e).Underlying().(*types.Struct)
	return ok
}

// lender is the part whose method has returned what e changes something of, "" if it is no method.
func (c *core) lender(e *ast.SelectorExpr) string {
	call, ok := e.X.(*ast.CallExpr)
	if !ok {
		return ""
	}
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || c.info.Uses[f.Sel] == nil || c.info.Uses[f.Sel].Pkg() != c.pkg {
		return ""
	}
	return c.part[c.file(c.info.Uses[f.Sel].Pos())]
}

func listed(list []string, typ, field string) bool {
	return slices.Contains(list, typ+"."+field) || slices.Contains(list, typ+".*")
}

// TestLeavesOfTheCoreStandAlone: the packages below mesh know nothing of it, nor of each other.
func TestLeavesOfTheCoreStandAlone(t *testing.T) {
	files(t, "internal/mesh", func(_, path string, file *ast.File, _ *token.FileSet) {
		if filepath.Base(filepath.Dir(path)) == "mesh" {
			return
		}
		for _, imported := range imports(file) {
			if strings.HasPrefix(imported, "tincan/internal/mesh") {
				t.Errorf("%s imports %s", path, imported)
			}
		}
	})
}

// TestPartsKeepTheirState: no part looks into what another one knows, of itself, of a node, or of a connection.
func TestPartsKeepTheirState(t *testing.T) {
	c := checkedCore(t)
	for _, f := range c.files {
		here, writes := c.part[c.file(f.Pos())], c.written(f)
		ast.Inspect(f, func(n ast.Node) bool {
			x, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			s := c.info.Selections[x]
			if s == nil || s.Kind() != types.FieldVal {
				return true
			}
			typ, field := c.named(s.Recv()), s.Obj().(*types.Var)
			if lender := c.lender(x); writes[x] && lender != "" && lender != here && c.owner(typ, field) != here {
				t.Errorf("%s: %s changes %s of what %s has lent", c.set.Position(x.Pos()), here, field.Name(), lender)
			}
			if typ == "" || field.Pkg() != c.pkg || field.Exported() {
				return true
			}
			if through := through(s); through != "" {
				typ = through
			}
			switch owner := c.owner(typ, field); {
			case owner == here || here == conductor && (owner == "env" || owner == "directory"):
			case writes[x] && !listed(anybodys, typ, field.Name()):
				t.Errorf("%s: %s changes %s.%s of %s", c.set.Position(x.Pos()), here, typ, field.Name(), owner)
			case !listed(everybodys, typ, field.Name()):
				t.Errorf("%s: %s looks at %s.%s of %s", c.set.Position(x.Pos()), here, typ, field.Name(), owner)
			}
			return true
		})
	}
}

// through is the name of the embedded struct that a field was promoted from, "" if it was not.
func through(s *types.Selection) (name string) {
	t := s.Recv()
	for _, i := range s.Index()[:len(s.Index())-1] {
		if p, ok := t.Underlying().(*types.Pointer); ok {
			t = p.Elem()
		}
		f := t.Underlying().(*types.Struct).Field(i)
		t, name = f.Type(), f.Name()
	}
	return name
}

// TestPartsCallWhatTheyName: a part knows its neighbours by interfaces with few methods, all of which it calls, and none but
// those that the table names.
func TestPartsCallWhatTheyName(t *testing.T) {
	c := checkedCore(t)
	called := map[types.Object]bool{}
	for x, s := range c.info.Selections {
		if s.Kind() == types.MethodVal {
			called[c.info.Uses[x.Sel]] = true
		}
	}
	for name, p := range parts {
		if name == conductor || name == "directory" || name == "env" {
			continue
		}
		obj := c.pkg.Scope().Lookup(name)
		if obj == nil {
			t.Errorf("there is no type %s", name)
			continue
		}
		var calls []string
		fields := obj.Type().Underlying().(*types.Struct)
		for i := range fields.NumFields() {
			f := fields.Field(i)
			view, ok := f.Type().Underlying().(*types.Interface)
			if !ok {
				continue
			}
			calls = append(calls, f.Name())
			if n := view.NumMethods(); n > mostCalled {
				t.Errorf("%s calls %d methods of %s; at most %d: is the seam at the right place?", name, n, f.Name(), mostCalled)
			}
			for m := range view.Methods() {
				if !called[m] {
					t.Errorf("%s names %s.%s, and does not call it", name, f.Name(), m.Name())
				}
			}
		}
		if want := strings.Fields(p.calls); !slices.Equal(calls, want) {
			t.Errorf("%s calls %v, the table says %v", name, calls, want)
		}
	}
	// Nobody gets at a part but by these interfaces.
	for _, f := range c.files {
		here := c.part[c.file(f.Pos())]
		ast.Inspect(f, func(n ast.Node) bool {
			id, ok := n.(*ast.Ident)
			if !ok || here == conductor {
				return true
			}
			o, ok := c.info.Uses[id].(*types.TypeName)
			if ok && o.Pkg() == c.pkg && slices.Contains(slices.Collect(maps.Keys(parts)), o.Name()) && o.Name() != here && o.Name() != "env" && o.Name() != "directory" {
				t.Errorf("%s: %s knows the type of %s", c.set.Position(id.Pos()), here, o.Name())
			}
			return true
		})
	}
}

// TestMethodsStandWithTheirPart: the methods of a part are in its files, and topology alone changes the graph.
func TestMethodsStandWithTheirPart(t *testing.T) {
	c := checkedCore(t)
	changes := map[string]string{"Set": "topology", "Delete": "topology", "Changes": "reach"}
	for _, f := range c.files {
		here := c.part[c.file(f.Pos())]
		for _, d := range f.Decls {
			if fd, ok := d.(*ast.FuncDecl); ok && fd.Recv != nil {
				if r := receiver(fd.Recv.List[0].Type); r != here && parts[r].files != "" {
					t.Errorf("%s: a method of %s in a file of %s", c.set.Position(fd.Pos()), r, here)
				}
			}
		}
		ast.Inspect(f, func(n ast.Node) bool {
			x, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if s := c.info.Selections[x]; s != nil && strings.HasSuffix(s.Recv().String(), "graph.Graph") && changes[x.Sel.Name] != "" && changes[x.Sel.Name] != here {
				t.Errorf("%s: %s changes the graph", c.set.Position(x.Pos()), here)
			}
			return true
		})
	}
}

// The table of the parts in the architecture has the files that are theirs.
func TestTheArchitectureHasTheParts(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	said := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\|.*\\| ([^|]*) \\|$").FindAllStringSubmatch(string(page), -1) {
		said[row[1]] = strings.Split(strings.ReplaceAll(row[2], "`", ""), ", ")
	}
	for name, part := range parts {
		if slices.Contains([]string{conductor, "directory", "env"}, name) { // described beside the table
			continue
		}
		has := strings.Fields(part.files)
		slices.Sort(has)
		slices.Sort(said[name])
		if !slices.Equal(said[name], has) {
			t.Errorf("docs/architecture.md says of part %s: %v; its files are %v", name, said[name], has)
		}
	}
}
