package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// stage has the files of the packages, apart from the programs.
type stage struct {
	docs    []file // licences; in all of them
	common  []file // manual pages, completions, the changes
	systemd []file // the unit, and the user
	confine []file // profiles for AppArmor
	openwrt []file
}

// file is one file of a package.
type file struct {
	from   string // on this machine
	to     string // in the package, absolute
	mode   fs.FileMode
	config bool // belongs to the administrator once it is installed
}

const docDir = "/usr/share/doc/tincan/"

// stage makes them: by "make install", so that packages have what it installs.
func (b *build) stage(native string, third []thirdParty) (*stage, error) {
	root := filepath.Join(b.work, "root")
	cmd := exec.Command("make", "--no-print-directory", "install", "PREFIX=/usr", "DESTDIR="+root, "TINCAN="+native)
	cmd.Stdout, cmd.Stderr = nil, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("make install: %w", err)
	}
	s := &stage{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f := file{from: path, to: strings.TrimPrefix(path, root), mode: 0o644}
		switch {
		case f.to == program:
		case strings.Contains(f.to, "/systemd/"), strings.Contains(f.to, "/sysusers.d/"):
			s.systemd = append(s.systemd, f)
		case strings.Contains(f.to, "/apparmor.d/"):
			f.config = true
			s.confine = append(s.confine, f)
		case strings.HasSuffix(f.to, ".apparmor"):
			s.confine = append(s.confine, f)
		case strings.Contains(f.to, "/man/"):
			f.to += ".gz"
			if f.from, err = b.compress(path); err != nil {
				return err
			}
			s.common = append(s.common, f)
		default:
			s.common = append(s.common, f)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	ours, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	copyright := append([]byte("tincan is published under the Mozilla Public License, version 2.0:\n\n"), ours...)
	copyright = append(copyright, []byte("\n"+strings.Repeat("=", 80)+"\n\n")...)
	path := filepath.Join(b.work, "copyright")
	if err := os.WriteFile(path, append(copyright, notices(third)...), 0o644); err != nil {
		return nil, err
	}
	s.docs = []file{{from: path, to: docDir + "copyright", mode: 0o644}}
	s.openwrt = []file{
		{from: "packaging/openwrt/tincan.init", to: "/etc/init.d/tincan", mode: 0o755},
		{from: "packaging/openwrt/tincan.config", to: "/etc/config/tincan", mode: 0o600, config: true},
		{from: "packaging/openwrt/tincan.keep", to: "/lib/upgrade/keep.d/tincan", mode: 0o644},
	}
	changes, err := b.compress("CHANGELOG.md")
	if err != nil {
		return nil, err
	}
	s.common = append(s.common, file{from: changes, to: docDir + "CHANGELOG.md.gz", mode: 0o644})
	return s, nil
}

// compress compresses a file, without its name and time.
func (b *build) compress(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(data); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	to := filepath.Join(b.work, "compressed", filepath.Base(path)+".gz")
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return "", err
	}
	return to, os.WriteFile(to, out.Bytes(), 0o644)
}

// archive writes the source as git has it. Without git there is nothing that could be called that.
func (b *build) archive() error {
	if b.source == "" {
		fmt.Println("note: no archive of the source, for git does not know it")
		return nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	name := "tincan-" + b.version
	path := filepath.Join(b.work, name+".tar")
	cmd := exec.Command("git", "-c", "safe.directory="+dir, "-c", "tar.umask=022", "archive", "--prefix="+name+"/", "-o", path, "HEAD")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("git archive: %w", err)
	}
	compressed, err := b.compress(path)
	if err != nil {
		return err
	}
	if err := os.Rename(compressed, filepath.Join(b.out, name+".tar.gz")); err != nil {
		return err
	}
	return b.formula(filepath.Join(b.out, name+".tar.gz"))
}

// with returns lists of files as one, in order of their places.
func with(lists ...[]file) []file {
	all := slices.Concat(lists...)
	slices.SortFunc(all, func(a, b file) int { return strings.Compare(a.to, b.to) })
	return all
}
