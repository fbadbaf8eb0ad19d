package confdir

import (
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

// topName is the directory below Roots.Sysconf. It is not tinc's: its own is where its
// programs are, and every user may read that.
const topName = "tincan"

// systemRoots is C:\ProgramData, as the system says: a variable of the environment may be
// anybody's. Pid file and log are in the directory of the network, as with tinc.
var systemRoots = sync.OnceValue(func() Roots {
	dir, err := windows.KnownFolderPath(windows.FOLDERID_ProgramData, windows.KF_FLAG_DEFAULT)
	if err != nil {
		dir = filepath.Join(systemDrive(), "ProgramData")
	}
	return Roots{Sysconf: dir}
})

func systemDrive() string {
	dir, err := windows.GetSystemWindowsDirectory()
	if err != nil {
		return `C:\`
	}
	return filepath.VolumeName(dir) + `\`
}

// formerTops are the directories where networks used to be: \etc\tinc on whatever drive
// was current, and that of tinc for Windows.
var formerTops = sync.OnceValue(func() []string {
	tops := []string{filepath.Join(systemDrive(), "etc", "tinc")}
	if dir, err := os.Getwd(); err == nil {
		here := filepath.Join(filepath.VolumeName(dir)+`\`, "etc", "tinc")
		if !slices.Contains(tops, here) {
			tops = append(tops, here)
		}
	}
	for _, view := range []uint32{registry.WOW64_64KEY, registry.WOW64_32KEY} {
		key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\tinc`, registry.QUERY_VALUE|view)
		if err != nil {
			continue
		}
		dir, _, err := key.GetStringValue("")
		key.Close()
		if err == nil && filepath.IsAbs(dir) && !slices.Contains(tops, filepath.Clean(dir)) {
			tops = append(tops, filepath.Clean(dir))
		}
	}
	return tops
})

// userTop: there are no networks of a single user.
func userTop() string { return "" }
