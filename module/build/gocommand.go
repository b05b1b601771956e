package build

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ErrNoGo means that there is no go command, ErrOldGo that it is older than
// the modules ask for and may not fetch a newer one.
var (
	ErrNoGo  = errors.New("no go command found; install Go from https://go.dev/dl/")
	ErrOldGo = errors.New("the go command is too old")
)

// firstWithToolchains can fetch a newer Go when a module asks for it.
const firstWithToolchains = "go1.21"

// stopTime is how long an interrupted go command may take to end.
const stopTime = 10 * time.Second

// goCommand runs the go command in dir.
type goCommand struct {
	path     string
	dir      string
	env      []string
	settings map[string]string // by settingNames
	progress func(string)
}

// settingNames are the settings of the go command that decide what it builds.
var settingNames = []string{
	"GOVERSION", "GOTOOLCHAIN", "GOFLAGS", "GOOS", "GOARCH", "CGO_ENABLED",
}

func (b *Builder) newGoCommand(ctx context.Context) (*goCommand, error) {
	name := b.Go
	if name == "" {
		name = "go"
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("build: %w (%w)", ErrNoGo, err)
	}
	// A workspace of the caller must not leak into the build.
	env := append(os.Environ(), "GO111MODULE=on", "GOWORK=off")
	g := &goCommand{path: path, dir: os.TempDir(), env: env, progress: b.progress}
	out, err := g.output(ctx, append([]string{"env", "-json"}, settingNames...)...)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &g.settings); err != nil {
		return nil, fmt.Errorf("build: go env: %w", err)
	}
	flags := strings.TrimSpace(g.settings["GOFLAGS"] + " -mod=mod")
	g.env = append(g.env, "GOFLAGS="+flags)
	return g, nil
}

// need fails when Go is older than want, as a go.mod writes it ("1.24.0"), and
// may not fetch a newer one.
func (g *goCommand) need(want string) error {
	have := g.settings["GOVERSION"]
	if version.Compare(have, "go"+want) >= 0 || !version.IsValid(have) {
		return nil // a development version is taken at its word
	}
	local := strings.HasPrefix(g.settings["GOTOOLCHAIN"], "local")
	if !local && version.Compare(have, firstWithToolchains) >= 0 {
		return nil
	}
	return fmt.Errorf("build: %w: have %s, need go%s; see https://go.dev/dl/",
		ErrOldGo, have, want)
}

// run runs the go command; the error holds what it wrote.
func (g *goCommand) run(ctx context.Context, args ...string) error {
	_, err := g.output(ctx, args...)
	return err
}

func (g *goCommand) output(ctx context.Context, args ...string) ([]byte, error) {
	//nolint:gosec // G204: the caller chooses the go command and its arguments
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir, cmd.Env = g.dir, g.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTime
	var stdout bytes.Buffer
	stderr := progressWriter{line: g.progress}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if cause := ctx.Err(); err != nil && cause != nil {
		return nil, fmt.Errorf("build: go %s: %w", args[0], cause)
	}
	if err != nil {
		said := strings.TrimSpace(stderr.all.String())
		return stdout.Bytes(), fmt.Errorf("build: go %s: %w\n%s", args[0], err, said)
	}
	return stdout.Bytes(), nil
}

// progressWriter keeps everything and passes on each line about a download.
type progressWriter struct {
	all  bytes.Buffer
	rest []byte
	line func(string)
}

func (w *progressWriter) Write(p []byte) (int, error) {
	w.rest = append(w.rest, p...)
	for {
		line, rest, ok := bytes.Cut(w.rest, []byte("\n"))
		if !ok {
			break
		}
		if bytes.HasPrefix(line, []byte("go: downloading ")) {
			w.line(string(line))
		}
		w.rest = rest
	}
	return w.all.Write(p)
}
