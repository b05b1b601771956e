// Package manual writes the reference, docs/check.helo_fqdn.md, as a manual
// page, so that neither can say what the other does not.
//
//	go run ./cmd/lab manual docs/check.helo_fqdn.md > check.helo_fqdn.5
package manual

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
)

// Main writes the page to stdout, in roff. It returns the exit status.
func Main(_ context.Context, args []string, stdout, stderr io.Writer) (status int) {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		fmt.Fprintln(stderr, "usage: go run ./cmd/lab manual FILE.md")
		if slices.Equal(args, []string{"-h"}) {
			return 0
		}
		return 2
	}
	page, err := os.ReadFile(args[0])
	if err == nil {
		_, err = stdout.Write(convert(string(page)))
	}
	if err != nil {
		fmt.Fprintln(stderr, "manual:", err)
		return 1
	}
	return 0
}

const head = "% \"check.helo_fqdn\" \"5\" \"\" \"\" \"Maddy, check of HELO names\"\n\n"

var (
	comment = regexp.MustCompile(`(?s)<!--.*?-->\n?`)
	title   = regexp.MustCompile(`(?m)^# .*\n|^---\n`)
	section = regexp.MustCompile(`(?m)^## .*$`)
	// local is a link to a place that is not in the manual.
	local = regexp.MustCompile(`!?\[([^\]]*)\]\([^):]*\)`)
)

// convert turns the page into roff. Sections get the capitals of a manual.
func convert(page string) []byte {
	page = comment.ReplaceAllString(page, "")
	page = title.ReplaceAllString(page, "")
	page = local.ReplaceAllString(page, "$1")
	page = section.ReplaceAllStringFunc(page, strings.ToUpper)
	return md2man.Render([]byte(head + page))
}
