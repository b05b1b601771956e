package replay

import (
	"net/mail"
	"net/netip"
	"strings"
)

// maxReceived bounds how much of one Received field is looked at, in bytes.
const maxReceived = 4 << 10

// hop is what one Received field (RFC 5321, 4.4) says about a client.
type hop struct {
	name   string // the word after "from": the greeting or the PTR name
	helo   string
	ptr    string
	state  PTRState
	client netip.Addr
	by     string // lower case, without a final dot
	with   string
	rcpt   string
	auth   bool
	exim   bool
	id     bool
	named  bool // the greeting was marked as such
	plain  bool // the address stood alone in its comment
	ptrIn  bool // a PTR name stood before the bracketed address
	date   string
}

// parseReceived reads the value of one Received field, unfolded. It knows how
// Postfix, Sendmail, Exim, qmail, Exchange, Google, Maddy and their like write
// it; ok is false when it tells of no client with an address.
func parseReceived(s string) (h hop, ok bool) {
	if i := strings.LastIndexByte(s, ';'); i >= 0 {
		s, h.date = s[:i], strings.TrimSpace(s[i+1:])
	}
	clause, words := "", 0
	for s != "" {
		token, comment, rest := nextToken(s)
		s = rest
		if token == "" {
			continue
		}
		if comment {
			h.comment(clause, token)
			continue
		}
		// The word after "from" is what the client said, a keyword or not.
		if key := strings.ToLower(token); isClause(key) && (clause == "" || words > 0) {
			clause, words = key, 0
			continue
		}
		if words++; words == 1 {
			h.word(clause, token)
		}
	}
	if h.name == "" || h.by == "" {
		return h, false
	}
	h.settle()
	return h, h.client.IsValid() && h.helo != ""
}

// isClause reports the keywords of RFC 5321, 4.4. "via" and the like matter as
// the end of the clause before.
func isClause(s string) bool {
	switch s {
	case "from", "by", "with", "id", "for", "via":
		return true
	}
	return false
}

// nextToken cuts a word or a comment (RFC 5322, 3.2.2) off s, the comment
// without its parentheses.
func nextToken(s string) (token string, comment bool, rest string) {
	s = strings.TrimLeft(s, " \t\r\n")
	if s == "" {
		return "", false, ""
	}
	if s[0] != '(' {
		i := strings.IndexAny(s, " \t\r\n(")
		if i < 0 {
			i = len(s)
		}
		return s[:i], false, s[i:]
	}
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[1:i], true, s[i+1:]
			}
		}
	}
	return s[1:], true, ""
}

// word takes the first word of a clause.
func (h *hop) word(clause, s string) {
	switch clause {
	case "from":
		h.name = s
	case "by":
		h.by = strings.ToLower(strings.TrimSuffix(s, "."))
	case "with":
		h.with = s
	case "id":
		h.id = true
	case "for":
		h.rcpt = strings.Trim(s, "<>,")
	}
}

// comment takes a comment of a clause.
func (h *hop) comment(clause, s string) {
	lower := lowerASCII(s)
	// Postfix: "Authenticated sender: u"; Sendmail: "authenticated bits=0".
	if clause != "from" || strings.HasPrefix(lower, "authenticated") {
		h.auth = h.auth || strings.HasPrefix(lower, "authenticated")
		h.exim = h.exim || strings.HasPrefix(s, "Exim ")
		return
	}
	if after, ok := cutHelo(s, lower); ok {
		h.helo, h.named = after, true
	}
	if i := strings.Index(lower, "helo="); i >= 0 {
		s = s[:i]
	}
	if strings.Contains(lower, "may be forged") {
		h.state = Unconfirmed
	}
	h.address(s)
}

// address takes "ptr [ip]", "[ip]" or "ip", the first address of a field.
func (h *hop) address(s string) {
	if h.client.IsValid() {
		return
	}
	open := strings.IndexByte(s, '[')
	if open < 0 {
		h.client, h.plain = parseAddr([]byte(s))
		return
	}
	end := strings.IndexByte(s[open:], ']')
	if end < 0 {
		return
	}
	var ok bool
	if h.client, ok = parseAddr([]byte(s[open : open+end+1])); !ok {
		return
	}
	if words := strings.Fields(s[:open]); len(words) > 0 && !h.named {
		h.ptr, h.ptrIn = words[len(words)-1], true
	}
}

