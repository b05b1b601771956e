package build

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io"
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
	var stdout, said strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err = cmd.Start(); err == nil {
		g.pass(io.TeeReader(stderr, &said))
		err = cmd.Wait()
	}
	if cause := ctx.Err(); err != nil && cause != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], cause)
	}
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, strings.TrimSpace(said.String()))
	}
	return []byte(stdout.String()), err
}

// pass reads to the end and passes on each line about a download.
func (g *goCommand) pass(said io.Reader) {
	lines := bufio.NewReader(said)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "go: downloading ") {
			g.progress(strings.TrimSuffix(line, "\n"))
		}
	}
}
