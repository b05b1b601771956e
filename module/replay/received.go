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

// clause is a part of a field: the words and comments behind a keyword.
type clause struct {
	key             string
	words, comments []string
}

// field is a Received field taken apart: the words and comments behind "from",
// and what the server says of itself.
type field struct {
	name     string     // the word after "from": the greeting or the PTR name
	addr     netip.Addr // that word as an address
	words    []string   // behind the name
	comments []string   // behind "from"
	own      []string   // comments behind "by" and later
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
	whole := s
	if i := strings.LastIndexByte(s, ';'); i >= 0 {
		s, h.date = s[:i], strings.TrimSpace(s[i+1:])
	}
	list := clauses(s)
	if len(list) == 1 || list[1].key != "from" {
		return h, false
	}
	// The first keyword behind "from" is "by", and it comes once: otherwise it can be part
	// of the greeting. A greeting can also open a comment, or end in front of a date.
	isBy := func(c clause) bool { return c.key == "by" }
	by := slices.IndexFunc(list, isBy)
	if by != 2 || slices.ContainsFunc(list[by+1:], isBy) || saysBy(h.date) {
		h.unclear = saysBy(whole)
		return h, h.unclear
	}
	f := h.fieldOf(list)
	if h.Self == "" || f.name == "" && len(f.comments) == 0 {
		return h, false
	}
	h.Outcome = Accepted
	h.readFrom(&f)
	h.unclear = h.unclear || h.Client.IsValid() && h.Helo == ""
	return h, h.unclear || h.Client.IsValid()
}

func saysBy(s string) bool { return slices.Contains(strings.Fields(s), "by") }

// token is a comment (RFC 5322, 3.2.2), one that nobody closes, or a word.
var token = regexp.MustCompile(
	`\((?:\\.|[^()\\]|\((?:\\.|[^()\\]|\((?:\\.|[^()\\])*\))*\))*\)|\((?s:.*)|[^\s(]+`)

// keywords are those of RFC 5321, 4.4. "via" and the like matter as the end of the
// clause before.
var keywords = regexp.MustCompile(`^(?i:from|by|with|id|for|via)$`)

// clauses takes a field apart at its keywords; the first clause stands before any. The
// word after "from" is what the client said, a keyword or not.
func clauses(s string) []clause {
	list := make([]clause, 1, 8)
	for _, s := range token.FindAllString(s, -1) {
		c := &list[len(list)-1]
		key, from := strings.ToLower(s), c.key == "from"
		switch {
		case s == "()":
		case s[0] == '(':
			if from && len(c.words) == 0 {
				c.words = append(c.words, "") // behind a comment no word is the name
			}
			c.comments = append(c.comments, strings.TrimSuffix(s[1:], ")"))
		case keywords.MatchString(s) && (key != "from" || c.key == "") && (!from || len(c.words) > 0):
			list = append(list, clause{key: key})
		default:
			c.words = append(c.words, s)
		}
	}
	return list
}

// fieldOf sorts the clauses of a field, of which the second is "from", and reads all others.
func (h *hop) fieldOf(list []clause) field {
	f := field{comments: list[1].comments}
	if words := list[1].words; len(words) > 0 {
		f.name, f.words = words[0], words[1:]
	}
	f.addr, _ = parseAddr([]byte(f.name))
	for _, c := range slices.Delete(list, 1, 2) {
		h.readOwn(&f, c)
	}
	h.Auth = h.Auth || slices.ContainsFunc(f.own, isAuth) || isAuthProtocol(h.with)
	f.exim = f.says(markExim) ||
		f.says(markHidden) && strings.HasSuffix(strings.TrimRight(h.with, "as"), "smtp")
	return f
}

