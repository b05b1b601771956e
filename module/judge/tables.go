package judge

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

// Reasons of an exemption beside those of package exempt.
const (
	whyDNSWL       = "dnswl"
	whyDNSWLFailed = "dnswl_failed" // the faults that need no DNS stay
	whyPolicyOff   = "recipient_policy"
)

const (
	maxHosts = 8   // MX hosts and addresses of one name that are looked up
	maxText  = 250 // octets of an operator's reply text
)

// exemptByProof asks the operator's tables and lists about a greeting with a fault. A name counts
// only with proof, since anybody can say it: open tells that a failed lookup may have been one.
func (j *Judge) exemptByProof(ctx context.Context, f *checkhelo.Facts) (why string, open bool) {
	list := &j.Exempt
	if why = list.Conn(ctx, f.Client, f.Helo.ASCII); why != "" {
		return why, false
	}
	// A generic PTR name proves nothing about its parents.
	for _, name := range f.Confirmed.Value {
		alone := list.Clients != nil && f.Lists.LineName(name, f.Client)
		if why = list.ClientName(ctx, name, alone); why != "" {
			return why, false
		}
	}
	name := list.Name(ctx, f.Helo.ASCII)
	if name != "" && f.Owns() {
		return name, false
	}
	if j.Gatherer != nil {
		switch _, state := j.Gatherer.AllowListed(ctx, f.Client); state {
		case checkhelo.Found:
			return whyDNSWL, false
		case checkhelo.Failed:
			j.Exempt.Report("exempt_dnswl", nil)
			return whyDNSWLFailed, false
		}
	}
	return "", name != "" && f.Lost()&checkhelo.NeedProof != 0
}

// policyFor returns the policy of one recipient: that of its address in recipient_policy, then that
// of its domain, else the Judge's own. why is not empty where the recipient is not judged.
func (j *Judge) policyFor(ctx context.Context, rcpt string) (p *checkhelo.Policy, why string) {
	if j.Recipients == nil || rcpt == "" {
		return j.Policy, ""
	}
	local, domain := exempt.SplitAddress(rcpt)
	keys := []string{local + "@" + domain, "@" + domain}
	preset, found, err := j.Exempt.Find(ctx, "recipient_policy", j.Recipients, keys, nil)
	switch {
	case err != nil:
		return nil, exempt.WhyTableFailed
	case !found:
		return j.Policy, ""
	case preset == "off":
		return nil, whyPolicyOff
	}
	if err := CheckPolicy(preset); err != nil {
		j.Exempt.Report("recipient_policy", err)
		return j.Policy, ""
	}
	p = j.Policy.With(checkhelo.Preset(preset), j.Policy.Ceiling)
	if preset == "ignore" {
		p = j.Policy.With(j.Policy.Preset, checkhelo.Ignore)
	}
	kept, _ := j.policies.LoadOrStore(preset, p)
	return kept.(*checkhelo.Policy), ""
}

// CheckPolicy returns an error for a value that recipient_policy does not take.
func CheckPolicy(value string) error {
	accepted := append([]checkhelo.Preset{"off", "ignore"}, checkhelo.Presets...)
	if slices.Contains(accepted, checkhelo.Preset(value)) {
		return nil
	}
	return fmt.Errorf("value %q; accepted: one of %v", value, accepted)
}

// askDenyNames looks the HELO name, or the address said instead, up in deny_names once a session.
func (g *greeting) askDenyNames(ctx context.Context) {
	f := &g.facts
	if g.j.DenyNames == nil || f.Denied.State != checkhelo.NotAsked {
		return
	}
	key := f.Helo.ASCII
	if f.Helo.Addr.IsValid() {
		key = f.Helo.Addr.String()
	}
	f.Denied = g.j.askDenied(ctx, "deny_names", g.j.DenyNames, key)
}

