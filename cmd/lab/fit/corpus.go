package fit

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// columns are those that replay reads, and the columns of a collection that
// become them. The flags turn into ptr_confirmed.
var columns = []struct{ to, from string }{
	{"helo", "helo"}, {"ip", "ip"}, {"rdns", "rdns"}, {"ptr_confirmed", "flags"},
	{"rcpt", "rcpt_domain"}, {"self", "by_host"}, {"class", "class"}, {"count", "count"},
}

// Corpus writes a collection of greetings to stdout as the CSV that fit and
// replay read. It returns the exit status.
func Corpus(_ context.Context, args []string, stdout, stderr io.Writer) (status int) {
	return ended(stderr, corpus(args, stdout, stderr))
}

func corpus(args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("lab corpus", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprintln(stderr, "usage: go run ./cmd/lab corpus FILE") }
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return usage("lab corpus: " + err.Error())
	}
	if flags.NArg() != 1 {
		return usage(fmt.Sprintf("lab corpus takes one file, not %d", flags.NArg()))
	}
	file, err := os.Open(flags.Arg(0))
	if err != nil {
		return usage(err.Error())
	}
	defer file.Close()
	out := bufio.NewWriter(stdout)
	if err := convert(bufio.NewReader(file), out); err != nil {
		return err
	}
	return out.Flush()
}

// convert turns a table of collected greetings with the columns class, helo,
// rdns, ip, count, by_host, rcpt_domain and flags into the CSV that replay
// reads. Rows of mailing list hosts (flag L), authenticated sessions (a) and
// internal clients (i) are left out; flag f says that the PTR name does not
// resolve back.
func convert(r io.Reader, w io.Writer) error {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	where, err := corpusHeader(in)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	conv := make([]string, len(columns))
	for i, column := range columns {
		conv[i] = column.to
	}
	if err := out.Write(conv); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
		flags := row[where["flags"]]
		if strings.ContainsAny(flags, "Lai") {
			continue
		}
		for i, column := range columns {
			conv[i] = row[where[column.from]]
			switch {
			case column.from != "flags":
			case strings.Contains(flags, "f"):
				conv[i] = "no"
			default:
				conv[i] = "yes"
			}
		}
		if err := out.Write(conv); err != nil {
			return fmt.Errorf("corpus: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("corpus: %w", err)
	}
	return nil
}

// corpusHeader returns where the columns stand.
func corpusHeader(in *csv.Reader) (map[string]int, error) {
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	where := make(map[string]int)
	for i, name := range head {
		where[name] = i
	}
	for _, column := range columns {
		if _, ok := where[column.from]; !ok {
			return nil, fmt.Errorf("corpus: no column %q", column.from)
		}
	}
	return where, nil
}
