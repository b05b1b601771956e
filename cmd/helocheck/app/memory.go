package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"
)

// memoryTasks are what the command memory can do. one: it needs a NAME or an ADDRESS.
var memoryTasks = map[string]struct {
	one, write bool
	run        func(context.Context, io.Writer, *memory.DB, memory.Filter) error
}{
	"list":   {run: listMemory},
	"show":   {one: true, run: listMemory},
	"forget": {one: true, write: true, run: forgetMemory},
	"stats":  {run: countMemory},
	"export": {run: func(ctx context.Context, w io.Writer, db *memory.DB, f memory.Filter) error {
		return db.Export(ctx, w, f)
	}},
}

func memoryCommand() *cli.Command {
	return &cli.Command{
		Name:      "memory",
		Usage:     "list, count or delete what the check remembers",
		ArgsUsage: "list|show|forget|stats|export|learn",
		Flags: []cli.Flag{
			option("config c", "", "use the memory of the maddy.conf `FILE` (default: the server's)"),
			option("check", "", "which check of --config: the `NAME` of its block, or FILE:LINE"),
			option("memory", "", "use the database `DB`: sqlite3:PATH or postgres:DSN"),
			toggle("all", "forget everything"),
			option("dns", "recorded", "learn with lookups `HOW`, as replay has them"),
			repeated("by", "learn from mails at the border `HOST`"),
		},
		Action: runMemory,
	}
}

func runMemory(c *cli.Context) (err error) {
	const takes = "memory takes list, show, forget, stats, export or learn"
	name, rest, all := c.Args().First(), c.Args().Tail(), c.Bool("all")
	task, known := memoryTasks[name]
	one := task.one && !all
	switch {
	case name == "":
		return usage(takes + " (see: helocheck memory --help)")
	case name == "learn":
		return learnMemory(c, rest)
	case !known:
		return usage(fmt.Sprintf("%s, not %q", takes, name))
	case all && name != "forget":
		return usage("--all is for memory forget")
	case one && len(rest) != 1:
		return usage("memory " + name + " takes one NAME or ADDRESS")
	case !one && len(rest) > 0:
		return usage(fmt.Sprintf("memory %s takes no argument %q", name, rest[0]))
	}
	var filter memory.Filter
	if one {
		if filter, err = memory.ParseFilter(rest[0]); err != nil {
			return usage(err.Error())
		}
	}
	db, err := openMemory(c, task.write)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return task.run(c.Context, c.App.Writer, db, filter)
}

// openMemory opens the database of --memory, otherwise that of the maddy.conf. An error never
// repeats a DSN, which can hold a password.
func openMemory(c *cli.Context, write bool) (*memory.DB, error) {
	kind, place, _ := strings.Cut(c.String("memory"), ":")
	switch {
	case c.String("memory") == "":
		path, named := serverConfig(c)
		if !named {
			fmt.Fprintf(c.App.ErrWriter, "%s is used\n", path)
		}
		conf, _, err := load(c, "", path, c.String("check"))
		if err != nil {
			return nil, err
		}
		if kind, place = conf.Memory(); kind == "" {
			return nil, fmt.Errorf("%s: memory is off", path)
		}
	case c.IsSet("config") || c.IsSet("check"):
		return nil, usage("--memory excludes --config and --check")
	case place == "" || kind != "sqlite3" && kind != "postgres":
		return nil, usage("--memory; accepted: sqlite3:PATH, postgres:DSN")
	case strings.HasPrefix(place, "//"): // the DSN is a URL
		place = c.String("memory")
	}
	return memory.OpenTool(c.Context, kind, place, write)
}

// listMemory fails where there is no entry of a name or an address, so that scripts can tell.
func listMemory(ctx context.Context, w io.Writer, db *memory.DB, f memory.Filter) error {
	const column = 22 // behind a network
	screen, found := newScreen(w), f == memory.Filter{}
	err := db.List(ctx, f, func(e memory.Entry) {
		found = true
		text := "waiting since " + e.First
		switch e.Kind {
		case memory.KindKnown:
			text = fmt.Sprintf("sender %s, days %d, %s to %s", e.Grade, e.Days, e.First, e.Last)
		case memory.KindNeighbour:
			text = "neighbour, " + e.Last
		}
		fmt.Fprintln(w, screen.Row(column, e.Network, "", text+": "+heloname.Line(e.Name, maxShown)))
	})
	if err == nil && !found {
		err = errors.New("memory: no such entry")
	}
	return err
}

const learntRows = 500_000 // that judge the mail to learn from

// learnMemory judges mail of the past and remembers it as a server with an empty memory would have
// done.
func learnMemory(c *cli.Context, paths []string) (err error) {
	if len(paths) == 0 {
		return usage("memory learn takes FILE, DIR or -, as replay does")
	}
	db, err := openMemory(c, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conf, source, err := loadCheck(c)
	if err != nil {
		return err
	}
	r := &replaying{
		paths: paths, options: replay.Options{By: c.StringSlice("by")},
		each: func(*report.Message) {}, // what is judged is remembered
	}
	if r.judge, _, err = judgeOf(c, conf.Check, source); err != nil {
		return err
	}
	if r.judge.memory == nil {
		return fmt.Errorf("%s: memory is off", source)
	}
	learnt := memory.NewMap(&memory.Room{Most: learntRows})
	r.judge.memory.learnt = learnt
	before, err := db.Stats(c.Context)
	if err != nil {
		return err
	}
	stats, problem := r.read(c)
	ctx := context.WithoutCancel(c.Context) // what was read is learnt
	if err = db.Learn(ctx, learnt); err != nil {
		return err
	}
	after, err := db.Stats(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%d known senders are new, %d more are accepted\n",
		after.Known-before.Known, after.Accepted-before.Accepted)
	return cmp.Or(texts.ExecuteTemplate(c.App.ErrWriter, "learnt", struct {
		Untimed int64
		Dropped uint64
	}{r.judge.memory.Untimed, learnt.Dropped}), ended(&stats, problem))
}

func forgetMemory(ctx context.Context, w io.Writer, db *memory.DB, f memory.Filter) error {
	n, err := db.Forget(ctx, f)
	fmt.Fprintf(w, "%d entries deleted; a running server remembers them for another 5 seconds\n", n)
	return err
}

func countMemory(ctx context.Context, w io.Writer, db *memory.DB, _ memory.Filter) error {
	s, err := db.Stats(ctx)
	if err != nil {
		return err
	}
	return texts.ExecuteTemplate(w, "memory", struct {
		*screen
		memory.Stats
	}{newScreen(w), s})
}
