package heloname

import (
	"fmt"
	"strings"
)

var labelForms = map[string]labelForm{
	"numbered": numberedForm, "image": imageForm, "setup": setupForm,
	"quad": quadForm, "cloud": cloudForm, "id": idForm,
}

func (l *Lists) defaultsLine(f []string) error {
	form := labelForms[f[0]]
	if form == 0 && f[0] != "suffix" && f[0] != "block" || len(f) < 2 {
		return fmt.Errorf("want a form, suffix or block and names, have %q", f)
	}
	for _, name := range f[1:] {
		var err error
		switch {
		case form != 0:
			err = l.addLabel(form, name)
		case f[0] == "suffix":
			err = l.addHost(name)
		default:
			err = l.addBlock(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (l *Lists) addLabel(form labelForm, word string) error {
	switch {
	case !isWord(word):
		return fmt.Errorf("%q is not a word of lower-case letters", word)
	case l.labels[word] != 0:
		return fmt.Errorf("%s stands twice", word)
	}
	l.labels[word] = form
	l.labelLengths.add(len(word))
	return nil
}

func (l *Lists) addHost(suffix string) error {
	if err := checkSuffix(suffix); err != nil {
		return err
	}
	if l.hosts[suffix] {
		return fmt.Errorf("%s stands twice", suffix)
	}
	l.hosts[suffix] = true
	l.hostLengths.add(len(suffix))
	return nil
}

func (l *Lists) addBlock(name string) error {
	word, tld, _ := strings.Cut(name, ".")
	if !isWord(word) || !isWord(tld) || !KnownTLD(tld) {
		return fmt.Errorf("%q is not a word and a TLD", name)
	}
	for _, b := range l.blocks {
		if b.word == word && b.tld == tld {
			return fmt.Errorf("%s stands twice", name)
		}
	}
	l.blocks = append(l.blocks, block{word, tld})
	return nil
}
