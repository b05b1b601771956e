package replay

import (
	"bytes"
	"cmp"
	"net/mail"
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo/module/heloname"
)

// readMbox reads an mbox (RFC 4155). Programs that quote body lines as
// ">From " and those that do not are told apart by the blank line and the date.
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
	// The zero time stands for a date (RFC 5322, 3.3) that nobody can read.
	if at, dateErr := mail.ParseDate(border.date); dateErr == nil && len(border.date) < 128 {
		border.Time = at
	}
	r.hand(&border.Record)
	return err
}

// readHeader hands the fields to take, with their names in lower case, up to the blank line
// that ends a header.
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

// sharedSpace is carriers' own address space (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// isBorder reports whether the operator names the receiving host of h. Without names it
// reports that the client is not one of the receiver's own, by the PTR name that the receiver
// itself found; what the client says proves nothing.
func (r *run) isBorder(h *hop) bool {
	if len(r.opt.By) == 0 {
		return h.PTRState != Confirmed || !heloname.SameOrg(strings.ToLower(h.PTR), h.Self)
	}
	return slices.ContainsFunc(r.opt.By, func(host string) bool {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		return host == h.Self || strings.HasPrefix(host, ".") && strings.HasSuffix(h.Self, host)
	})
}
