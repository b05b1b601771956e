// Package standin gives tests of builds the stand-ins for modules that lie in a folder as archives,
// by a proxy on loopback:
//
//	standin.Offline(t, mods)
//	dir := standin.Unpack(t, mods, "plugin.example_hello_v1.2.0")
package standin

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/goproxytest"
	"golang.org/x/tools/txtar"
)

// Offline makes the go command see only the modules in the folder mods, in a module cache of their
// own, and moves to an empty working directory.
func Offline(t *testing.T, mods string) {
	t.Helper()
	path, err := filepath.Abs(mods)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", goproxytest.NewTestServer(t, path, "127.0.0.1:0").URL)
	t.Setenv("GOSUMDB", "off")
	t.Setenv("GOTOOLCHAIN", "local")
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-modcacherw") // for t.TempDir to be removable
	t.Chdir(t.TempDir())
}

// Unpack writes one of the modules to a directory of the test.
func Unpack(t *testing.T, mods, name string) string {
	t.Helper()
	archive, err := txtar.ParseFile(filepath.Join(mods, name+".txtar"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, file := range archive.Files {
		path := filepath.Join(dir, filepath.FromSlash(file.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
