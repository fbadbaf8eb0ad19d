package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
)

// bill writes the bill of materials, as CycloneDX: what is linked into the programs for Linux, for those who look
// for known faults.
func (b *build) bill(list []thirdParty) error {
	const self = "pkg:generic/tincan"
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: b.time.Format(time.RFC3339),
		Component: &cyclonedx.Component{
			BOMRef: self, Type: cyclonedx.ComponentTypeApplication, Name: "tincan", Version: b.version, PackageURL: self + "@" + b.version,
			Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "MPL-2.0"}}},
		},
	}
	if b.commit != "" {
		bom.Metadata.Component.Properties = &[]cyclonedx.Property{{Name: "commit", Value: b.commit}}
	}
	components, refs := []cyclonedx.Component{}, []string{}
	for _, t := range list {
		url := "pkg:golang/" + t.path + "@" + strings.TrimPrefix(t.version, "go")
		c := cyclonedx.Component{
			BOMRef: url, Type: cyclonedx.ComponentTypeLibrary, Name: t.path, Version: t.version, PackageURL: url, Scope: cyclonedx.ScopeRequired,
			Licenses: &cyclonedx.Licenses{{Expression: t.license}},
		}
		if t.sum != "" {
			c.Properties = &[]cyclonedx.Property{{Name: "go.sum", Value: t.sum}}
		}
		components, refs = append(components, c), append(refs, url)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: self, Dependencies: &refs}}
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(b.out, "tincan-"+b.version+".cdx.json"), out.Bytes(), 0o644)
}
