// Command sbom writes the bill of materials of Go binaries: which modules they
// were linked from, as CycloneDX in JSON.
//
//	sbom NAME VERSION BINARY... >FILE
//
// The same binaries give the same bytes: there is neither a time nor a random
// number in it.
package main

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

const check = "maddy.example/checkhelo"

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: sbom NAME VERSION BINARY...")
	}
	linked := map[string]cyclonedx.Component{}
	for _, path := range args[2:] {
		info, err := buildinfo.ReadFile(path)
		if err != nil {
			return err
		}
		add(linked, "pkg:golang/std@"+strings.TrimPrefix(info.GoVersion, "go"), "std", info.GoVersion)
		for _, m := range info.Deps {
			version := m.Version
			switch {
			case m.Path == check: // its source is a directory
				version = "v" + args[1]
			case m.Replace != nil:
				m, version = m.Replace, m.Replace.Version
			}
			add(linked, "pkg:golang/"+m.Path+"@"+version, m.Path, version)
		}
	}
	components := make([]cyclonedx.Component, 0, len(linked))
	for _, c := range linked {
		components = append(components, c)
	}
	slices.SortFunc(components, func(a, b cyclonedx.Component) int {
		return cmp.Compare(a.BOMRef, b.BOMRef)
	})
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{Component: &cyclonedx.Component{
		Type: cyclonedx.ComponentTypeApplication, Name: args[0], Version: args[1],
		BOMRef: "pkg:generic/" + args[0] + "@" + args[1],
	}}
	bom.Components = &components
	return cyclonedx.NewBOMEncoder(os.Stdout, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

func add(linked map[string]cyclonedx.Component, purl, name, version string) {
	linked[purl] = cyclonedx.Component{
		Type: cyclonedx.ComponentTypeLibrary, BOMRef: purl, PackageURL: purl,
		Name: name, Version: version,
	}
}
