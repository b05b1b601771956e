package app

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/build"
)

const modulePath = "maddy.example/checkhelo"

// version is set by the linker in packages and releases, without "v":
//
//	-X maddy.example/checkhelo/cmd/helocheck/app.version=1.2.3
var version string

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:   "version",
		Usage:  "show the version of the check",
		Action: runVersion,
	}
}

func runVersion(c *cli.Context) error {
	if c.Args().Present() {
		return usage(fmt.Sprintf("version takes no argument %q (see: helocheck version --help)",
			c.Args().First()))
	}
	info, _ := debug.ReadBuildInfo()
	fmt.Fprintf(c.App.Writer, "check.helo_fqdn %s, for Maddy %s, %s\n",
		shownVersion(version, info), build.DefaultMaddy, runtime.Version())
	return nil
}

// shownVersion is what the linker set, else the release that the program was
// made from, else the commit, else "unknown".
func shownVersion(linked string, info *debug.BuildInfo) string {
	if linked != "" {
		return "v" + linked
	}
	if info == nil {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Replace == nil && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && info.Main.Path == modulePath {
			return s.Value
		}
	}
	return "unknown"
}
