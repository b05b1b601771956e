package heloname

import "strings"

// minShared is the least length in octets of a label that shows two domains
// to be of one house: shorter ones (mail, it, web) are in everybody's names.
const minShared = 4

// Related tells whether the HELO name and the PTR name look like two domains
// of one house: the first label of one organisational domain holds that of
// the other (example.co.uk, example-mail.net), the HELO name's is a label of
// the PTR name (example.org, example.isp.net), or the hosts have the same
// distinctive first label (mail5.example.org, mail5.example.net). Both names
// are lower-case ASCII without final dot. It does not allocate.
func Related(helo, ptr string) bool {
	x, y := firstLabel(OrgDomain(helo)), firstLabel(OrgDomain(ptr))
	switch {
	case len(x) < minShared:
	case hasLabel(ptr, x), strings.Contains(y, x):
		return true
	case len(y) >= minShared && strings.Contains(x, y):
		return true
	}
	host := firstLabel(helo)
	return host == firstLabel(ptr) && hasDigit(host) && hasWord(host)
}

func firstLabel(s string) string {
	label, _, _ := strings.Cut(s, ".")
	return label
}

func hasLabel(name, label string) bool {
	for part := range strings.SplitSeq(name, ".") {
		if part == label {
			return true
		}
	}
	return false
}

// hasWord tells whether s has three letters in a row.
func hasWord(s string) bool {
	for _, run := range letterRuns(s) {
		if len(run) >= 3 {
			return true
		}
	}
	return false
}
