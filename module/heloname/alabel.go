package heloname

import (
	"strings"

	"golang.org/x/net/idna"
)

// hasACE tells whether a label starts with the prefix of an A-label,
// RFC 5890, 2.3.2.1.
func hasACE(label string) bool {
	return len(label) >= 4 && label[2] == '-' && label[3] == '-' &&
		label[0]|0x20 == 'x' && label[1]|0x20 == 'n'
}

// validALabels checks every label of the lower-case name s that starts with
// xn--. Labels with other letters before "--" are ordinary host names and
// in use (r3---sn-..., s1--mail), so they are not looked at.
func validALabels(s string) bool {
	for s != "" {
		label, rest, _ := strings.Cut(s, ".")
		if hasACE(label) && !validALabel(label) {
			return false
		}
		s = rest
	}
	return true
}

// validALabel tells whether label decodes to a U-label that encodes to the
// same label again, RFC 5891, 5.4 with the mapping of UTS 46.
func validALabel(label string) bool {
	u, err := idna.Lookup.ToUnicode(label)
	if err != nil {
		return false
	}
	// An A-label of nothing but ASCII (xn--abc-) does not come back as it was.
	back, err := idna.Lookup.ToASCII(u)
	return err == nil && back == label
}
