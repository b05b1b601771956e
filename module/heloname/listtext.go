package heloname

import (
	"fmt"
	"strings"
)

// texts are the contents of the files in data.
type texts struct{ reserved, providers, words, tlds, defaults string }

// parseLists reads the texts. An error names file and line.
func parseLists(t texts) (*Lists, error) {
	l := &Lists{
		tlds:   make(map[string]tldClass),
		labels: make(map[string]labelForm),
		hosts:  make(map[string]bool),
	}
	l.init()
	var b providerBlock
	for _, file := range []struct {
		name, text string
		line       func(fields []string) error
	}{
		{"reserved.txt", t.reserved, l.reservedLine},
		{"words.txt", t.words, l.wordsLine},
		{"tlds.txt", t.tlds, l.tldsLine},
		{"defaults.txt", t.defaults, l.defaultsLine},
		{"providers.txt", t.providers, func(f []string) error { return l.providerLine(&b, f) }},
	} {
		if err := eachLine(file.name, file.text, file.line); err != nil {
			return nil, err
		}
	}
	if err := l.endProvider(&b); err != nil {
		return nil, fmt.Errorf("heloname: providers.txt: %w", err)
	}
	return l, nil
}

// eachLine calls f with the fields of every line that is neither empty nor
// a comment.
func eachLine(file, text string, f func(fields []string) error) error {
	no := 0
	for line := range strings.Lines(text) {
		no++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if err := f(fields); err != nil {
			return fmt.Errorf("heloname: %s:%d: %w", file, no, err)
		}
	}
	return nil
}

var sources = map[string]source{"registry": fromRegistry, "private": fromCustom}

func (l *Lists) reservedLine(f []string) error {
	if len(f) != 2 || sources[f[1]] == 0 {
		return fmt.Errorf("want a suffix and registry or private, have %q", f)
	}
	if err := checkSuffix(f[0]); err != nil {
		return err
	}
	if _, dup := l.reserved[f[0]]; dup {
		return fmt.Errorf("%s stands twice", f[0])
	}
	l.addReserved(sources[f[1]], f[:1])
	return nil
}

// checkSuffix accepts a name only in the form Parse gives it.
func checkSuffix(name string) error {
	if s, ok := suffixOf(name); !ok || s != name {
		return fmt.Errorf("%q is not a lower-case domain name", name)
	}
	return nil
}

var wordClasses = map[string]wordClass{
	"line": lineWord, "weak": weakWord, "static": staticWord, "rented": rentedWord,
}

func (l *Lists) wordsLine(f []string) error {
	class := wordClasses[f[0]]
	if class == 0 || len(f) < 2 {
		return fmt.Errorf("want line, weak, static or rented and words, have %q", f)
	}
	for _, w := range f[1:] {
		if !isWord(w) {
			return fmt.Errorf("%q is not a word of lower-case letters", w)
		}
		// A rented word may be of one other class.
		old := l.words[w]
		if old&class != 0 || class != rentedWord && old&^rentedWord != 0 {
			return fmt.Errorf("%s stands twice", w)
		}
		l.words[w] = old | class
	}
	return nil
}

var tldClasses = map[string]tldClass{"old": oldTLD, "free": freeTLD}

func (l *Lists) tldsLine(f []string) error {
	class := tldClasses[f[0]]
	if class == 0 || len(f) < 2 {
		return fmt.Errorf("want old or free and TLDs, have %q", f)
	}
	for _, tld := range f[1:] {
		if !isWord(tld) || !KnownTLD(tld) || (class == freeTLD) != (len(tld) == 2) {
			return fmt.Errorf("%q is not a TLD that can be %s", tld, f[0])
		}
		if l.tlds[tld] != 0 {
			return fmt.Errorf("%s stands twice", tld)
		}
		l.tlds[tld] = class
	}
	return nil
}
