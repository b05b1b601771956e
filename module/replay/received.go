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
	helo   string
	ptr    string
	state  PTRState
	client netip.Addr
	by     string // lower case, without a final dot
	with   string
	rcpts  []string
	from   string // the sender's address
	msgID  string
	auth   bool
	masked bool // the server writes "?" for some octets of the greeting
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
	var f field
	if !h.split(s, &f) || h.by == "" || f.name == "" && len(f.comments) == 0 {
		return h, false
	}
	if h.unclear {
		return h, true
	}
	f.exim = f.isExim(h.with)
	h.auth = h.auth || isAuthProtocol(h.with)
	h.read(&f, strings.ToUpper(h.with))
	if h.unclear {
		return h, true
	}
	if helo, ok := strings.CutPrefix(h.helo, "?"); ok && strings.HasSuffix(helo, "?") {
		if _, ok := parseAddr([]byte(strings.TrimSuffix(helo, "?"))); ok {
			h.helo = "[" + strings.TrimSuffix(helo, "?") + "]"
		}
	}
	h.masked = h.masked && strings.ContainsAny(h.helo, "?_")
	return h, h.client.IsValid() && h.helo != ""
}

// split takes the field apart at the keywords of RFC 5321, 4.4. A field with two
// "by" is unclear: the first can be part of the greeting.
func (h *hop) split(s string, f *field) bool {
	clause, words := "", 0
	for s != "" {
		token, comment, rest := nextToken(s)
		s = rest
		key := strings.ToLower(token)
		switch {
		case token == "":
		case comment && clause == "from":
			f.comments = append(f.comments, token)
			words++
		case comment:
			f.own = append(f.own, token)
			h.ownComment(token)
		// The word after "from" is what the client said, a keyword or not.
		case isClause(key) && (clause == "" || words > 0):
			if clause == "" && key != "from" {
				return false
			}
			if key == "by" && h.by != "" {
				h.unclear = true
				return true
			}
			clause, words = key, 0
		default:
			words++
			h.word(f, clause, token, words)
		}
	}
	return true
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
		h.auth = true
	case clause == "from" && n == 1:
		f.name = s
	case clause == "from":
		f.words = append(f.words, s)
	case clause == "for":
		if s = strings.Trim(s, "<>,"); s != "" && len(h.rcpts) < maxRcpts {
			h.rcpts = append(h.rcpts, clip(s))
		}
	case n > 1:
	case clause == "by":
		h.by = strings.ToLower(strings.TrimSuffix(s, "."))
	case clause == "with":
		h.with = s
	case clause == "id":
		f.id, h.msgID = true, clip(s)
	}
}

// ownComment reads a comment behind "by", where the sender's words do not reach.
func (h *hop) ownComment(s string) {
	h.auth = h.auth || isAuth(lowerASCII(s))
	for _, mark := range []string{"envelope-from <", "envelope-sender <"} {
		if after, ok := strings.CutPrefix(s, mark); ok {
			if h.from = clip(strings.TrimSuffix(after, ">")); h.from == "" {
				h.from = NullSender
			}
		}
	}
}

// isAuthProtocol tells ESMTPA, ESMTPSA (RFC 3848) and Exim's old asmtp.
func isAuthProtocol(with string) bool {
	with = strings.ToUpper(with)
	return strings.Contains(with, "SMTP") &&
		(strings.HasSuffix(with, "A") || strings.HasPrefix(with, "A"))
}

// isAuth reports how servers write in a comment that the client has logged in:
// "Authenticated sender: u", "authenticated bits=0", "AUTH: LOGIN u", "account u".
func isAuth(lower string) bool {
	for _, mark := range []string{"auth", "account ", "smtp-auth", "smtp auth", "sasl", "login "} {
		if strings.HasPrefix(lower, mark) {
			return !strings.HasPrefix(lower, "auth=no")
		}
	}
	return false
}