// lowerASCII keeps the length of s, which strings.ToLower does not for raw
// 8-bit text: indexes into one hold for the other.
func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// cutHelo finds the greeting where it is marked: "helo=c" of Exim, "HELO c" of
// qmail and "account u HELO c" of CommuniGate.
func cutHelo(s, lower string) (string, bool) {
	for _, mark := range []string{"helo=", "helo ", "ehlo "} {
		i := strings.Index(lower, mark)
		if i < 0 || i > 0 && lower[i-1] != ' ' {
			continue
		}
		if f := strings.Fields(s[i+len(mark):]); len(f) > 0 {
			return f[0], true
		}
	}
	return "", false
}

// settle works out which of the names is the greeting and which the PTR.
func (h *hop) settle() {
	addr, isAddr := parseAddr([]byte(h.name))
	if !h.client.IsValid() && isAddr {
		h.client = addr // Exim: "from [ip] (helo=c)" or "from [ip]"
	}
	upper := strings.ToUpper(h.with)
	// ESMTPA, ESMTPSA (RFC 3848) and Exim's old asmtp.
	h.auth = h.auth || strings.Contains(upper, "SMTP") &&
		(strings.HasSuffix(upper, "A") || strings.HasPrefix(upper, "A"))
	switch {
	case h.named && isAddr:
		// Exim looked for a name. Others just write the address there.
		if strings.HasPrefix(h.name, "[") {
			h.state = None
		}
	case h.named:
		h.ptr = h.name
		h.settlePTR()
	default:
		h.helo = h.name
		h.settleUnmarked(isAddr, upper)
	}
	if h.ptr == "" && h.state == Confirmed {
		h.state = None
	}
}

// settleUnmarked handles the styles that do not say which name is which.
func (h *hop) settleUnmarked(isAddr bool, with string) {
	switch {
	case h.ptrIn: // Postfix, Sendmail, Google, Maddy: from helo (ptr [ip])
		h.settlePTR()
	case h.plain: // Exchange: from helo (ip); qmail when both agree: from ptr (ip)
		if !h.id && with == "SMTP" {
			h.ptr = h.name
			h.settlePTR()
		}
	case isAddr:
		if h.exim { // the greeting is a literal of the client's address
			h.helo, h.state = literal(h.client), None
		}
	case h.exim: // from ptr ([ip]): the greeting equals the PTR name
		h.ptr, h.state = h.name, Confirmed
	default: // Sendmail, Google, Maddy: from helo ([ip])
		h.state = None
	}
}

// settlePTR cleans the PTR name and tells names from placeholders.
func (h *hop) settlePTR() {
	// Sendmail writes an identity (RFC 1413) before the name.
	h.ptr = h.ptr[strings.LastIndexByte(h.ptr, '@')+1:]
	h.ptr = strings.TrimSuffix(h.ptr, ".")
	switch strings.ToLower(strings.Trim(h.ptr, "<>")) {
	case "", "unknown", "nxdomain", "no-ptr":
		h.ptr, h.state = "", None
	case "dnserror", "unverified":
		h.ptr, h.state = "", NotRecorded
	default:
		if h.state != Unconfirmed {
			h.state = Confirmed
		}
	}
}

func (h *hop) record() Record {
	rec := Record{
		Helo: clip(h.helo), Client: h.client, PTR: clip(h.ptr), PTRState: h.state,
		Rcpt: clip(h.rcpt), Self: clip(h.by), Count: 1, Auth: h.auth, Outcome: Accept,
	}
	if len(h.date) < 128 {
		// RFC 5322, 3.3. The zero time stands for a date nobody can read.
		if t, err := mail.ParseDate(h.date); err == nil {
			rec.Time = t
		}
	}
	return rec
}
