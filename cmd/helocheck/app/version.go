package app

import (
	"fmt"
	"runtime"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/build"
	"maddy.example/checkhelo/module/heloname"
)

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
	fmt.Fprintf(c.App.Writer, "check.helo_fqdn %s, for Maddy %s, %s, top-level domains of %s\n",
		module.Version(), build.DefaultMaddy, runtime.Version(), heloname.TLDDate())
	return nil
}