// isExim reports Exim by its name, or by the form of its field where an operator
// has hidden the name.
func (f *field) isExim(with string) bool {
	for _, s := range f.own {
		if strings.HasPrefix(s, "Exim ") || strings.HasPrefix(s, "envelope-from <") &&
			strings.HasSuffix(strings.TrimRight(with, "as"), "smtp") {
			return true
		}
	}
	return false
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

// cutHelo finds the greeting where a comment marks it: "helo=c" of Exim, "HELO c"
// of qmail and "account u HELO c" of CommuniGate. Before has what stands before.
func cutHelo(s string) (before, helo string, ok bool) {
	lower := lowerASCII(s)
	for _, mark := range []string{"helo=", "helo ", "ehlo "} {
		i := strings.Index(lower, mark)
		if i < 0 || i > 0 && lower[i-1] != ' ' {
			continue
		}
		if said := strings.Fields(s[i+len(mark):]); len(said) > 0 {
			return strings.TrimSpace(s[:i]), said[0], true
		}
	}
	return s, "", false
}

// read finds out what the words behind "from" are.
//
//nolint:cyclop // one case a server
func (h *hop) read(f *field, with string) {
	nameAddr, isAddr := parseAddr([]byte(f.name))
	var before string
	marked := false
	if len(f.comments) > 0 {
		before, h.helo, marked = cutHelo(f.comments[0])
	}
	if c, ok := readClient(before); marked && ok && c.name == "" {
		// Exim, Ecelerity: from ptr ([ip] helo=c). The address comes first.
		h.client, h.ptr = c.addr, f.name
		h.auth = h.auth || f.auth(1)
		if isAddr || f.name == "" {
			h.ptr = ""
			h.absent(f.exim)
			return
		}
		h.settlePTR()
		return
	}
	if isAddr && (marked || len(f.comments) == 0 && f.exim || isPort(before)) {
		h.client = nameAddr // Exim: from [ip] (port=25 helo=c), from [ip]
	}
	c, at := h.candidates(f, marked)
	if h.unclear || !h.client.IsValid() {
		return
	}
	h.auth = h.auth || f.auth(at+1) || marked && at < 0 && strings.HasPrefix(before, "account ")
	h.masked = marked || c.plain || isGoogle(f, h.by)
	switch {
	case marked && isAddr:
		h.absent(f.exim && strings.HasPrefix(f.name, "["))
	case marked:
		h.ptr = f.name // qmail
		h.settlePTR()
	case isAddr && f.exim && c.name == "": // the greeting is a literal of the client's address
		h.helo = literal(h.client)
		h.absent(true)
	default:
		h.helo = f.name
		h.readUnmarked(f, c, with)
	}
}

func isPort(comment string) bool {
	return strings.HasPrefix(comment, "port=") || strings.HasPrefix(comment, "ident=")
}

// absent notes that the server wrote no PTR name; looked says whether it had.
func (h *hop) absent(looked bool) {
	if looked {
		h.state = None
	}
}

// candidates looks for the client's address behind the greeting: in comments,
// and alone in brackets, as GMX writes it. It returns the first and the index of
// its comment.
func (h *hop) candidates(f *field, marked bool) (first client, at int) {
	at = -1
	found := h.client
	try := func(c client, i int) {
		switch {
		case found.IsValid() && found != c.addr || marked && c.name != "":
			h.unclear = true
		case !h.client.IsValid() || at < 0:
			first, at = c, i
		}
		found, h.client = c.addr, c.addr
	}
	for i, s := range f.comments {
		if i == 0 && marked {
			continue
		}
		if c, ok := readClient(s); ok {
			try(c, i)
		}
	}
	for _, s := range f.words {
		if a, ok := parseAddr([]byte(s)); ok && s[0] == '[' {
			try(client{addr: a}, len(f.comments))
		}
	}
	h.auth = h.auth || first.users > 1
	return first, at
}

// auth reports a login that a comment from the nth on tells of. In earlier ones
// the words can be the sender's.
func (f *field) auth(n int) bool {
	for i := n; i < len(f.comments); i++ {
		if isAuth(lowerASCII(f.comments[i])) {
			return true
		}
	}
	return false
}

// client is a comment that names the client: "ptr [ip]", "[ip]:port" or "ip".
type client struct {
	addr  netip.Addr
	name  string
	after string // behind the address
	plain bool   // the address stood without brackets
	v4in6 bool
	users int // marks of an identity (RFC 1413) or a login before the address
}

func readClient(s string) (c client, ok bool) {
	open := strings.IndexByte(s, '[')
	if open < 0 { // "ip", "ident@ip"
		c.users = strings.Count(s, "@")
		c.addr, ok = parseAddr([]byte(s[strings.LastIndexByte(s, '@')+1:]))
		c.plain = true
		return c, ok
	}
	end := strings.IndexByte(s[open:], ']')
	words := strings.Fields(s[:open])
	if end < 0 || len(words) > 1 {
		return c, false
	}
	in := s[open+1 : open+end]
	if c.addr, ok = parseAddr([]byte(in)); !ok {
		c.addr, ok = addrPort([]byte(in)) // Ecelerity: "[192.0.2.8:50387]"
	}
	c.v4in6 = strings.HasPrefix(in, "::ffff:")
	c.after = strings.TrimSpace(s[open+end+1:])
	if len(words) > 0 && words[0][len(words[0])-1] != '@' {
		c.name = words[0]
	}
	return c, ok
}

// readUnmarked handles the styles that do not say which name is which.
func (h *hop) readUnmarked(f *field, c client, with string) {
	failed := strings.HasPrefix(c.after, "RDNS failed") || strings.HasPrefix(c.after, "unverified")
	switch {
	case c.name != "" && !failed: // Postfix, Sendmail, Google, Maddy: from helo (ptr [ip])
		h.ptr = c.name
		if strings.Contains(c.after, "may be forged") {
			h.state = Unconfirmed
		}
		h.settlePTR()
		if f.isMox(h) && h.ptr != "" {
			h.state = NotRecorded // the name may be one that does not resolve back
		}
	case c.plain: // Exchange: from helo (ip); qmail when both agree: from ptr (ip)
		if !f.id && with == "SMTP" {
			h.ptr = f.name
			h.settlePTR()
		}
	case f.exim && !failed: // from ptr ([ip]): the greeting equals the PTR name
		h.ptr = f.name
		h.settlePTR()
	case !failed: // from helo ([ip])
		h.absent(f.marksAbsence(h, c))
	}
}

func (f *field) isMox(h *hop) bool {
	return strings.HasPrefix(strings.ToUpper(h.with), "ESMTP") && len(f.own) > 0 &&
		strings.HasPrefix(f.own[0], "[")
}

// marksAbsence reports the servers that look for a PTR record and leave the name
// out where there is none. Others leave it out for other reasons: mox where it
// equals the greeting, CommuniGate, IIS and chasquid always or when they like.
func (f *field) marksAbsence(h *hop, c client) bool {
	for _, s := range f.own {
		version, _, _ := strings.Cut(s, "/")
		numbers := strings.ReplaceAll(version, ".", "")
		sendmail := version != s && numbers != version && digits([]byte(numbers))
		if sendmail || strings.HasPrefix(s, "envelope-sender <") { // Maddy
			return true
		}
	}
	courier := c.v4in6 && strings.HasPrefix(h.with, "esmtp")
	return courier || isGoogle(f, h.by)
}

func isGoogle(f *field, by string) bool {
	for _, s := range f.own {
		if strings.HasPrefix(s, "version=") && strings.Contains(s, " bits=") {
			return true
		}
	}
	return strings.HasSuffix(by, ".google.com")
}

// settlePTR cleans the PTR name and tells names from placeholders.
func (h *hop) settlePTR() {
	// Sendmail writes an identity (RFC 1413) before the name.
	name := strings.Trim(h.ptr[strings.LastIndexByte(h.ptr, '@')+1:], "<>")
	name = strings.TrimSuffix(name, ".")
	h.ptr = ""
	switch strings.ToLower(name) {
	case "", "unknown", "nxdomain", "no-ptr":
		h.state = None
		return
	}
	state := Confirmed
	if h.state == Unconfirmed {
		state = Unconfirmed
	}
	var rec Record
	rec.setPTR([]byte(name), state)
	h.ptr, h.state = rec.PTR, rec.PTRState
}

func (h *hop) record() Record {
	rec := Record{
		Helo: clip(h.helo), Masked: h.masked, Client: h.client, PTR: h.ptr, PTRState: h.state,
		From: h.from, Rcpts: h.rcpts, Self: clip(h.by), MsgID: h.msgID, Count: 1, Auth: h.auth,
		Outcome: Accepted,
	}
	if len(h.date) < 128 {
		// RFC 5322, 3.3. The zero time stands for a date nobody can read.
		if t, err := mail.ParseDate(h.date); err == nil {
			rec.Time = t
		}
	}
	return rec
}
