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
	return &cli.Command{Name: "version", Usage: "print the version of the check", Action: runVersion}
}

func runVersion(c *cli.Context) error {
	s := newScreen(c.App.Writer)
	fmt.Fprintln(c.App.Writer, s.Text(0, fmt.Sprintf("check.helo_fqdn %s, for Maddy %s", module.Version(), build.DefaultMaddy)))
	fmt.Fprintln(c.App.Writer, s.Text(0, fmt.Sprintf("%s, top-level domains of %s", runtime.Version(), heloname.TLDDate())))
	return nil
}
