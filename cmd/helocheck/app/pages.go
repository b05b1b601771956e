package app

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/pages"
)

func pagesCommand() *cli.Command {
	return &cli.Command{
		Name:  "pages",
		Usage: "make the web pages behind help_url, for senders who were refused",
		Flags: append([]cli.Flag{
			option("output o", "", "write the site to `DIR`"),
			option("name", "", "the `NAME` of your mail service"),
			option("contact", "", "mail `ADDRESS` of whoever helps senders, such as the postmaster's"),
			option("logo", "", "PNG, JPEG or SVG `FILE`"),
			option("lang", "en,de", "languages of the site with commas, the main one first, `L`: "+
				strings.Join(pages.Languages(), ", ")),
		}, policyFlags()...),
		Action: runPages,
	}
}

func runPages(c *cli.Context) error {
	for _, flag := range []string{"output", "name", "contact"} {
		if c.String(flag) == "" {
			return usage("pages: --" + flag + " is missing")
		}
	}
	conf, source, err := loadCheck(c)
	if err != nil {
		return err
	}
	var rules []checkhelo.Rule // all of them
	if source != usualPreset || c.IsSet("policy") {
		if rules = pages.Refusing(conf.Check.Judge().Policy); len(rules) == 0 {
			return cli.Exit("pages: no rule of this policy refuses mail", exitFailure)
		}
	}
	user, _, _ := strings.Cut(c.String("contact"), "@")
	if user = strings.ToLower(user); user != "postmaster" && user != "abuse" {
		fmt.Fprintf(c.App.ErrWriter, "The pages promise that mail to %s is not refused: name it in"+
			" exempt_recipients.\n", c.String("contact"))
	}
	echo := append(slices.Sorted(maps.Keys(conf.Check.Judge().Echo)), "")[0]
	return pages.Write(c.String("output"), pages.Options{
		Name: c.String("name"), Contact: c.String("contact"), Echo: echo,
		Logo: c.String("logo"), Langs: strings.Split(c.String("lang"), ","), Rules: rules,
	})
}
