package main

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/cmd/helocheck/app"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
)

// zone is the DNS that the scripts find at $DNS.
const zone = `
mail.example.org A 192.0.2.25
example.org A 192.0.2.25
ptr 192.0.2.25 mail.example.org
forged.example.net A 203.0.113.9
broken.example.net SERVFAIL
mail.example.com MX 10 mx.example.com
`

// TestMain lets the scripts run this program as the command helocheck, and a Maddy with it.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"helocheck": main, "maddy": func() {
		maddy := &cli.App{Name: "maddy", EnableBashCompletion: true, Commands: []*cli.Command{
			{Name: "run", Usage: "Start the server"}, app.Mounted(),
		}, Flags: []cli.Flag{&cli.PathFlag{
			Name: "config", EnvVars: []string{"MADDY_CONFIG"}, Value: "/etc/maddy/maddy.conf",
		}}}
		if err := maddy.Run(os.Args); err != nil {
			os.Exit(1)
		}
	}})
}

// TestScripts runs testdata/script: command lines, their output, their status.
func TestScripts(t *testing.T) {
	server := dnstest.Serve(t, zone)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status, "remember": remember,
		},
		Setup: func(env *testscript.Env) error {
			env.Setenv("DNS", server.Addr)
			env.Setenv("MADDY_CONFIG", env.WorkDir+"/server.conf") // mostly absent
			env.Setenv("COLUMNS", "80")
			return nil
		},
	})
}

// status N COMMAND ARG... runs a command, which has to end with status N.
func status(ts *testscript.TestScript, neg bool, args []string) {
	const least = 2
	if neg || len(args) < least {
		ts.Fatalf("usage: status N COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var ended *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &ended) {
		got = ended.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%v ends with status %d, want %d", args[1:], got, want)
	}
}

// remember FILE writes a memory: mail.example.org is accepted, mail.example.net greeted and waits.
func remember(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: remember FILE")
	}
	db, err := memory.OpenTool(context.Background(), "sqlite3", ts.MkAbs(args[0]), true)
	ts.Check(err)
	m := &memory.Memory{Store: db}
	m.Accept(memory.Sender{
		Helo: heloname.Parse("mail.example.org"), Client: netip.MustParseAddr("192.0.2.25"),
	})
	other := memory.Sender{
		Helo: heloname.Parse("mail.example.net"), Client: netip.MustParseAddr("2001:db8::1"),
	}
	m.Greet(other, true)
	_, err = m.Wait(context.Background(), other, "a@example.net", "b@example.org")
	ts.Check(err)
	ts.Check(db.Flush(context.Background()))
	ts.Check(db.Close())
}
