package replay

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
)

// corpusColumns are the columns that become those of columnNames; the flags
// turn into ptr_confirmed.
var corpusColumns = [colCount + 1]string{
	"helo", "ip", "rdns", "flags", "rcpt_domain", "by_host", "class", "count",
}

// ConvertCorpus turns a table of collected greetings with the columns class,
// helo, rdns, ip, count, by_host, rcpt_domain and flags into the CSV that Read
// takes. Rows of mailing list hosts (flag L), authenticated sessions (a) and
// internal clients (i) are left out; flag f says that the PTR name does not
// resolve back.
func ConvertCorpus(r io.Reader, w io.Writer) error {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	where, err := corpusHeader(in)
	if err != nil {
		return err
	}
	out := csv.NewWriter(w)
	if err := out.Write(columnNames[:len(corpusColumns)]); err != nil {
		return fmt.Errorf("replay: corpus: %w", err)
	}
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("replay: corpus: %w", err)
		}
		flags := row[where["flags"]]
		if strings.ContainsAny(flags, "Lai") {
			continue
		}
		conv := make([]string, len(corpusColumns))
		for col, name := range corpusColumns {
			conv[col] = row[where[name]]
		}
		conv[colConfirmed] = "yes"
		if strings.Contains(flags, "f") {
			conv[colConfirmed] = "no"
		}
		if err := out.Write(conv); err != nil {
			return fmt.Errorf("replay: corpus: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("replay: corpus: %w", err)
	}
	return nil
}

// corpusHeader returns where the columns stand.
func corpusHeader(in *csv.Reader) (map[string]int, error) {
	head, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("replay: corpus: %w", err)
	}
	where := make(map[string]int)
	for i, name := range head {
		where[name] = i
	}
	for _, name := range corpusColumns {
		if _, ok := where[name]; !ok {
			return nil, fmt.Errorf("replay: corpus: no column %q", name)
		}
	}
	return where, nil
}
