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
	path, dir string
	env       []string
	progress  func(string)
	settings  struct{ GOVERSION, GOTOOLCHAIN, GOFLAGS string }
}

func newGoCommand(ctx context.Context, dir string, progress func(string)) (*goCommand, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoGo, err)
	}
	// A workspace of the caller must not leak into the build.
	env := append(os.Environ(), "GO111MODULE=on", "GOWORK=off")
	g := &goCommand{path: path, dir: dir, env: env, progress: progress}
	out, err := g.run(ctx, "env", "-json", "GOVERSION", "GOTOOLCHAIN", "GOFLAGS")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, &g.settings); err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	g.env = append(g.env, "GOFLAGS="+strings.TrimSpace(g.settings.GOFLAGS+" -mod=mod"))
	return g, nil
}

// need fails when Go is older than want, as a go.mod writes it ("1.24.0"), and
// may not fetch a newer one.
func (g *goCommand) need(want string) error {
	have := g.settings.GOVERSION
	if version.Compare(have, "go"+want) >= 0 || !version.IsValid(have) {
		return nil // a development version is taken at its word
	}
	local := strings.HasPrefix(g.settings.GOTOOLCHAIN, "local")
	if !local && version.Compare(have, firstWithToolchains) >= 0 {
		return nil
	}
	return fmt.Errorf("%w: have %s, need go%s; see https://go.dev/dl/", ErrOldGo, have, want)
}

// run runs the go command and returns its output; the error holds what it said.
func (g *goCommand) run(ctx context.Context, args ...string) ([]byte, error) {
	//nolint:gosec // G204: the go command of the PATH, with our arguments
	cmd := exec.CommandContext(ctx, g.path, args...)
	cmd.Dir, cmd.Env = g.dir, g.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopTime
	said := stderr{progress: g.progress}
	cmd.Stderr = &said
	out, err := cmd.Output()
	if cause := ctx.Err(); err != nil && cause != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], cause)
	}
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(said.text))
	}
	return out, err
}

// stderr keeps what the go command says, and passes on each line about a download.
type stderr struct {
	text     []byte
	seen     int // octets of text in whole lines
	progress func(string)
}

func (s *stderr) Write(p []byte) (int, error) {
	s.text = append(s.text, p...)
	for {
		line, _, found := bytes.Cut(s.text[s.seen:], []byte("\n"))
		if !found {
			return len(p), nil
		}
		if s.seen += len(line) + 1; bytes.HasPrefix(line, []byte("go: downloading ")) {
			s.progress(string(line))
		}
	}
}
