package exempt

import (
	"context"
	"iter"
	"strings"
)

const (
	// maxName is the octets of a domain name in text form (RFC 1035, 2.3.4).
	maxName = 253
	// maxParents bounds the look-ups that one name can cause: a client may put any number of labels
	// in front of a domain.
	maxParents = 8
)

func anyValue(string) bool { return true }

// search looks for name and then its parents in t and reports whether one of
// the values found satisfies want.
//
// Only host names are looked up: an argument with other octets could make a
// table fail (PostgreSQL refuses NUL and broken UTF-8), and a failing table
// lets the client pass.
func search(
	ctx context.Context, t Table, name string, want func(value string) bool,
) (bool, error) {
	if t == nil {
		return false, nil
	}
	key := strings.ToLower(strings.TrimSuffix(name, "."))
	if !isHostName(key) {
		return false, nil
	}
	for entry := range Ancestry(key) {
		value, found, err := t.Lookup(ctx, entry)
		if err != nil {
			return false, err
		}
		if found && want(value) {
			return true, nil
		}
	}
	return false, nil
}

// Ancestry yields name and then its parents, nearest first and each with a dot in front:
// a.example.org, .example.org, .org. Of more than 8 parents it yields those nearest to the root.
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

// isHostName reports whether key is made of lower-case letters, digits,
// hyphens, underscores and dots, with no empty label.
func isHostName(key string) bool {
	if key == "" || len(key) > maxName {
		return false
	}
	label := 0
	for i := range len(key) {
		switch c := key[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			label++
		default:
			return false
		}
	}
	return label > 0
}
