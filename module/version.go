package module

import (
	"runtime/debug"
	"strings"
)

const modulePath = "maddy.example/checkhelo"

// version is set by the linker, without "v"; a commit where there is no version:
//
//	-X maddy.example/checkhelo/module.version=1.2.3
var version string

// Version is what this program was made from: what the linker set, else the release or, in a
// checkout, what the go command makes of its commit, else "unknown".
func Version() string {
	info, _ := debug.ReadBuildInfo()
	return shownVersion(version, info)
}

func shownVersion(linked string, info *debug.BuildInfo) string {
	if strings.Contains(linked, ".") {
		return "v" + linked
	}
	if linked != "" { // a commit
		return linked
	}
	if info == nil {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Replace == nil && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "unknown"
}
