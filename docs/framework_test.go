package docs

import (
	"fmt"
	"go/types"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

const (
	buildPage = "build.md"
	usedHead  = "| package | names |\n| --- | --- |\n"
)

// TestFramework: docs/build.md lists what the check and the tool use of Maddy.
func TestFramework(t *testing.T) {
	page, err := os.ReadFile(buildPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), usedHead)
	_, after, closed := strings.Cut(rest, "\n\n")
	if !found || !closed {
		t.Fatal(buildPage, " has no table of packages and names")
	}
	table := usedTable(t)
	want := before + table + "\n" + after
	switch {
	case string(page) == want:
	case *update:
		if err := os.WriteFile(buildPage, []byte(want), 0o600); err != nil {
			t.Error(err)
		}
	default:
		t.Errorf("%s is out of date; -update writes it. Used are\n%s", buildPage, table)
	}
}

func usedTable(t *testing.T) string {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{
		Context: t.Context(), Dir: "..",
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles |
			packages.NeedImports | packages.NeedExportFile | packages.NeedSyntax |
			packages.NeedTypes | packages.NeedTypesInfo,
	}, "./module/...", "./cmd/helocheck/...")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]map[string]bool{} // package, names
	for _, p := range loaded {
		for _, fault := range p.Errors {
			t.Error(p.PkgPath, fault)
		}
		for _, object := range p.TypesInfo.Uses {
			path, name := nameOf(object)
			if name == "" {
				continue
			}
			if used[path] == nil {
				used[path] = map[string]bool{}
			}
			used[path][name] = true
		}
	}
	var table strings.Builder
	table.WriteString(usedHead)
	for _, path := range slices.Sorted(maps.Keys(used)) {
		names := slices.Sorted(maps.Keys(used[path]))
		fmt.Fprintf(&table, "| %s | `%s` |\n", path, strings.Join(names, "`, `"))
	}
	return table.String()
}

// nameOf is the package below Maddy's path and the name of an object in it: Name, Type.Method, or
// .Field. The name is "" for objects of others and for packages.
func nameOf(object types.Object) (path, name string) {
	if object.Pkg() == nil {
		return "", ""
	}
	path, found := strings.CutPrefix(object.Pkg().Path(), "github.com/foxcpp/maddy/")
	if !found {
		return "", ""
	}
	switch o := object.(type) {
	case *types.PkgName:
		return "", ""
	case *types.Var:
		if o.IsField() {
			return path, "." + o.Name()
		}
	case *types.Func:
		if receiver := o.Signature().Recv(); receiver != nil {
			of := types.TypeString(receiver.Type(), func(*types.Package) string { return "" })
			return path, strings.TrimPrefix(of, "*") + "." + o.Name()
		}
	}
	return path, object.Name()
}
