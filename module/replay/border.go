package replay

import (
	"net/netip"
	"strings"
)

// maxWaiting bounds how many mails wait for the border to be known.
const maxWaiting = 256

// border picks the hop at which mail came in from outside.
type border struct {
	given   []string // of Options.By, lower case
	found   string
	waiting [][]hop
	votes   []vote
}

type vote struct {
	by    string
	count int
}

func (b *border) init(by []string) {
	for _, s := range by {
		b.given = append(b.given, strings.ToLower(strings.TrimSuffix(s, ".")))
	}
}

// mail hands out the greeting of one mail, or keeps the mail until enough of
// them show where the border is.
func (b *border) mail(r *run, m *message) {
	switch {
	case len(b.given) > 0 || b.found != "":
		b.pick(r, m.hops)
	case len(m.hops) == 0:
		r.st.Skipped++
	default:
		b.waiting = append(b.waiting, append([]hop(nil), m.hops...))
		b.vote(m.hops)
		if len(b.waiting) == maxWaiting {
			b.decide(r)
		}
	}
}

// vote counts the newest hop whose client is not one of the receiver's own.
func (b *border) vote(hops []hop) {
	for i := range hops {
		if hops[i].own() {
			continue
		}
		for j := range b.votes {
			if b.votes[j].by == hops[i].by {
				b.votes[j].count++
				return
			}
		}
		b.votes = append(b.votes, vote{hops[i].by, 1})
		return
	}
}

// decide settles the border, the one met first among equals, and hands out the
// mails that waited for it.
func (b *border) decide(r *run) {
	if len(b.given) > 0 || b.found != "" {
		return
	}
	best := vote{}
	for _, v := range b.votes {
		if v.count > best.count {
			best = v
		}
	}
	b.found, r.st.By = best.by, best.by
	for _, hops := range b.waiting {
		b.pick(r, hops)
	}
	b.waiting, b.votes = nil, nil
}

func (b *border) pick(r *run, hops []hop) {
	for i := range hops {
		if b.is(hops[i].by) {
			r.rec = hops[i].record()
			r.emit(&r.rec)
			return
		}
	}
	r.st.Skipped++
}

func (b *border) is(by string) bool {
	for _, s := range b.given {
		if s == by || len(s) > 1 && s[0] == '.' && strings.HasSuffix(by, s) {
			return true
		}
	}
	return b.found != "" && by == b.found
}

// border reports whether the hop can be where mail came in from outside: by
// SMTP (not LMTP, a pick-up or a fetch by POP) and from a public address.
func (h *hop) border() bool {
	if h.with != "" && h.with != "Microsoft" && !strings.Contains(strings.ToUpper(h.with), "SMTP") {
		return false
	}
	a := h.client
	return !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast() &&
		!a.IsUnspecified() && !sharedSpace.Contains(a)
}

// sharedSpace is carriers' own address space (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// own reports whether the client is one of the receiver's own servers, by the
// name that the receiver itself found; what the client says proves nothing.
func (h *hop) own() bool {
	return h.state == Confirmed && organisation(h.ptr) == organisation(h.by)
}

// organisation guesses what part of a host name its owner registered. It needs
// no list of suffixes: a wrong guess only costs a vote for the border.
func organisation(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	n := len(labels)
	keep := 2
	if n > 2 && len(labels[n-1]) == 2 && len(labels[n-2]) <= 3 {
		keep = 3 // example.co.uk
	}
	return strings.Join(labels[max(0, n-keep):], ".")
}
