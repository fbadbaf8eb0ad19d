package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/apk"
	_ "github.com/goreleaser/nfpm/v2/arch"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/ipk"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

const program = "/usr/bin/tincan"

// made is one package: its format and processor, in nfpm's words and in those of the go command.
type made struct {
	format, arch string
	target       target
}

var (
	amd64, arm64, i386, riscv64 = target{arch: "amd64"}, target{arch: "arm64"}, target{arch: "386"}, target{arch: "riscv64"}
	arm6, arm7                  = target{"arm", "6"}, target{"arm", "7"}
	mips, mipsle                = target{"mips", "softfloat"}, target{"mipsle", "softfloat"}
)

// What Debian calls armhf must also run on the Raspberry Pi OS of ARMv6 boards. OpenWrt has names of its own for every
// kind of processor; these are the ones of most routers that have room for tincan.
var allPackages = []made{
	{"deb", "amd64", amd64}, {"deb", "arm64", arm64}, {"deb", "arm6", arm6}, {"deb", "386", i386}, {"deb", "riscv64", riscv64},
	{"rpm", "amd64", amd64}, {"rpm", "arm64", arm64}, {"rpm", "arm7", arm7},
	{"apk", "amd64", amd64}, {"apk", "arm64", arm64}, {"apk", "arm6", arm6}, {"apk", "arm7", arm7}, {"apk", "386", i386}, {"apk", "riscv64", riscv64},
	{"archlinux", "amd64", amd64}, {"archlinux", "arm64", arm64}, {"archlinux", "arm7", arm7},
	{"ipk", "x86_64", amd64}, {"ipk", "aarch64_generic", arm64}, {"ipk", "aarch64_cortex-a53", arm64}, {"ipk", "aarch64_cortex-a72", arm64},
	{"ipk", "arm_cortex-a7_neon-vfpv4", arm7}, {"ipk", "arm_cortex-a9_vfpv3-d16", arm7}, {"ipk", "i386_pentium4", i386},
	{"ipk", "mips_24kc", mips}, {"ipk", "mipsel_24kc", mipsle},
}

// targets are all processors that there are packages for.
func targets() (list []target) {
	seen := map[target]bool{}
	for _, p := range allPackages {
		if !seen[p.target] {
			seen[p.target] = true
			list = append(list, p.target)
		}
	}
	return list
}

const description = `Full-mesh VPN, compatible with tinc
tincan connects machines into one private network: every node exchanges
encrypted packets directly with every other node, through NAT where possible,
and falls back to a relay or to TCP where not. There is no server. It speaks the
protocols of tinc 1.0 and 1.1, and uses their files.`

func (b *build) packages(s *stage) error {
	for _, p := range allPackages {
		if !wants(b.formats, p.format) || !wants(b.archs, p.target.arch) {
			continue
		}
		binary, err := b.program(p.target)
		if err != nil {
			return err
		}
		if err := b.pack(p, s, binary); err != nil {
			return fmt.Errorf("%s for %s: %w", p.format, p.arch, err)
		}
	}
	return nil
}

func (b *build) pack(p made, s *stage, binary string) error {
	info := &nfpm.Info{
		Name: "tincan", Arch: p.arch, Platform: "linux", Version: b.version, VersionSchema: "semver",
		Section: "net", Priority: "optional", License: "MPL-2.0", Description: description,
		Maintainer: "The tincan maintainers <maintainers@tincan.invalid>", Homepage: site(), MTime: b.time,
	}
	if b.number != "" { // a distribution's own, in its own form
		info.VersionSchema = "none"
	}
	list := []file{{from: binary, to: program, mode: 0o755}}
	switch p.format {
	case "deb":
		list = with(list, s.docs, s.common, s.systemd, s.confine)
		info.Suggests = []string{"iproute2"}
		info.Scripts = scripts("packaging/scripts", "postinst", "prerm", "postrm")
	case "rpm", "archlinux":
		list = with(list, s.docs, s.common, s.systemd)
		if p.format == "archlinux" { // what reads RPMs has SELinux
			list = with(list, s.confine)
		}
		info.Scripts = scripts("packaging/scripts", "postinst", "prerm", "postrm")
		// pacman does not call at an upgrade what it calls after an installation.
		info.ArchLinux.Scripts.PostUpgrade = info.Scripts.PostInstall
		// The name of the machine that builds is nobody's business, and differs.
		info.RPM.BuildHost, info.RPM.Group, info.RPM.Summary = "localhost", "System/Networking", "Full-mesh VPN, compatible with tinc"
	case "apk":
		list = with(list, s.docs, s.common)
		info.APK.Arch = ""
		// Alpine's versions have no "dev" and no hashes. _pre and a number comes before the release, too.
		version, rest, found := strings.Cut(b.version, "-dev.")
		if found && b.number == "" {
			when, _, _ := strings.Cut(rest, "+")
			info.VersionSchema, info.Version = "none", version+"_pre"+when
		} else if b.number == "" {
			info.VersionSchema, info.Version = "none", strings.TrimSuffix(strings.TrimSuffix(b.version, "+dirty"), "-dev")
		}
	case "ipk":
		list = with(list, s.docs, s.openwrt)
		info.IPK.Arch = p.arch
		info.Depends = []string{"kmod-tun"}
		info.Scripts = scripts("packaging/openwrt", "postinst", "prerm", "")
	}
	for _, f := range list {
		c := &files.Content{Source: f.from, Destination: f.to, FileInfo: &files.ContentFileInfo{Mode: f.mode, MTime: b.time}}
		if f.config {
			c.Type = files.TypeConfigNoReplace
		}
		info.Contents = append(info.Contents, c)
	}
	info.Contents = append(info.Contents, &files.Content{
		Destination: "/etc/tinc", Type: files.TypeDir, FileInfo: &files.ContentFileInfo{Mode: 0o755, MTime: b.time},
	})
	info = nfpm.WithDefaults(info)
	packager, err := nfpm.Get(p.format)
	if err != nil {
		return err
	}
	info.DisableGlobbing = true
	if err := nfpm.PrepareForPackager(info, p.format); err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(b.out, packager.ConventionalFileName(info)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := packager.Package(info, out); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}

func scripts(dir, postInstall, preRemove, postRemove string) nfpm.Scripts {
	path := func(name string) string {
		if name == "" {
			return ""
		}
		return filepath.Join(dir, name)
	}
	return nfpm.Scripts{PostInstall: path(postInstall), PreRemove: path(preRemove), PostRemove: path(postRemove)}
}

// site is where the results will be offered, if that is known: "make packages SITE=https://example.org/tincan".
func site() string { return strings.TrimSuffix(os.Getenv("SITE"), "/") }

// formula writes the one for Homebrew, which builds from the archive beside it or at SITE.
func (b *build) formula(archive string) error {
	text, err := os.ReadFile("packaging/homebrew/tincan.rb")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(archive)
	if err != nil {
		return err
	}
	base := "file://#{__dir__}"
	home := "https://www.tinc-vpn.org/"
	if s := site(); s != "" {
		base, home = s, s
	}
	out := strings.NewReplacer(
		"@URL@", base+"/"+filepath.Base(archive), "@SHA256@", fmt.Sprintf("%x", sha256.Sum256(data)), "@VERSION@", b.version, "@HOMEPAGE@", home,
	).Replace(string(text))
	return os.WriteFile(filepath.Join(b.out, "tincan.rb"), []byte(out), 0o644)
}
