package app

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/cmd/helocheck/pages"
)

func pagesCommand() *cli.Command {
	return &cli.Command{
		Name:  "pages",
		Usage: "make the web pages behind help_url, for senders who were refused",
		Description: "Writes a static site: a page for each rule, an index that finds the rule in a\n" +
			"reply, and how to reach you. Serve the directory anywhere and set help_url to its address;\n" +
			"HELP_URL#not_fqdn leads to that rule. The site uses no file but its own.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the site to `DIR`"},
			&cli.StringFlag{Name: "name", Usage: "the `NAME` of your mail service"},
			&cli.StringFlag{
				Name: "contact", Usage: "mail `ADDRESS` of whoever helps senders, such as the postmaster's",
			},
			&cli.StringFlag{Name: "logo", Usage: "PNG, JPEG or SVG `FILE`"},
			&cli.StringFlag{
				Name: "lang", Value: "en", Usage: "`LANGUAGE`: " + strings.Join(pages.Languages(), ", "),
			},
		},
		Action: runPages,
	}
}

func runPages(c *cli.Context) error {
	if c.Args().Present() {
		return usage(fmt.Sprintf("pages takes no argument %q (see: helocheck pages --help)",
			c.Args().First()))
	}
	for _, flag := range []string{"output", "name", "contact"} {
		if c.String(flag) == "" {
			return usage("pages: --" + flag + " is missing")
		}
	}
	if lang := c.String("lang"); !slices.Contains(pages.Languages(), lang) {
		return usage(fmt.Sprintf("pages: --lang is %q; accepted: %s", lang,
			strings.Join(pages.Languages(), ", ")))
	}
	user, _, _ := strings.Cut(c.String("contact"), "@")
	if user = strings.ToLower(user); user != "postmaster" && user != "abuse" {
		fmt.Fprintf(c.App.ErrWriter, "The pages promise that mail to %s is not refused: name it in"+
			" exempt_recipients.\n", c.String("contact"))
	}
	return pages.Write(c.String("output"), pages.Options{
		Name: c.String("name"), Contact: c.String("contact"),
		Logo: c.String("logo"), Lang: c.String("lang"),
	})
}
