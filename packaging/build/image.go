package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// The processors of the container image, as OCI names them.
var platforms = []struct {
	target   target
	platform v1.Platform
}{
	{amd64, v1.Platform{OS: "linux", Architecture: "amd64"}},
	{arm64, v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}},
	{arm6, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}},
	{arm7, v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}},
	{i386, v1.Platform{OS: "linux", Architecture: "386"}},
	{riscv64, v1.Platform{OS: "linux", Architecture: "riscv64"}},
}

// image writes a container image for several processors, from nothing but the program, its licences and the
// certificates that TLS needs, as an OCI layout in a tar file: podman and skopeo read it, and docker load does.
func (b *build) image(s *stage) error {
	var index v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, p := range platforms {
		if !wants(b.archs, p.target.arch) {
			continue
		}
		image, err := b.imageFor(s, p.target, p.platform)
		if err != nil {
			return fmt.Errorf("container image for %s: %w", p.target, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &p.platform}})
	}
	// The index of the layout names the image; without a name docker load does not know what to call it.
	outer := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: index, Descriptor: v1.Descriptor{
		Annotations: map[string]string{"org.opencontainers.image.ref.name": "latest", "io.containerd.image.name": "docker.io/library/tincan:latest"},
	}})
	dir := filepath.Join(b.work, "layout")
	if _, err := layout.Write(dir, outer); err != nil {
		return err
	}
	out, err := os.Create(filepath.Join(b.out, "tincan-"+b.version+".oci.tar"))
	if err != nil {
		return err
	}
	defer out.Close()
	w := tar.NewWriter(out)
	// WalkDir goes in the order of names.
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return b.add(w, filepath.ToSlash(name), 0o644, data)
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}

// add adds a file to a tar archive; a directory, if its name ends in "/".
func (b *build) add(w *tar.Writer, name string, mode int64, data []byte) error {
	h := &tar.Header{Name: name, Mode: mode, Size: int64(len(data)), ModTime: b.time, Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	if name[len(name)-1] == '/' {
		h.Typeflag = tar.TypeDir
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

func (b *build) imageFor(s *stage, t target, platform v1.Platform) (v1.Image, error) {
	binary, err := b.program(t)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	copyright, err := os.ReadFile(s.docs[0].from)
	if err != nil {
		return nil, err
	}
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{
		{"etc/", 0o755, nil}, {"etc/ssl/", 0o755, nil}, {"etc/ssl/certs/", 0o755, nil}, {"etc/ssl/certs/ca-certificates.crt", 0o644, authorities()},
		{"etc/tinc/", 0o755, nil}, {"run/", 0o755, nil}, {"tmp/", 0o1777, nil},
		{"usr/", 0o755, nil}, {"usr/bin/", 0o755, nil}, {"usr/bin/tincan", 0o755, text},
		{"usr/share/", 0o755, nil}, {"usr/share/doc/", 0o755, nil}, {"usr/share/doc/tincan/", 0o755, nil}, {"usr/share/doc/tincan/copyright", 0o644, copyright},
		{"var/", 0o755, nil}, {"var/run/", 0o755, nil},
	} {
		if err := b.add(w, f.name, f.mode, f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	files, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{Layer: files, History: v1.History{Created: v1.Time{Time: b.time}, CreatedBy: "tincan's packaging/build"}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant, config.Created = platform.OS, platform.Architecture, platform.Variant, v1.Time{Time: b.time}
	config.Config = v1.Config{
		Entrypoint: []string{program}, Cmd: []string{"up"}, Env: []string{"PATH=/usr/bin"},
		ExposedPorts: map[string]struct{}{"655/tcp": {}, "655/udp": {}}, Volumes: map[string]struct{}{"/etc/tinc": {}},
		Labels: map[string]string{
			"org.opencontainers.image.title": "tincan", "org.opencontainers.image.description": "Full-mesh VPN, compatible with tinc",
			"org.opencontainers.image.version": b.version, "org.opencontainers.image.revision": b.commit, "org.opencontainers.image.licenses": "MPL-2.0",
			"org.opencontainers.image.created": b.time.Format(time.RFC3339),
		},
	}
	return mutate.ConfigFile(image, config)
}

// authorities are the certificates of Mozilla's list, as PEM, without those that count only under conditions, which
// such a file cannot express.
func authorities() []byte {
	var b bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes everything
		}
	}
	return b.Bytes()
}
