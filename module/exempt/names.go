package exempt

import (
	"context"
	"strings"
)

const (
	// maxName is the octets of a domain name in text form (RFC 1035, 2.3.4).
	maxName = 253
	// maxParents bounds the look-ups that one name can cause; the client
	// chooses how many labels it has. Parents nearest to the root are kept.
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
	skip := strings.Count(key, ".") - maxParents
	for first := true; ; first, skip = false, skip-1 {
		if first || skip < 0 {
			value, found, err := t.Lookup(ctx, key)
			if err != nil {
				return false, err
			}
			if found && want(value) {
				return true, nil
			}
		}
		dot := strings.IndexByte(key[1:], '.')
		if dot < 0 {
			return false, nil
		}
		key = key[1+dot:]
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
