package check

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"tincan/internal/confdir"
	"tincan/internal/config"
	"tincan/internal/node"
	"tincan/internal/route"
	"tincan/internal/script"
)

var general = []string{
	script.TincUp, script.TincDown, script.HostUp, script.HostDown, script.SubnetUp, script.SubnetDown,
	script.InvitationCreated, script.InvitationAccepted,
}

// maxScript is how much of a script is read, in bytes.
const maxScript = 1 << 20

// habits are things that scripts do and that come out differently.
var habits = []struct {
	pattern func() *regexp.Regexp
	level   Level
	text    string
	advice  string
}{
	{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\btinctop\b`) }), Note, "it calls tinctop, which tincan does not have", ""},
}

// scriptConfig says where scripts are.
func (in *inspection) scriptConfig() script.Config {
	s := in.net.Settings
	return script.Config{Dir: in.layout.ConfBase, Interpreter: s.ScriptsInterpreter, Extension: s.ScriptsExtension}
}

// scripts looks at what would be run.
func (in *inspection) scripts() {
	scripts := in.scriptConfig()
	names := slices.Clone(general)
	files, _ := os.ReadDir(in.layout.Hosts())
	for _, f := range files {
		name := scripts.NameOf(f.Name())
		base, up := strings.CutSuffix(name, "-up")
		if !up {
			var down bool
			if base, down = strings.CutSuffix(name, "-down"); !down {
				continue
			}
		}
		if _, err := node.ParseName(base); err == nil {
			names = append(names, filepath.Join("hosts", name))
		}
	}
	var found []string
	for _, name := range names {
		path, _ := scripts.Path(name)
		info, err := os.Stat(path)
		if err != nil || info.IsDir() {
			continue
		}
		file, _ := filepath.Rel(in.layout.ConfBase, path)
		found = append(found, file)
		in.script(path, info)
	}
	if len(found) > 0 {
		in.add(Scripts, OK, "", "these are run as before, with the same variables: "+strings.Join(found, ", "), "")
		in.add(Scripts, Note, "", "they run one after the other beside the node, and one that takes longer than a minute is killed", "")
	}
	in.interfaceAddress(found)
}

// script looks at one script.
func (in *inspection) script(path string, info fs.FileInfo) {
	if info.Mode().Perm()&0o111 == 0 && in.net.Settings.ScriptsInterpreter == "" && confdir.HasModes {
		in.add(Scripts, Note, path, "it is not executable, so it fails; as with tinc", "run chmod +x on it, or remove it")
	}
	if info.Size() > maxScript {
		return
	}
	text, err := os.ReadFile(path)
	if err != nil {
		in.add(Scripts, Note, path, "it cannot be read, so it was not looked at", "")
		return
	}
	if script.DOSLines(path) {
		in.add(Scripts, Note, path, "its lines end with CR LF, as on Windows, so it fails; as with tinc", "convert it, for example with sed -i 's/\\r$//'")
	}
	for _, h := range habits {
		if h.pattern().Match(text) {
			in.add(Scripts, h.level, path, h.text, h.advice)
		}
	}
}

// interfaceAddress says where the address of the interface comes from.
func (in *inspection) interfaceAddress(scripts []string) {
	s := in.net.Settings
	up := slices.ContainsFunc(scripts, func(file string) bool { return strings.HasPrefix(file, script.TincUp) })
	switch {
	case up && len(s.Ifconfig) > 0:
		in.add(Scripts, Note, "", "there is a tinc-up script, so Ifconfig and Route in tinc.conf are not applied", "")
	case !up && len(s.Ifconfig) == 0 && s.DeviceType != config.DeviceDummy && s.Mode == route.ByAddress:
		in.add(Scripts, Note, "", "there is no tinc-up script, so the interface gets no address; as with tinc", "write Ifconfig = ADDRESS/LENGTH into tinc.conf if it should have one")
	}
}