// askDenyHosts looks the addresses of the HELO name, its MX hosts and their addresses up in
// deny_hosts.
func (g *greeting) askDenyHosts(ctx context.Context, p *checkhelo.Policy) {
	j, f := g.j, &g.facts
	if j.DenyHosts == nil || f.Denied.State == checkhelo.Found || !j.asks() {
		return
	}
	addrs := slices.Concat(f.Forward.Value, j.Gatherer.HostAddrs(ctx, g.pending, f))
	keys := slices.Clone(f.MX.Value[:min(len(f.MX.Value), maxHosts)])
	for _, addr := range addrs[:min(len(addrs), maxHosts)] {
		keys = append(keys, addr.String())
	}
	for _, key := range keys {
		d := j.askDenied(ctx, "deny_hosts", j.DenyHosts, key)
		if d.State == checkhelo.Found && d.Value.Message == "" {
			d.Value.Message = `This server takes no mail from "{match}", where "{helo}" leads`
			if p.HelpURL != "" {
				d.Value.Message += ". See {url}"
			}
		}
		if f.Denied.State == checkhelo.NotAsked || d.State == checkhelo.Found {
			f.Denied = d
		}
		if d.State != checkhelo.NotFound {
			return
		}
	}
}

// askDenied looks key up and then its parents, nearest first. A table that fails denies nobody.
func (j *Judge) askDenied(
	ctx context.Context, directive string, table exempt.Table, key string,
) (denied checkhelo.Answer[checkhelo.Denial]) {
	denied.State = checkhelo.NotFound
	value, found, err := j.Exempt.Find(ctx, directive, table, withParents(key), nil)
	if err != nil {
		denied.State, denied.Err = checkhelo.Failed, err
	} else if found {
		d, refuses, err := ParseDenial(value)
		if err != nil {
			j.Exempt.Report(directive, fmt.Errorf("the value has %w", err))
		}
		if refuses {
			d.Match = key
			denied.State, denied.Value = checkhelo.Found, d
		}
	}
	return denied
}

// withParents returns a name or address, and each parent of a name, also without its leading dot.
func withParents(key string) (keys []string) {
	if _, err := netip.ParseAddr(key); err == nil {
		return []string{key}
	}
	for _, entry := range exempt.Ancestry(key) {
		keys = append(keys, strings.TrimPrefix(entry, "."), entry)
	}
	return slices.Compact(keys)
}

// ParseDenial reads the value of an entry: [CODE [ENHANCED]] TEXT, or a verb of Postfix's access
// tables. OK and DUNNO end the search and refuse nobody; REJECT gives the text after it. A value
// that is no reply is an error, and leaves the row's reply in force.
func ParseDenial(value string) (d checkhelo.Denial, refuses bool, err error) {
	text := strings.TrimSpace(value)
	verb, rest, _ := strings.Cut(text, " ")
	switch word := strings.ToUpper(verb); {
	case word == "OK", word == "DUNNO", word == "PERMIT", word == "RELAY":
		return d, false, nil
	case word == "REJECT":
		text = strings.TrimSpace(rest)
	case slices.Contains(otherActions, word):
		return d, false, fmt.Errorf("no action %s: the entry refuses nobody", verb)
	}
	var code, class, subject, detail int
	if n, _ := fmt.Sscanf(text, "%3d", &code); n == 1 && code >= 400 && code < 600 {
		d.Code, d.Detail = code, [2]int{7, 1}
		text = strings.TrimSpace(text[3:])
	}
	if n, _ := fmt.Sscanf(text, "%d.%d.%d", &class, &subject, &detail); n == 3 &&
		(class == d.Code/100 || d.Code == 0 && (class == 4 || class == 5)) {
		if d.Code == 0 {
			d.Code = class*100 + 54
		}
		d.Detail = [2]int{subject, detail}
		_, text, _ = strings.Cut(text, " ")
	}
	if err := CheckText(text); err != nil {
		return checkhelo.Denial{}, true, fmt.Errorf("no reply, so that the rule's own is sent: %w", err)
	}
	d.Message = strings.TrimSpace(text)
	return d, true, nil
}

// otherActions are verbs of Postfix's access tables without an action of the check.
var otherActions = []string{"DEFER", "DEFER_IF_REJECT", "DEFER_IF_PERMIT", "DISCARD", "HOLD",
	"FILTER", "REDIRECT", "BCC", "PREPEND", "INFO", "WARN"}

// CheckText returns an error for a text that one line of an SMTP reply cannot hold (RFC 5321, 4.2).
func CheckText(text string) error {
	if len(text) > maxText {
		return fmt.Errorf("found a text of %d octets, longer than %d", len(text), maxText)
	}
	if heloname.Line(text, maxText) != text {
		return fmt.Errorf("found a text with other than printable ASCII characters: %+q", text)
	}
	return nil
}
