//go:build unix

package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const asDemo = "DEMO_TEST_RUNS_MAIN"

// TestMain makes the test binary the demo itself, for a test that needs a process.
func TestMain(m *testing.M) {
	if os.Getenv(asDemo) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestSignals ends a real process in each way a reader may, and looks for what is left.
func TestSignals(t *testing.T) {
	for name, test := range map[string]struct {
		signal syscall.Signal
		group  bool // the terminal tells the whole process group
	}{
		"Ctrl-C":          {syscall.SIGINT, true},
		"terminal closed": {syscall.SIGHUP, true},
		"kill":            {syscall.SIGTERM, false},
	} {
		t.Run(name, func(t *testing.T) {
			cmd, output, temp := startDemo(t)
			address := readTo(t, output, "Ctrl-C")
			pid := cmd.Process.Pid
			if test.group {
				pid = -pid
			}
			if err := syscall.Kill(pid, test.signal); err != nil {
				t.Fatal(err)
			}
			checkEnd(t, cmd, 0)
			checkNothingLeft(t, temp, address)
		})
	}
}

// TestClosedPipe is `demo | head -3`.
func TestClosedPipe(t *testing.T) {
	cmd, output, temp := startDemo(t)
	address := readTo(t, output, "said")
	if err := output.Close(); err != nil {
		t.Fatal(err)
	}
	checkEnd(t, cmd, 1)
	checkNothingLeft(t, temp, address)
}

func startDemo(t *testing.T) (cmd *exec.Cmd, output *os.File, temp string) {
	t.Helper()
	output, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	t.Cleanup(cancel)
	temp = t.TempDir()
	cmd = exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), asDemo+"=1", "TMPDIR="+temp)
	cmd.Stdout, cmd.Stderr = to, to
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, output, temp
}

// readTo reads up to the line that begins with word and returns the server's address.
func readTo(t *testing.T, output *os.File, word string) string {
	t.Helper()
	var text strings.Builder
	lines := bufio.NewScanner(output)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), word) {
		text.WriteString(lines.Text() + "\n")
	}
	return address(t, text.String())
}

func checkEnd(t *testing.T, cmd *exec.Cmd, status int) {
	t.Helper()
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != status {
		t.Errorf("ended with %v, want status %d", err, status)
	}
}

func checkNothingLeft(t *testing.T, temp, address string) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) != 0 {
		t.Errorf("left in the folder for temporary files: %q, %v", left, err)
	}
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Error("the server still answers")
	}
}
