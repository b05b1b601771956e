package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// TestMounted runs commands the way Maddy does: as subcommands of its own
// program, where only an error with a status ends the program with one.
func TestMounted(t *testing.T) {
	tests := []struct {
		name   string
		args   string
		status int
		want   string // part of the error
	}{
		{"no command", "helo", exitUsage, "which command? (see: maddy helo --help)"},
		{"unknown command", "helo bulid", exitUsage, `no command "bulid" (see: maddy helo --help)`},
		{"unknown flag", "helo build --nope", exitUsage, "-nope (see: maddy helo build --help)"},
		{"argument", "helo build maddy", exitUsage, `no argument "maddy"`},
		{"failure", "helo build --checkhelo /dev/null", exitFailure, "build: no Go module"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			program := &cli.App{
				Name: "maddy", Writer: &out, ErrWriter: &out,
				Commands:       []*cli.Command{Mounted()},
				ExitErrHandler: func(*cli.Context, error) {},
			}
			err := program.RunContext(t.Context(), append([]string{"maddy"}, strings.Fields(test.args)...))
			var coded cli.ExitCoder
			if !errors.As(err, &coded) {
				t.Fatalf("the error %v has no status", err)
			}
			if coded.ExitCode() != test.status || !strings.Contains(err.Error(), test.want) {
				t.Errorf("status %d, %q, want %d, %q", coded.ExitCode(), err, test.status, test.want)
			}
		})
	}
}

func TestEveryCommandIsDescribed(t *testing.T) {
	seen := make(map[string]bool)
	for _, command := range Mounted().Subcommands {
		if command.Usage == "" || command.Action == nil || command.OnUsageError == nil {
			t.Errorf("the command %q lacks a usage, an action or its usage error", command.Name)
		}
		if seen[command.Name] {
			t.Errorf("two commands are called %q", command.Name)
		}
		seen[command.Name] = true
	}
	if len(seen) == 0 {
		t.Error("no commands")
	}
}

func TestMainStatus(t *testing.T) {
	tests := []struct {
		args   []string
		status int
	}{
		{[]string{"helocheck", "--help"}, 0},
		{[]string{"helocheck"}, exitUsage},
		{[]string{"helocheck", "build", "--checkhelo", "/dev/null"}, exitFailure},
	}
	for _, test := range tests {
		var stdout, stderr bytes.Buffer
		if got := Main(test.args, &stdout, &stderr); got != test.status {
			t.Errorf("%v ends with %d, want %d: %s", test.args, got, test.status, &stderr)
		}
		if (stderr.Len() > 0) != (test.status != 0) {
			t.Errorf("%v writes on stderr: %q", test.args, &stderr)
		}
	}
}

func TestInterruptCancels(t *testing.T) {
	command := &cli.Command{Name: "wait", Action: func(c *cli.Context) error {
		self, err := os.FindProcess(os.Getpid())
		if err != nil {
			return err
		}
		if err := self.Signal(os.Interrupt); err != nil {
			return err
		}
		select {
		case <-c.Done():
			return c.Err()
		case <-time.After(time.Minute):
			return errors.New("nothing came")
		}
	}}
	finish(command)
	program := &cli.App{
		Commands:       []*cli.Command{command},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := program.RunContext(t.Context(), []string{"program", "wait"})
	var coded cli.ExitCoder
	if !errors.As(err, &coded) || coded.ExitCode() != exitFailure ||
		!strings.Contains(err.Error(), "context canceled") {
		t.Errorf("got %v, want status %d because of the interrupt", err, exitFailure)
	}
}

// A server's file that may not be read leaves the preset; one that the command names is an error.
func TestUnreadableConfiguration(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read every file")
	}
	path := filepath.Join(t.TempDir(), "maddy.conf")
	if err := os.WriteFile(path, nil, 0o200); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MADDY_CONFIG", path)
	var out, said bytes.Buffer
	if status := Main([]string{"helocheck", "rules"}, &out, &said); status != 0 ||
		!strings.HasPrefix(said.String(), "preset rfc is used: open ") {
		t.Errorf("status %d, %s", status, &said)
	}
	if status := Main([]string{"helocheck", "rules", "-c", path}, &out, &said); status != exitFailure {
		t.Errorf("status %d, %s", status, &said)
	}
}
