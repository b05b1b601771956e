package heloname

// Sets of characters, to be joined with "|".
const (
	lowerChar = 1 << iota
	digitChar
	hyphenChar
	hexChar // lower-case hexadecimal digits

	ldh = lowerChar | digitChar | hyphenChar
)

var charSets = func() (t [256]uint8) {
	for c := range t {
		switch classes[c] {
		case classLower:
			t[c] = lowerChar
		case classDigit:
			t[c] = digitChar
		case classHyphen:
			t[c] = hyphenChar
		}
		if hexValue(byte(c)) < 16 && classes[c] != classUpper {
			t[c] |= hexChar
		}
	}
	return t
}()

// isRun tells whether s has at least low and at most high octets, all of set.
func isRun(s string, set uint8, low, high int) bool {
	if len(s) < low || len(s) > high {
		return false
	}
	for i := range len(s) {
		if charSets[s[i]]&set == 0 {
			return false
		}
	}
	return true
}

// lengths is a set of lengths in octets; those from 63 on count as one. A
// look at it spares the look into a map.
type lengths uint64

func (l *lengths) add(n int)     { *l |= 1 << min(n, 63) }
func (l lengths) has(n int) bool { return l>>min(n, 63)&1 != 0 }

// atLeast tells whether a length of n or more is in the set.
func (l lengths) atLeast(n int) bool { return l>>min(n, 63) != 0 }
