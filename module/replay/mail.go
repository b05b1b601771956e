package replay

import (
	"bytes"
	"cmp"
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"maddy.example/checkhelo/module/heloname"
)

// readMbox reads an mbox (RFC 4155). Some programs do not quote "From " in body lines.
// So a separator line must have a date, and must follow a blank line.
func (r *run) readMbox() error {
	_, _, err := r.next() // the first separator
	for err == nil {
		if err = r.readMail(); err == nil {
			err = r.skipBody()
		}
	}
	return err
}

// skipBody reads up to and including the next separator line.
func (r *run) skipBody() error {
	blank := true
	for {
		line, _, err := r.next()
		if err != nil || blank && len(line) > 0 && line[0] == 'F' && fromLine.Match(line) {
			return err
		}
		blank = len(line) == 0 && line != nil
	}
}

// readMail reads the header of a mail, and hands out the greeting at the border: the newest
// hop at which mail came in from outside.
func (r *run) readMail() error {
	var border *hop
	var from, id string
	err := r.readHeader(func(name, value string) {
		switch name {
		case "return-path":
			from = sender([]byte(strings.TrimSpace(value)))
		case "message-id":
			id = text(strings.Trim(value, " \t<>"))
		case "received":
			if border != nil {
				return
			}
			if h, ok := parseReceived(value); ok && h.outside() && (h.unclear || r.isBorder(&h)) {
				border = &h
			}
		}
	})
	if border == nil || border.unclear {
		r.st.Skipped[SkippedBorder]++
		return err
	}
	border.From, border.MsgID = cmp.Or(border.From, from), cmp.Or(id, border.MsgID)
	r.hand(&border.Record)
	return err
}

// readHeader calls take for each field, with its name in lower case, up to the blank line
// that ends the header.
func (r *run) readHeader(take func(name, value string)) (err error) {
	var field []byte
	for ended := false; !ended; {
		line, cut, readErr := r.next()
		if bytes.IndexAny(line, " \t") == 0 { // folded, RFC 5322, 2.2.3
			if len(field)+len(line) <= maxReceived {
				field = append(field, line...)
			}
			continue
		}
		name, value, _ := strings.Cut(string(field), ":")
		take(strings.ToLower(name), value)
		field = append(field[:0], line[:min(len(line), maxReceived)]...)
		if cut {
			r.st.Broken++
		}
		ended, err = readErr != nil || len(line) == 0 && !cut, readErr
	}
	return err
}

// outside reports whether the hop can be where mail came in from outside: by
// SMTP (not LMTP, a pick-up or a fetch by POP) and from a public address.
func (h *hop) outside() bool {
	a := h.Client
	smtp := h.with == "" || h.with == "Microsoft" || strings.Contains(strings.ToUpper(h.with), "SMTP")
	return smtp && (h.unclear || a.IsGlobalUnicast() && !a.IsPrivate() && !sharedSpace.Contains(a))
}

// sharedSpace is the address space of carrier-grade NAT (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isBorder reports whether Options.By names the receiving host of h. If By is empty, isBorder
// reports whether the client belongs to another organisation than the receiver. It compares the
// PTR name that the receiver found, since the greeting proves nothing.
func (r *run) isBorder(h *hop) bool {
	if len(r.opt.By) == 0 {
		return h.PTRState != Confirmed || !heloname.SameOrg(strings.ToLower(h.PTR), h.Self)
	}
	return slices.ContainsFunc(r.opt.By, func(host string) bool {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		return host == h.Self || strings.HasPrefix(host, ".") && strings.HasSuffix(h.Self, host)
	})
}

// maxReceived bounds how much of one Received field is looked at, in bytes.
const maxReceived = 4 << 10

// hop is what one Received field (RFC 5321, 4.4) says about a client.
type hop struct {
	Record // Self is the host after "by"
	with   string
	// unclear: because of the greeting, the field can be read in more than one
	// way. The sender may have forged the fields below it in the mail.
	unclear bool
}

// Server programs, matched by the text from "by" on, which the sender cannot change.
var (
	anyServer = regexp.MustCompile(``)
	chasquid  = regexp.MustCompile(`\(chasquid\)`)
	exim      = regexp.MustCompile(`\(Exim |with \S*smtp[as]* (.* )?\(envelope-from <`)
	google    = regexp.MustCompile(`^by \S+\.google\.com( |$)|\(version=\S+ cipher=\S+ bits=`)
	mox       = regexp.MustCompile(`(?i)^by \S+ \(\[.* with ESMTP`)
	qmail     = regexp.MustCompile(`(?i)^by \S+ with (\(.*\) )?SMTP( for |$)`)
	// Exim, Google, Sendmail and Maddy look up the PTR name, and omit it if there is none.
	looksUp = regexp.MustCompile(exim.String() + "|" + google.String() +
		`|\(\d+\.[\d.]+/|\(envelope-sender <`)
)

