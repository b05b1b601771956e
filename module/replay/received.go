package replay

import (
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// maxReceived bounds how much of one Received field is looked at, in bytes.
const maxReceived = 4 << 10

// hop is what one Received field (RFC 5321, 4.4) says about a client.
type hop struct {
	Record // Self is the host behind "by"
	with   string
	date   string
	// unclear: the greeting makes the field readable in more than one way. The
	// fields below it in the mail can be the sender's.
	unclear bool
}

// field is a Received field taken apart: the words and comments behind "from",
// and what the server says of itself.
type field struct {
	name     string   // the word after "from": the greeting or the PTR name
	comments []string // behind "from"
	words    []string // behind the name
	own      []string // comments behind "by" and later
	keywords []string
	id       bool
	exim     bool
}

// parseReceived reads the value of one Received field, unfolded. It knows how
// Postfix, Sendmail, Exim, qmail, Exchange, Google, Maddy and their like write
// it; ok is false when it tells of no client with an address.
//
// The client's address never comes from the greeting: where the server puts it
// behind the greeting, two different addresses make the field unclear.
func parseReceived(s string) (h hop, ok bool) {
	if i := strings.LastIndexByte(s, ';'); i >= 0 {
		s, h.date = s[:i], strings.TrimSpace(s[i+1:])
		h.unclear = strings.Contains(h.date, " by ") // the last ";" was not the server's
	}
	h.Outcome = Accepted
	var f field
	if !h.split(s, &f) {
		return h, false
	}
	if h.unclear {
		return h, true
	}
	if h.Self == "" || f.name == "" && len(f.comments) == 0 {
		return h, false
	}
	h.Auth = h.Auth || isAuthProtocol(h.with)
	f.exim = f.isExim(h.with)
	h.readFrom(&f)
	if h.unclear {
		return h, true
	}
	h.unmask()
	return h, h.Client.IsValid() && h.Helo != ""
}

// readFrom tells what stands behind "from".
func (h *hop) readFrom(f *field) {
	first := ""
	if len(f.comments) > 0 {
		first = f.comments[0]
	}
	if addr, ok := parseAddr([]byte(f.name)); ok && f.says(markChasquid) {
		h.Client, h.Helo = addr, first // from [ip] (helo)
		h.unclear = len(f.comments) != 1 || len(f.words) > 0
	} else if at := markGreeting.FindStringSubmatchIndex(first); at != nil {
		h.Helo, h.Masked = first[at[2]:at[3]], true
		h.unclear = h.Helo == ""
		h.readMarked(f, strings.TrimSpace(first[:at[0]]))
	} else {
		h.readUnmarked(f, first)
	}
}

// unmask restores a literal: "?192.0.2.7?" was "[192.0.2.7]".
func (h *hop) unmask() {
	inside := strings.TrimSuffix(strings.TrimPrefix(h.Helo, "?"), "?")
	if _, ok := parseAddr([]byte(inside)); ok && len(inside) == len(h.Helo)-2 {
		h.Helo = "[" + inside + "]"
	}
	h.Helo = clip(h.Helo)
	h.Masked = h.Masked && strings.ContainsAny(h.Helo, "?_")
}

// split takes the field apart at the keywords of RFC 5321, 4.4. The first keyword behind
// "from" is "by", and it comes once: otherwise it can be part of the greeting.
func (h *hop) split(s string, f *field) bool {
	clause, words := "", 0
	for s != "" {
		token, comment, rest := nextToken(s)
		s = rest
		key := strings.ToLower(token)
		switch {
		case token == "":
		case comment:
			if h.comment(f, clause, token); clause == "from" {
				words++
			}
		// The word after "from" is what the client said, a keyword or not.
		case isClause(key) && (key != "from" || clause == "") && (clause != "from" || words > 0):
			f.keywords = append(f.keywords, key)
			clause, words = key, 0
		default:
			words++
			h.word(f, clause, token, words)
		}
	}
	by := slices.Index(f.keywords, "by")
	if by < 0 || f.keywords[0] != "from" {
		return false
	}
	h.unclear = h.unclear || by > 1 || slices.Contains(f.keywords[by+1:], "by")
	return true
}

// comment reads a comment. Behind "by" it is the server's own.
func (h *hop) comment(f *field, clause, s string) {
	if clause == "from" {
		f.comments = append(f.comments, s)
		return
	}
	f.own = append(f.own, s)
	h.Auth = h.Auth || isAuth(s)
	if from := markEnvelope.FindStringSubmatch(s); from != nil {
		h.From = sender([]byte(from[1]))
	}
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

// word takes a word of a clause, the nth of it.
func (h *hop) word(f *field, clause, s string, n int) {
	switch {
	case strings.EqualFold(s, "auth=yes") && clause != "from": // OpenSMTPD
		h.Auth = true
	case clause == "from" && n == 1:
		f.name = s
	case clause == "from":
		f.words = append(f.words, s)
	case clause == "for":
		if s = strings.Trim(s, "<>,"); s != "" && len(h.Rcpts) < maxRcpts {
			h.Rcpts = append(h.Rcpts, clip(s))
		}
	case n > 1:
	case clause == "by":
		h.Self = clip(strings.ToLower(strings.TrimSuffix(s, ".")))
	case clause == "with":
		h.with = s
	case clause == "id":
		f.id, h.MsgID = true, clip(s)
	}
}

// isAuthProtocol tells ESMTPA, ESMTPSA (RFC 3848) and Exim's old asmtp.
func isAuthProtocol(with string) bool {
	with = strings.ToUpper(with)
	return strings.Contains(with, "SMTP") &&
		(strings.HasSuffix(with, "A") || strings.HasPrefix(with, "A"))
}

// Marks in comments. Behind "by" the sender's words do not reach.
var (
	// "Authenticated sender: u", "authenticated bits=0", "AUTH: LOGIN u", "account u"
	markAuth   = regexp.MustCompile(`(?i)^(auth|account |smtp[- ]auth|sasl|login )`)
	markNoAuth = regexp.MustCompile(`(?i)^auth=no`)
	// "helo=c" of Exim, "HELO c" of qmail, "account u HELO c" of CommuniGate
	markGreeting = regexp.MustCompile(`(?i)(?:^|\s)(?:helo=|(?:helo|ehlo)(?:\s|$))\s*(\S*)`)
	markEnvelope = regexp.MustCompile(`^envelope-(?:from|sender) (<.*>)`)
	markExim     = regexp.MustCompile(`^Exim `)
	markHidden   = regexp.MustCompile(`^envelope-from <`) // Exim without its name
	markChasquid = regexp.MustCompile(`^chasquid$`)
	markGoogle   = regexp.MustCompile(`^version=.* bits=`)
	markMox      = regexp.MustCompile(`^\[`)
	// Sendmail and Maddy look for a PTR record, and leave the name out without.
	markLooksUp = regexp.MustCompile(`^(\d+\.[\d.]+/|envelope-sender <)`)
	// "ptr [ip]", "[ip]:port"
	markClient = regexp.MustCompile(`^\s*([^\s\[]*)\s*\[([^\]]*)\]\s*(.*)`)
)

func isAuth(comment string) bool {
	return markAuth.MatchString(comment) && !markNoAuth.MatchString(comment)
}

// says reports a comment behind "by" with such a mark.
func (f *field) says(mark *regexp.Regexp) bool {
	return slices.ContainsFunc(f.own, mark.MatchString)
}

// isExim reports Exim by its name, or by the form of its field where an operator
// has hidden the name.
func (f *field) isExim(with string) bool {
	return f.says(markExim) ||
		f.says(markHidden) && strings.HasSuffix(strings.TrimRight(with, "as"), "smtp")
}

func (f *field) isGoogle(by string) bool {
	return f.says(markGoogle) || strings.HasSuffix(by, ".google.com")
}

// readMarked reads the styles that mark the greeting. Before has what stands before the
// mark.
func (h *hop) readMarked(f *field, before string) {
	addr, isAddr := parseAddr([]byte(f.name))
	looked := f.exim
	at := 0
	if c, ok := readClient(before); ok && c.name == "" {
		h.Client = c.addr // Exim, Ecelerity: from ptr ([ip] helo=c). The address comes first.
		h.Masked = false
	} else {
		if isAddr { // Exim: from [ip] (port=25 helo=c), CommuniGate: from [ip] (account u HELO c)
			h.Client = addr
		}
		if at = h.candidates(f, true).at; h.unclear || !h.Client.IsValid() {
			return
		}
		h.Auth = h.Auth || at < 0 && strings.HasPrefix(before, "account ")
		looked = looked && strings.HasPrefix(f.name, "[")
	}
	h.Auth = h.Auth || f.auth(at+1)
	switch {
	case !isAddr && f.name != "": // qmail too
		h.settlePTR(f.name, Confirmed)
	case looked:
		h.PTRState = None
	}
}

// readUnmarked reads the styles that do not say which name is which.
func (h *hop) readUnmarked(f *field, first string) {
	addr, isAddr := parseAddr([]byte(f.name))
	if isAddr && (f.exim || isPort(first)) { // Exim: from [ip], from [ip] (port=25)
		h.Client = addr
	}
	c := h.candidates(f, false)
	if h.unclear || !h.Client.IsValid() {
		return
	}
	h.Auth = h.Auth || f.auth(c.at+1)
	h.Masked = c.plain || f.isGoogle(h.Self)
	h.Helo = f.name
	if isAddr && f.exim && c.name == "" { // the greeting is a literal of the client's address
		h.Helo, h.PTRState = literal(h.Client), None
		return
	}
	if !strings.HasPrefix(c.after, "RDNS failed") && !strings.HasPrefix(c.after, "unverified") {
		h.readPTR(f, c)
	}
}

// readPTR finds the PTR name beside a client's address.
func (h *hop) readPTR(f *field, c client) {
	switch {
	case c.name != "": // Postfix, Sendmail, Google, Maddy: from helo (ptr [ip])
		state := Confirmed
		if strings.Contains(c.after, "may be forged") {
			state = Unconfirmed
		}
		h.settlePTR(c.name, state)
		if f.isMox(h) && h.PTR != "" {
			h.PTRState = NotRecorded // the name may be one that does not resolve back
		}
	case c.plain: // Exchange: from helo (ip); qmail when both agree: from ptr (ip)
		if !f.id && strings.EqualFold(h.with, "SMTP") {
			h.settlePTR(f.name, Confirmed)
		}
	case f.exim: // from ptr ([ip]): the greeting equals the PTR name
		h.settlePTR(f.name, Confirmed)
	case f.marksAbsence(h, c): // from helo ([ip])
		h.PTRState = None
	}
}

func isPort(comment string) bool {
	return strings.HasPrefix(comment, "port=") || strings.HasPrefix(comment, "ident=")
}

// candidates looks for the client's address behind the greeting and returns the first.
func (h *hop) candidates(f *field, marked bool) client {
	list := f.clients(marked)
	for _, c := range list {
		h.unclear = h.unclear || h.Client.IsValid() && h.Client != c.addr || marked && c.name != ""
		h.Client = c.addr
	}
	if len(list) == 0 {
		return client{at: -1}
	}
	h.Auth = h.Auth || list[0].login
	return list[0]
}

// clients returns the addresses in comments, from the second on where the first marks
// the greeting, and those alone in brackets, as GMX writes them.
func (f *field) clients(marked bool) (list []client) {
	for i, s := range f.comments {
		if c, ok := readClient(s); ok && (i > 0 || !marked) {
			c.at = i
			list = append(list, c)
		}
	}
	for _, s := range f.words {
		if a, ok := parseAddr([]byte(s)); ok && s[0] == '[' && s[len(s)-1] == ']' {
			list = append(list, client{addr: a, at: len(f.comments)})
		}
	}
	return list
}

// auth reports a login that a comment from the nth on tells of. In earlier ones
// the words can be the sender's.
func (f *field) auth(n int) bool {
	for i := n; i < len(f.comments); i++ {
		if isAuth(f.comments[i]) {
			return true
		}
	}
	return false
}

// client is a comment that names the client: "ptr [ip]", "[ip]:port" or "ip".
type client struct {
	addr  netip.Addr
	at    int // index of the comment
	name  string
	after string // behind the address
	plain bool   // the address stood without brackets
	v4in6 bool
	login bool // a user stands before the address and its identity (RFC 1413)
}

func readClient(s string) (c client, ok bool) {
	parts := markClient.FindStringSubmatch(s)
	if parts == nil { // "ip", "ident@ip"
		c.login, c.plain = strings.Count(s, "@") > 1, true
		c.addr, ok = parseAddr([]byte(s[strings.LastIndexByte(s, '@')+1:]))
		return c, ok
	}
	if !strings.HasSuffix(parts[1], "@") {
		c.name = parts[1]
	}
	c.v4in6, c.after = strings.HasPrefix(parts[2], "::ffff:"), parts[3]
	c.addr, ok = addrPort([]byte(parts[2])) // Ecelerity: "[192.0.2.8:50387]"
	return c, ok
}

func (f *field) isMox(h *hop) bool {
	return strings.HasPrefix(strings.ToUpper(h.with), "ESMTP") && len(f.own) > 0 &&
		markMox.MatchString(f.own[0])
}

// marksAbsence reports the servers that look for a PTR record and leave the name
// out where there is none. Others leave it out for other reasons: mox where it
// equals the greeting, CommuniGate, IIS and chasquid always or when they like.
func (f *field) marksAbsence(h *hop, c client) bool {
	courier := c.v4in6 && strings.HasPrefix(h.with, "esmtp")
	return courier || f.says(markLooksUp) || f.isGoogle(h.Self)
}

// settlePTR notes a PTR name. Sendmail writes an identity (RFC 1413) before it.
func (h *hop) settlePTR(name string, state PTRState) {
	name = strings.Trim(name[strings.LastIndexByte(name, '@')+1:], "<>")
	switch strings.ToLower(strings.TrimSuffix(name, ".")) {
	case "", "unknown", "nxdomain", "no-ptr":
		h.PTRState = None
	default:
		h.setPTR([]byte(name), state)
	}
}

// setTime notes the date (RFC 5322, 3.3). The zero time stands for one that nobody can read.
func (h *hop) setTime() {
	if t, err := mail.ParseDate(h.date); err == nil && len(h.date) < 128 {
		h.Time = t
	}
}
