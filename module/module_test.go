package module

import (
	"runtime/debug"
	"testing"
)

func TestShownVersion(t *testing.T) {
	own := func(version string) debug.Module { return debug.Module{Path: modulePath, Version: version} }
	release, replaced := own("v1.2.3"), own("v0.0.0")
	replaced.Replace = &debug.Module{Path: "./dir0"}
	for name, test := range map[string]struct {
		linked string
		info   *debug.BuildInfo
		want   string
	}{
		"linked":           {"1.2.3", &debug.BuildInfo{Main: own("v9.9.9")}, "v1.2.3"},
		"linked commit":    {"0123abcd", nil, "0123abcd"},
		"installed":        {"", &debug.BuildInfo{Main: release}, "v1.2.3"},
		"within Maddy":     {"", &debug.BuildInfo{Deps: []*debug.Module{&release}}, "v1.2.3"},
		"from a directory": {"", &debug.BuildInfo{Deps: []*debug.Module{&replaced}}, "unknown"},
		"checkout":         {"", &debug.BuildInfo{Main: own("(devel)")}, "unknown"},
		"nothing":          {"", nil, "unknown"},
	} {
		if got := shownVersion(test.linked, test.info); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