// readOwn reads a clause of the server's own words.
func (h *hop) readOwn(f *field, c clause) {
	f.own = append(f.own, c.comments...)
	for _, s := range c.comments {
		if from := markEnvelope.FindStringSubmatch(s); from != nil {
			h.From = sender([]byte(from[1]))
		}
	}
	for i, s := range c.words {
		switch {
		case strings.EqualFold(s, "auth=yes"): // OpenSMTPD
			h.Auth = true
		case c.key == "for":
			if s = strings.Trim(s, "<>,"); s != "" && len(h.Rcpts) < maxRcpts {
				h.Rcpts = append(h.Rcpts, clip(s))
			}
		case i > 0:
		case c.key == "by":
			h.Self = clip(strings.ToLower(strings.TrimSuffix(s, ".")))
		case c.key == "with":
			h.with = s
		case c.key == "id":
			f.id, h.MsgID = true, clip(s)
		}
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
	// Sendmail and Maddy look for a PTR record, and leave the name out without.
	markLooksUp = regexp.MustCompile(`^(\d+\.[\d.]+/|envelope-sender <)`)
	markPort    = regexp.MustCompile(`^(port|ident)=`)
	// A look-up that failed (IIS), or that nobody has made
	markNotLooked = regexp.MustCompile(`^(RDNS failed|unverified)`)
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

// readFrom tells what stands behind "from".
func (h *hop) readFrom(f *field) {
	first := append(f.comments, "")[0]
	at := markGreeting.FindStringSubmatchIndex(first)
	switch {
	case f.addr.IsValid() && f.says(markChasquid): // from [ip] (helo)
		h.Client, h.Helo = f.addr, clip(first)
		h.unclear = len(f.comments) != 1 || len(f.words) > 0
	case at != nil:
		h.Helo = first[at[2]:at[3]]
		h.readMarked(f, strings.TrimSpace(first[:at[0]]))
	default:
		h.Helo = f.name
		h.readUnmarked(f, first)
	}
}

// readMarked reads the styles that mark the greeting. Before has what stands before the
// mark.
func (h *hop) readMarked(f *field, before string) {
	c, ahead := readClient(before)
	if ahead = ahead && c.name == ""; ahead { // Exim, Ecelerity: from ptr ([ip] helo=c)
		h.Client = c.addr
	} else { // Exim: from [ip] (port=25 helo=c), CommuniGate: from [ip] (account u HELO c)
		h.Client = f.addr
		c = h.candidates(f, true)
		h.Auth = h.Auth || c.at < 0 && strings.HasPrefix(before, "account ")
	}
	switch {
	case f.name != "" && !f.addr.IsValid(): // qmail too
		h.settlePTR(f.name, Confirmed)
	case f.exim && (ahead || f.name != "" && f.name[0] == '['):
		h.PTRState = None
	}
	h.finish(f, c, !ahead)
}

// readUnmarked reads the styles that do not say which name is which.
func (h *hop) readUnmarked(f *field, first string) {
	if f.exim || markPort.MatchString(first) { // Exim: from [ip], from [ip] (port=25)
		h.Client = f.addr
	}
	c := h.candidates(f, false)
	switch {
	case f.exim && f.addr.IsValid() && c.name == "": // a literal of the client's address
		h.Helo, h.PTRState = literal(h.Client), None
	case markNotLooked.MatchString(c.after):
	case c.name != "": // Postfix, Sendmail, Google, Maddy: from helo (ptr [ip])
		h.settlePTR(c.name, f.state(h, c))
	case c.plain && (f.id || !strings.EqualFold(h.with, "SMTP")): // Exchange: from helo (ip)
	case c.plain, f.exim: // qmail: from ptr (ip), Exim: from ptr ([ip]); the greeting equals it
		h.settlePTR(f.name, Confirmed)
	case f.marksAbsence(h, c): // from helo ([ip])
		h.PTRState = None
	}
	h.finish(f, c, c.plain || f.isGoogle(h.Self))
}

// finish reads the comments behind the client's; in earlier ones the words can be the sender's.
func (h *hop) finish(f *field, c client, masked bool) {
	behind := f.comments[min(c.at+1, len(f.comments)):]
	h.Auth = h.Auth || c.login || slices.ContainsFunc(behind, isAuth)
	h.unmask(masked)
}

// unmask restores a literal: "?192.0.2.7?" was "[192.0.2.7]".
func (h *hop) unmask(masked bool) {
	inside := strings.TrimSuffix(strings.TrimPrefix(h.Helo, "?"), "?")
	if _, ok := parseAddr([]byte(inside)); ok && len(inside) == len(h.Helo)-2 {
		h.Helo = "[" + inside + "]"
	}
	h.Helo = clip(h.Helo)
	h.Masked = masked && strings.ContainsAny(h.Helo, "?_")
}

// client is what names the client: "ptr [ip]", "[ip]:port" or "ip" in a comment.
type client struct {
	addr  netip.Addr
	at    int // index of the comment
	name  string
	after string // behind the address
	plain bool   // the address stood without brackets
	v4in6 bool
	login bool // a user stands before the address and its identity (RFC 1413)
}

// candidates looks for the client's address behind the greeting and returns the first: in
// comments, from the second on where the first marks the greeting, and alone in brackets,
// as GMX writes it.
func (h *hop) candidates(f *field, marked bool) client {
	var list []client
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
	for _, c := range list {
		h.unclear = h.unclear || h.Client.IsValid() && h.Client != c.addr || marked && c.name != ""
		h.Client = c.addr
	}
	return append(list, client{at: -1})[0]
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

func (f *field) isGoogle(by string) bool {
	return f.says(markGoogle) || strings.HasSuffix(by, ".google.com")
}

// state tells what the server says by writing a PTR name.
func (f *field) state(h *hop, c client) PTRState {
	mox := strings.HasPrefix(strings.ToUpper(h.with), "ESMTP") && len(f.own) > 0 && f.own[0][0] == '['
	switch {
	case mox:
		return NotRecorded // the name may be one that does not resolve back
	case strings.Contains(c.after, "may be forged"):
		return Unconfirmed
	}
	return Confirmed
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
