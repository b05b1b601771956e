package replay

import (
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo/module/heloname"
)

// maxWaiting bounds how many mails wait for the border to be known.
const maxWaiting = 256

// border picks the hop at which mail came in from outside: that of the hosts that the
// operator names, or of the most common host that took mail from a public address.
type border struct {
	hosts   []string // lower case; ".example.org" stands for all below it
	waiting [][]hop
}

// mail hands out the greeting of one mail, or keeps the mail until enough of
// them show where the border is.
func (r *run) mail(hops []hop) {
	b := &r.border
	if len(b.hosts) > 0 || len(hops) == 0 {
		r.pick(hops)
		return
	}
	if b.waiting = append(b.waiting, hops); len(b.waiting) == maxWaiting {
		r.decideBorder()
	}
}

// decideBorder settles the border, the one met first among equals, and hands out the
// mails that waited for it.
func (r *run) decideBorder() {
	votes := make(map[string]int)
	for _, hops := range r.border.waiting {
		votes[outermost(hops)]++
	}
	delete(votes, "")
	for _, hops := range r.border.waiting {
		if by := outermost(hops); votes[by] > votes[r.st.By] {
			r.st.By = by
		}
	}
	if r.st.By != "" {
		r.border.hosts = []string{r.st.By}
	}
	for _, hops := range r.border.waiting {
		r.pick(hops)
	}
	r.border.waiting = nil
}

// outermost returns the newest host whose client is not one of the receiver's own,
// by the name that the receiver itself found; what the client says proves nothing.
func outermost(hops []hop) string {
	for i := range hops {
		if h := &hops[i]; h.unclear {
			break
		} else if !h.own() {
			return h.Self
		}
	}
	return ""
}

func (h *hop) own() bool {
	return h.PTRState == Confirmed && heloname.SameOrg(strings.ToLower(h.PTR), h.Self)
}

func (r *run) pick(hops []hop) {
	for i := range hops {
		h := &hops[i]
		if h.unclear {
			break
		}
		if slices.ContainsFunc(r.border.hosts, func(host string) bool {
			return host == h.Self || strings.HasPrefix(host, ".") && strings.HasSuffix(h.Self, host)
		}) {
			h.setTime()
			r.hand(&h.Record)
			return
		}
	}
	r.st.Skipped[SkippedBorder]++
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
