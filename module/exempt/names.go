package exempt

import (
	"context"
	"iter"
	"strings"

	"maddy.example/checkhelo/module/heloname"
)

// maxParents is the number of parents of one name that are looked up at most: a
// client may put any number of labels in front of a domain.
const maxParents = 8

func anyValue(string) bool { return true }

// search looks up name and then, unless alone is true, its parents in t and
// reports whether one of the found values satisfies want.
//
// Only host names are looked up: other octets could make a table fail
// (PostgreSQL rejects NUL and broken UTF-8), and a failed table exempts.
func (l *List) search(
	ctx context.Context, t Table, name string, alone bool, want func(value string) bool,
) (bool, error) {
	if t == nil {
		return false, nil
	}
	for entry := range Ancestry(heloname.Parse(name).ASCII) {
		value, found, err := l.lookup(ctx, t, entry)
		if err != nil {
			return false, err
		}
		if found && want(value) {
			return true, nil
		}
		if alone {
			break
		}
	}
	return false, nil
}

// Ancestry yields name and then its parents, nearest first and each with a
// leading dot: a.example.org, .example.org, .org. Of more than 8 parents it
// yields those nearest to the root.
func Ancestry(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if name == "" || !yield(name) {
			return
		}
		for parents := strings.Count(name, "."); ; parents-- {
			dot := strings.IndexByte(name[1:], '.')
			if dot < 0 {
				return
			}
			name = name[1+dot:]
			if parents <= maxParents && !yield(name) {
				return
			}
		}
	}
}
