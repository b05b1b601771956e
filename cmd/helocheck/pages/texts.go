package pages

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

const english = "en"

// texts are all words of the frame, from texts/LANG.json. A translation is
// such a file. LANG/ may have the pages as well; those that it lacks stay
// English, and say so to screen readers.
type texts struct {
	Lang     string // as RFC 5646 writes it
	LangName string // in that language

	Skip, Nav, Footer                                      string
	MenuIndex, MenuRelay, MenuReach                        string
	IndexTitle, IndexLead, IndexHow                        string
	SearchLabel, SearchNote, SearchExample, SearchButton   string
	FoundOne, FoundMaybe, FoundMany, FoundNone             string // %d in FoundMany
	GroupName, GroupReverse, GroupRecords                  string
	AllReasons, OtherReasons, GoFix, RelayLine, ReachLine  string
	ReplyReads, Said, Why, Fix, Jump, StillStuck, StillHow string
	RuleName                                               string
	WayOut, RelayHostLine, WaitLine, MalwareLine           string

	suffix string // of the names of pages
}

// Languages returns what Options.Lang may be, sorted.
func Languages() []string {
	entries, err := fs.ReadDir(files, "texts")
	if err != nil {
		panic(err) // embedded, so a build without them cannot be
	}
	list := make([]string, 0, len(entries))
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".json"))
	}
	return list
}

// loadAll returns the texts of some languages; the first one gets the plain names of pages.
func loadAll(langs []string) ([]*texts, error) {
	all := make([]*texts, 0, len(langs))
	for _, lang := range langs {
		t, err := loadTexts(lang)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 {
			t.suffix = "." + lang
		}
		for _, other := range all {
			if other.Lang == lang {
				return nil, fmt.Errorf("found language %q twice", lang)
			}
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("found no language; accepted: %s", strings.Join(Languages(), ", "))
	}
	return all, nil
}

func loadTexts(lang string) (*texts, error) {
	data, err := files.ReadFile("texts/" + lang + ".json")
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, fmt.Errorf("found language %q; accepted: %s", lang, strings.Join(Languages(), ", "))
	}
	if err != nil {
		return nil, err
	}
	t := new(texts)
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(t); err != nil {
		return nil, fmt.Errorf("texts/%s.json: %w", lang, err)
	}
	return t, nil
}