// forms are the texts that servers write after "from", tried in turn. A form without the group
// "helo" is of a server that omits a greeting equal to the PTR name or the address.
var forms = []struct {
	by     *regexp.Regexp
	from   *regexp.Regexp
	masked bool // "?" stands for some octets of the greeting
}{
	{chasquid, fromForm(`\[?IP\]? (?:\((?P<helo>([^()]|\([^()]*\))*)\)$)?`), false},
	// Exim and Ecelerity: from ptr ([ip]:port helo=c)
	{anyServer, fromForm(`(?:(?P<ptr>WORD) )?\(\[IP\]\S*\s(?:[^()]*\s)?helo=HELO`), false},
	// qmail: from ptr (HELO c) (ident@ip), GMX: from ptr (EHLO c) [ip]
	{anyServer, fromForm(`(?P<ptr>WORD) \((?:[^()]*\s)?MARKHELO\) \(?IDENT\[?IP`), true},
	// Exim: from [ip] (port=25 helo=c), CommuniGate: from [ip] (account u HELO c)
	{anyServer, fromForm(`\[?IP\]? \((?P<login>account )?(?:[^()]*\s)?MARKHELO`), true},
	{anyServer, fromForm(`WORD \((?:[^()]*\s)?MARK`), true}, // without a client address
	{exim, fromForm(`\[?IP\]?(?: \((?:port|ident)=.*)?$`), false},
	{exim, fromForm(`(?P<ptr>WORD) \(\[IP\]`), false},
	// Postfix, Sendmail, Google, Maddy: from c (ptr [ip])
	{anyServer, fromForm(`(?P<helo>WORD)WORDS (?:\(IDENT(?:(?P<ptr>[^\s\[(@]+)\s+)?)?\[IP\]`), false},
	{qmail, fromForm(`(?P<ptr>WORD) \(IDENTIP\)`), true},
	// Exchange: from c (ip)
	{anyServer, fromForm(`(?P<helo>WORD)WORDS \(IDENTIP\)`), true},
}

func fromForm(s string) *regexp.Regexp {
	return regexp.MustCompile("^(?s:" + strings.NewReplacer(
		"WORDS", `(?: [^(]*?)?`, "WORD", `[^\s(]+`,
		"IDENT", `(?:(?P<login>[^\s(@]+@[^\s(@]+)@|[^\s(@]*@)?`,
		"MARK", `(?i:helo=|helo\s|ehlo\s)\s*`, "HELO", `(?P<helo>[^\s()]*)[^()]*`,
		"IP", `(?P<ip>(?i:IPv6:)?[0-9A-Fa-f.:]+)`,
	).Replace(s) + ")")
}

// parseReceived reads the value of one Received field, unfolded. It knows the
// forms of Postfix, Sendmail, Exim, qmail, Exchange, Google, Maddy and similar
// servers. ok is false if the field has no address of a client.
//
// The client's address is never read from the greeting. If the server writes it
// after the greeting, two different addresses make the field unclear.
func parseReceived(s string) (h hop, ok bool) {
	own, date := s, ""
	if i := strings.LastIndexByte(s, ';'); i >= 0 {
		own, date = s[:i], strings.TrimSpace(s[i+1:])
	}
	// The time stays zero if the date (RFC 5322, 3.3) cannot be parsed.
	if at, err := mail.ParseDate(date); err == nil && len(date) < 128 {
		h.Time = at
	}
	list := token.FindAllString(own, -1)
	if len(list) == 0 || !strings.EqualFold(list[0], "from") {
		return h, false
	}
	// The word after "from" is the greeting, even if it is a keyword. After it "by" must occur
	// once: a second one can be part of the greeting, which can also open a comment, or extend
	// up to a date.
	isBy := func(s string) bool { return strings.EqualFold(s, "by") }
	by := 2 + slices.IndexFunc(list[min(2, len(list)):], isBy)
	if by < 2 || slices.ContainsFunc(list[by+1:], isBy) || saysBy(date) {
		h.unclear = saysBy(s)
		return h, h.unclear
	}
	h.readBy(list[by:])
	if h.Self == "" {
		return h, false
	}
	h.Outcome = Accepted
	h.readFrom(strings.Join(list[1:by], " "), strings.Join(list[by:], " "))
	return h, h.unclear || h.Client.IsValid()
}

func saysBy(s string) bool { return slices.Contains(strings.Fields(s), "by") }

// token matches a comment (RFC 5322, 3.2.2), a comment that is not closed, or a word.
var token = regexp.MustCompile(
	`\((?:\\.|[^()\\]|\((?:\\.|[^()\\]|\((?:\\.|[^()\\])*\))*\))*\)|\((?s:.*)|[^\s(]+`)

// envelope matches a comment with the sender's address.
var envelope = regexp.MustCompile(`^(\(envelope-(?:from|sender) )(<.*>)`)

