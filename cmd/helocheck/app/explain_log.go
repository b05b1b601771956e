package app

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/replay"
)

const (
	maxStory     = 20   // lines of a log shown for one message
	maxStoryLine = 1024 // octets shown of each
)

// othersRefusal matches a line about mail of our own that another server refused because of the
// greeting or the names of our server.
var othersRefusal = regexp.MustCompile(`(?i)(\bstatus=(bounced|deferred)\b|\bsaid: |\*\* |==|` +
	`remote_server|delivery (attempt )?failed|SMTP error from remote).*` +
	`\b[45]\d\d\b.*\b(helo|ehlo|greeting|host ?name|reverse|r?dns|ptr|fqdn|resolve)`)

// breakable lets the JSON in a log line be broken between its fields.
var breakable = strings.NewReplacer("\t", " ", `,"`, `, "`)

// story is what a log says of one message.
type story struct {
	*screen
	Lines   []string // the first ones
	More    int      // lines that are left out
	Outcome string
	refused bool // by another server
	record  *replay.Record
}

func readStory(c *cli.Context, path, id string) (*story, error) {
	// The ID stands between octets that no message ID has.
	whole, err := regexp.Compile(`(^|[^-0-9A-Za-z])` + regexp.QuoteMeta(id) + `($|[^-0-9A-Za-z])`)
	if err != nil {
		return nil, usage(fmt.Sprintf("%q is no message ID", id))
	}
	st := &story{screen: newScreen(c.App.Writer)}
	opt := replay.Options{Line: func(line []byte) {
		if id == "" || !bytes.Contains(line, []byte(id)) || !whole.Match(line) {
			return
		}
		st.refused = st.refused || othersRefusal.Match(line)
		if len(st.Lines) == maxStory {
			st.More++
			return
		}
		st.Lines = append(st.Lines, heloname.Line(breakable.Replace(string(line)), maxStoryLine))
	}}
	_, err = replay.Read(c.Context, []string{path}, opt, func(rec *replay.Record) error {
		if st.record == nil && strings.EqualFold(rec.MsgID, id) {
			kept := *rec
			kept.Rcpts = slices.Clone(rec.Rcpts)
			said := strings.TrimRight(rec.Outcome+": "+rec.Reason, ": ")
			st.record, st.Outcome = &kept, heloname.Line(said, maxStoryLine)
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage(err.Error())
	case err == nil && st.record == nil && len(st.Lines) == 0:
		return nil, usage(fmt.Sprintf("%s has no line with the message ID %q", path, id))
	}
	return st, err
}

// tellStory shows what a log says of the message with that ID and returns its greeting.
func tellStory(c *cli.Context, id string) (query judge.Query, err error) {
	path := c.String("log")
	id = strings.Trim(id, "<>[]();:,. ")
	st, err := readStory(c, path, id)
	if err == nil && c.String("format") == "text" {
		err = texts.ExecuteTemplate(c.App.Writer, "story", st)
	}
	switch {
	case err != nil:
		return query, err
	case st.record != nil:
		return queryOf(st.record), nil
	case st.refused:
		fmt.Fprintln(c.App.Writer, st.Text(0, "Another server refused this message. See what it sees"+
			" of yours: helocheck self"))
		return query, cli.Exit("", exitFailure)
	}
	return query, usage(fmt.Sprintf("%s has no greeting of the message %q", path, id))
}
