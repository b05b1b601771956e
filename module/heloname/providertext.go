package heloname

import (
	"fmt"
	"slices"
	"strings"
)

// providerBlock gathers the lines of one provider of data/providers.txt.
type providerBlock struct {
	name              string
	strong, helo, ptr []string
}

// providerLine takes one line; the block ends where the next one starts.
func (l *Lists) providerLine(b *providerBlock, f []string) error {
	if len(f) < 2 {
		return fmt.Errorf("%s has no value", f[0])
	}
	switch {
	case f[0] == "provider" && len(f) == 2:
		err := l.endProvider(b)
		b.name = f[1]
		return err
	case f[0] == "mailbox":
		return l.addMailboxes(b, f[1:])
	case f[0] == "strong" && b.name != "":
		return l.addEntries(b, &b.strong, f[1:])
	case f[0] == "helo" && b.name != "":
		return l.addEntries(b, &b.helo, f[1:])
	case f[0] == "ptr" && b.name != "":
		return l.addEntries(b, &b.ptr, f[1:])
	}
	return fmt.Errorf("want provider NAME, then strong, helo or ptr, or mailbox, have %q", f)
}

// addEntries accepts domains and families in the form they are stored in.
// Two providers may share a PTR domain, but no HELO domain.
func (l *Lists) addEntries(b *providerBlock, into *[]string, names []string) error {
	for _, name := range names {
		if s, ok := providerDomain(name); !ok || s != name {
			return fmt.Errorf("%q is not a lower-case domain name", name)
		}
		if slices.Contains(slices.Concat(b.strong, b.helo, b.ptr), name) {
			return fmt.Errorf("%s stands twice", name)
		}
		*into = append(*into, name)
		if into == &b.ptr {
			continue
		}
		label, _ := strings.CutSuffix(name, familyMark)
		for _, p := range []*Provider{l.providers[name], l.families[label]} {
			if p != nil {
				return fmt.Errorf("%s belongs to %s already", name, p.Name)
			}
		}
	}
	return nil
}

// endProvider adds the provider that b holds, if any, and empties b. Strong
// and other HELO domains become a Provider each, of the same name and with
// the same PTR domains.
func (l *Lists) endProvider(b *providerBlock) error {
	if b.name != "" && len(b.strong)+len(b.helo) == 0 {
		return fmt.Errorf("provider %s has no HELO domain", b.name)
	}
	ptr := slices.Concat(b.strong, b.helo, b.ptr)
	if b.strong != nil {
		l.addProvider(Provider{Name: b.name, Helo: b.strong, PTR: ptr, Strong: true})
	}
	if b.helo != nil {
		l.addProvider(Provider{Name: b.name, Helo: b.helo, PTR: ptr})
	}
	*b = providerBlock{}
	return nil
}

// addMailboxes adds providers of one domain each, which gives them their name.
func (l *Lists) addMailboxes(b *providerBlock, domains []string) error {
	for _, name := range domains {
		if err := l.endProvider(b); err != nil {
			return err
		}
		b.name = name
		if err := l.addEntries(b, &b.helo, []string{name}); err != nil {
			return err
		}
	}
	return l.endProvider(b)
}
