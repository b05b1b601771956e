package heloname

import "strings"

// Reserved returns the longest suffix of a name under which no public mail
// server can stand. The name is lower-case ASCII without final dot. registry
// is true for names reserved by a standard or by ICANN (RFC 6761, .internal,
// reverse zones) and false for those that are private by custom or by the
// operator's word.
func (l *Lists) Reserved(ascii string) (suffix string, registry bool, ok bool) {
	l = l.orDefault()
	src := notReserved
	for end := len(ascii); end > 0; {
		end = strings.LastIndexByte(ascii[:end], '.')
		s := ascii[end+1:]
		if !l.reservedLengths.atLeast(len(s)) {
			break
		}
		if !l.reservedLengths.has(len(s)) {
			continue
		}
		if v, in := l.reserved[s]; in {
			suffix, src = s, v
		}
	}
	// A lone label is a host called home or mail, not a name below that suffix.
	lone := src == fromCustom && suffix == ascii && !strings.Contains(suffix, ".")
	if lone || src == notReserved {
		return "", false, false
	}
	return suffix, src == fromRegistry, true
}
