package app

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/build"
)

func buildCommand() *cli.Command {
	return &cli.Command{
		Name:  "build",
		Usage: "build a custom Maddy with the HELO check",
		Flags: []cli.Flag{
			option("output o", "maddy", "write the binary to `FILE`"),
			option("maddy", build.DefaultMaddy, "build this `VERSION|DIR` of Maddy"),
			option("tags", "", "build tags `T`, separated by commas"),
			repeated("with", "link in a `PACKAGE[@VERSION|=DIR]`"),
			option("checkhelo", "",
				"source `DIR` of the check; default: this checkout, else this program's version"),
			option("check-version", "",
				"let the check say that it is `VERSION`; default: its release, tag or commit"),
		},
		Action: runBuild,
	}
}

func runBuild(c *cli.Context) error {
	b := build.Builder{
		Maddy:     c.String("maddy"),
		Tags:      c.String("tags"),
		Output:    c.String("output"),
		Checkhelo: c.String("checkhelo"),
		Version:   c.String("check-version"),
		Progress:  func(step string) { fmt.Fprintln(c.App.ErrWriter, step) },
	}
	for _, arg := range c.StringSlice("with") {
		module, err := build.ParseModule(arg)
		if err != nil {
			return usage(err.Error())
		}
		b.With = append(b.With, module)
	}
	return b.Build(c.Context)
}
