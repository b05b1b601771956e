package app

import (
	"bufio"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/replay"
)

func corpusCommand() *cli.Command {
	return &cli.Command{
		Name:      "corpus",
		Usage:     "turn a collection of greetings into CSV for replay",
		ArgsUsage: "FILE",
		Hidden:    true,
		Description: "The collection has the columns class, helo, rdns, ip, count, by_host,\n" +
			"rcpt_domain and flags. Rows with the flags L, a and i are left out.",
		Action: runCorpus,
	}
}

func runCorpus(c *cli.Context) error {
	if c.NArg() != 1 {
		return usage(fmt.Sprintf("corpus takes one file, not %d (see: helocheck corpus --help)",
			c.NArg()))
	}
	file, err := os.Open(c.Args().First())
	if err != nil {
		return usage(err.Error())
	}
	defer file.Close()
	out := bufio.NewWriter(c.App.Writer)
	if err := replay.ConvertCorpus(bufio.NewReader(file), out); err != nil {
		return err
	}
	return out.Flush()
}