// readBy reads the clauses from "by" on, with the keywords of RFC 5321, 4.4.
func (h *hop) readBy(own []string) {
	key, words := "", make(map[string][]string)
	for i, s := range own {
		lower := strings.ToLower(s)
		h.Auth = h.Auth || isAuth(s) || lower == "auth=yes" // OpenSMTPD
		if parts := envelope.FindStringSubmatch(s); parts != nil {
			h.From, own[i] = sender([]byte(parts[2])), parts[1]+"<>)"
		}
		switch lower {
		case "by", "with", "id", "for", "via":
			key = lower
		default:
			if s[0] != '(' {
				words[key] = append(words[key], s)
			}
		}
	}
	first := func(key string) string { return append(words[key], "")[0] }
	h.Self = text(strings.ToLower(strings.TrimSuffix(first("by"), ".")))
	h.with, h.MsgID = first("with"), text(first("id"))
	h.Auth = h.Auth || isAuthProtocol(h.with)
	for _, s := range words["for"] {
		h.Rcpts = addRcpts(h.Rcpts, strings.Trim(s, "<>,"))
	}
}

// isAuthProtocol reports whether with is ESMTPA, ESMTPSA (RFC 3848) or Exim's old asmtp.
func isAuthProtocol(with string) bool {
	with = strings.ToUpper(with)
	return strings.Contains(with, "SMTP") &&
		(strings.HasSuffix(with, "A") || strings.HasPrefix(with, "A"))
}

// auth matches the start of comments such as "(Authenticated sender: u)", "(authenticated bits=0)"
// and "(AUTH: LOGIN u)".
var auth = regexp.MustCompile(`(?i)^\((auth|account |smtp[- ]auth|sasl|login )`)

func isAuth(comment string) bool {
	return auth.MatchString(comment) && !strings.HasPrefix(strings.ToLower(comment), "(auth=no")
}

var (
	// A lookup that failed (IIS) or was not made
	notLooked = regexp.MustCompile(`^\s*(RDNS failed|unverified)`)
	forged    = regexp.MustCompile(`^\s*\(may be forged`)
	address   = regexp.MustCompile(`(?:^|[\[(@])((?i:IPv6:)?[0-9A-Fa-f.:]+)(?:[\]) ]|$)`)
)

// readFrom reads the text after "from". own is the text of the server itself, from "by" on.
func (h *hop) readFrom(from, own string) {
	for _, form := range forms {
		parts := form.from.FindStringSubmatch(from)
		if parts == nil || !form.by.MatchString(own) {
			continue
		}
		group, rest := make(map[string]string), from[len(parts[0]):]
		for i, name := range form.from.SubexpNames() {
			group[name] = parts[i]
		}
		var ok bool
		if h.Client, ok = addrPort([]byte(group["ip"])); !ok {
			break
		}
		h.unclear = others(address, []byte(group["ptr"]+" "+rest), h.Client)
		if h.Helo, ok = group["helo"]; !ok {
			h.Helo = cmp.Or(group["ptr"], literal(h.Client))
		}
		h.unclear = h.unclear || h.Helo == ""
		inside := strings.Trim(h.Helo, "?")
		if _, ok = parseAddr([]byte(inside)); ok && h.Helo == "?"+inside+"?" {
			h.Helo = "[" + inside + "]"
		}
		h.Masked = strings.ContainsAny(h.Helo, "?_") && (form.masked || google.MatchString(own))
		h.Auth = h.Auth || group["login"] != "" ||
			slices.ContainsFunc(token.FindAllString(rest, -1), isAuth)
		h.readPTR(group["ptr"], group["ip"], rest, own)
		return
	}
	h.unclear = strings.Contains(from, "(") && address.MatchString(from)
}

// others reports whether words hold an address that is not the client's.
func others(form *regexp.Regexp, words []byte, client netip.Addr) bool {
	return slices.ContainsFunc(form.FindAllSubmatch(words, -1), func(parts [][]byte) bool {
		addr, ok := addrPort(parts[1])
		return ok && addr != client
	})
}

// readPTR sets the PTR name and its state. rest is the text after the client's address.
func (h *hop) readPTR(name, ip, rest, own string) {
	courier := strings.HasPrefix(ip, "::ffff:") && strings.HasPrefix(h.with, "esmtp")
	state := Confirmed
	if _, isAddr := parseAddr([]byte(name)); isAddr {
		name = ""
	}
	switch {
	case notLooked.MatchString(rest):
		return
	case name == "":
		// Other servers omit the name for other reasons: mox if it equals the greeting,
		// CommuniGate, IIS and chasquid always or in some cases.
		if courier || looksUp.MatchString(own) {
			h.PTRState = None
		}
		return
	case mox.MatchString(own):
		state = NotRecorded // the name may be one that does not resolve back
	case forged.MatchString(rest):
		state = Unconfirmed
	}
	name = strings.Trim(name, "<>")
	switch strings.ToLower(strings.TrimSuffix(name, ".")) {
	case "", "unknown", "nxdomain", "no-ptr":
		h.PTRState = None
	default:
		h.setPTR([]byte(name), state)
	}
}
