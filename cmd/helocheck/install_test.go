package main

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// TestInstall publishes this module in a file proxy and installs the tool from
// there with "go install PATH@VERSION", as an operator does. The go command
// rejects a module that has replace lines. All other modules come from the
// module cache, so that the test needs no network.
func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the tool anew")
	}
	ours := module.Version{Path: "maddy.example/checkhelo", Version: "v0.0.1-proxy"}
	cached := filepath.Join(goEnv(t, "GOMODCACHE"), "cache", "download")
	if _, err := os.Stat(cached); errors.Is(err, fs.ErrNotExist) {
		t.Skip("no module cache: a vendored build has nothing to install from")
	}
	bin := t.TempDir()
	cmd := exec.CommandContext(t.Context(),
		"go", "install", "-trimpath", ours.Path+"/cmd/helocheck@"+ours.Version)
	cmd.Dir = bin
	cmd.Env = append(os.Environ(), "GOBIN="+bin, "GOWORK=off", "GOSUMDB=off",
		"GOFLAGS=-modcacherw", // for t.TempDir to be removable
		"GOMODCACHE="+t.TempDir(),
		"GOPROXY="+fileURL(publish(t, ours))+","+fileURL(cached)+",off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.CommandContext(t.Context(),
		filepath.Join(bin, "helocheck"), "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), " "+ours.Version+",") {
		t.Errorf("helocheck version: %v, %q, want %s", err, out, ours.Version)
	}
}

// publish writes the source as the one version v to a new folder, in the form
// of a module proxy (https://go.dev/ref/mod#goproxy-protocol).
func publish(t *testing.T, v module.Version) (proxy string) {
	t.Helper()
	proxy = t.TempDir()
	dir := filepath.Join(proxy, filepath.FromSlash(v.Path), "@v")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	root := filepath.Join("..", "..")
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := json.Marshal(map[string]string{"Version": v.Version})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{
		"list": []byte(v.Version + "\n"), v.Version + ".mod": goMod, v.Version + ".info": info,
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	archive, err := os.Create(filepath.Join(dir, v.Version+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if err := zip.CreateFromDir(archive, v, root); err != nil {
		t.Fatal(err)
	}
	return proxy
}

func fileURL(path string) string { return "file://" + filepath.ToSlash(path) }

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
