package module_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// pid finds the Maddy of s among the children of this process.
func (s *server) pid(t *testing.T) int {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(filepath.Dir(s.StateDir()), "maddy.conf")
	for _, list := range lists {
		children, err := os.ReadFile(list)
		if err != nil {
			continue // a thread that has ended
		}
		for _, child := range strings.Fields(string(children)) {
			args, err := os.ReadFile(fmt.Sprintf("/proc/%s/cmdline", child))
			if err == nil && bytes.Contains(args, []byte(conf)) {
				pid, err := strconv.Atoi(child)
				if err != nil {
					t.Fatal(err)
				}
				return pid
			}
		}
	}
	t.Fatal("the server does not run")
	return 0
}

// signalReload tells the server to read its configuration again and does not wait.
func (s *server) signalReload(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(s.pid(t), syscall.SIGUSR2); err != nil {
		t.Error(err)
	}
}

// descriptors returns how many files and sockets the server has open.
func (s *server) descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid(t)))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// resident returns the memory of the server, in KiB.
func (s *server) resident(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid(t)))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	size, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return size
}
