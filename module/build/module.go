package build

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

var (
	//go:embed main.txt
	mainText string
	// Newer versions than Maddy's, and their lines of go.sum.
	//go:embed newer.mod
	newerMod []byte
	//go:embed newer.sum
	newerSum []byte
)

// noVersion stands for the version of a module that is replaced by a directory.
const noVersion = "v0.0.0"

// mainFile is the program; its one argument are the further packages. The
// commands of helocheck become "maddy helo ...".
var mainFile = template.Must(template.New("main.go").Parse(mainText))

// writeModule fills the work directory and returns where Maddy and the check come from.
func (b *Builder) writeModule(ctx context.Context, g *goCommand) (maddy, check source, err error) {
	if check, err = b.checkSource(ctx, g); err != nil {
		return maddy, check, err
	}
	if maddy, err = b.maddySource(ctx, g); err != nil {
		return maddy, check, err
	}
	mod, err := newTempModule(g.dir, maddy, check)
	if err == nil {
		err = mod.write(b.With)
	}
	for _, with := range b.With {
		if err != nil || with.Version == "" {
			continue
		}
		if _, err = g.run(ctx, "get", with.Package+"@"+with.Version); err != nil {
			err = fmt.Errorf("package %s@%s: %w", with.Package, with.Version, err)
		}
	}
	return maddy, check, err
}

type tempModule struct {
	dir  string
	file *modfile.File
	sums []byte // go.sum
	dirs int    // directories linked so far
}

// newTempModule starts from Maddy's own go.mod, since replace lines of a dependency do not count.
// The go.sum files of both modules come along: some versions cannot be verified afresh everywhere.
func newTempModule(dir string, maddy, check source) (*tempModule, error) {
	file, err := readModFile(maddy.dir)
	if err != nil {
		return nil, err
	}
	own, err := readModFile(check.dir)
	if err != nil {
		return nil, err
	}
	m := &tempModule{dir: dir, file: file, sums: newerSum}
	for _, from := range []source{maddy, check} {
		data, err := os.ReadFile(filepath.Join(from.dir, "go.sum"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		m.sums = slices.Concat(m.sums, data)
	}
	file.DropToolchainStmt()
	return m, errors.Join(file.AddModuleStmt(customPath), m.raiseGo(own), m.raise(),
		m.use(maddyPath, maddy), m.use(checkPath, check))
}

// raise takes the versions of newer.mod where Maddy asks for older ones.
func (m *tempModule) raise() error {
	newer, err := modfile.Parse("newer.mod", newerMod, nil)
	if err != nil {
		return err
	}
	for _, want := range newer.Require {
		for _, has := range m.file.Require {
			if has.Mod.Path == want.Mod.Path && semver.Compare(has.Mod.Version, want.Mod.Version) < 0 {
				err = errors.Join(err, m.file.AddRequire(want.Mod.Path, want.Mod.Version), m.raiseGo(newer))
			}
		}
	}
	return err
}

// raiseGo takes the go directive of another module if that is later.
func (m *tempModule) raiseGo(other *modfile.File) error {
	if version.Compare("go"+m.file.Go.Version, "go"+other.Go.Version) >= 0 {
		return nil
	}
	return m.file.AddGoStmt(other.Go.Version)
}

// readModFile reads the go.mod in dir. Without a go directive the go command takes 1.16.
func readModFile(dir string) (*modfile.File, error) {
	path := filepath.Join(dir, "go.mod")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("no Go module: %w", err)
	}
	file, err := modfile.Parse(path, data, nil)
	if err == nil && file.Module == nil {
		err = fmt.Errorf("%s names no module", path)
	}
	if err == nil && file.Go == nil {
		err = file.AddGoStmt("1.16")
	}
	return file, err
}

// use requires a module and pins it: without the replace line another module
// could raise the version that the operator chose.
func (m *tempModule) use(path string, from source) error {
	if from.version != "" {
		return errors.Join(m.file.AddRequire(path, from.version),
			m.file.AddReplace(path, "", path, from.version))
	}
	// The absolute path of a directory would end up in the binary and make it differ from machine to
	// machine.
	link := "dir" + strconv.Itoa(m.dirs)
	m.dirs++
	return errors.Join(os.Symlink(from.dir, filepath.Join(m.dir, link)),
		m.file.AddRequire(path, noVersion), m.file.AddReplace(path, "", "./"+link, ""))
}

// write writes go.mod, go.sum and main.go, with further packages.
func (m *tempModule) write(packages []Module) error {
	for _, with := range packages {
		if with.Dir == "" {
			continue
		}
		dir, path, err := moduleDir(with.Dir)
		if err == nil && with.Package != path && !strings.HasPrefix(with.Package, path+"/") {
			err = fmt.Errorf("it is not in the module %s of %s", path, dir)
		}
		if err == nil {
			err = m.use(path, source{dir: dir})
		}
		if err != nil {
			return fmt.Errorf("package %s: %w", with.Package, err)
		}
	}
	m.file.Cleanup()
	text, err := m.file.Format()
	var program bytes.Buffer
	err = errors.Join(err, mainFile.Execute(&program, packages))
	for name, data := range map[string][]byte{
		"go.mod": text, "go.sum": m.sums, "main.go": program.Bytes(),
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(m.dir, name), data, 0o600))
	}
	return err
}
