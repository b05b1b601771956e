package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// versions are what the linker writes into the binary, without "v".
type versions struct{ maddy, check string }

// formOfVersion keeps a version one word on the linker's command line.
var formOfVersion = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~-]*$`)

func checkVersion(v string) error {
	if v != "" && !formOfVersion.MatchString(v) {
		return fmt.Errorf("build: version %q; accepted: such as 1.2.3 or 1.2.3-rc1", v)
	}
	return nil
}

// shown is the version of the source, "" when nothing tells: that of the
// release, else what fromGit says of the directory.
func (s source) shown(ctx context.Context, fromGit func(context.Context, string) string) string {
	v := s.version
	if v == "" {
		v = fromGit(ctx, s.dir)
	}
	if checkVersion(v) != nil {
		return ""
	}
	return strings.TrimPrefix(v, "v")
}

// describe is the tag of the commit that a checkout stands on, or that commit,
// with "+dirty" after changes; "" when dir is no checkout or there is no git.
func describe(ctx context.Context, dir string) string {
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		return "" // a checkout around dir is another project's
	}
	//nolint:gosec // G204: the directory of this project
	out, err := exec.CommandContext(ctx, "git", "-C", dir, "describe", "--tags",
		"--match", "v[0-9]*", "--always", "--abbrev=12", "--dirty=+dirty").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
