package pages

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const english = "en"

// texts are all words of the frame, from texts/LANG.json: Lang as RFC 5646 writes it, LangName in
// that language, and so on. A translation is such a file. LANG/ may have the pages as well; those
// that it lacks stay English, and say so to screen readers.
type texts map[string]string

// Languages returns what Options.Langs may be, sorted.
func Languages() (list []string) {
	entries, _ := files.ReadDir("texts") // it is embedded
	for _, e := range entries {
		list = append(list, strings.TrimSuffix(e.Name(), ".json"))
	}
	return list
}

// loadTexts returns the texts of some languages.
func loadTexts(langs []string) (all []texts, err error) {
	for i, lang := range langs {
		if !slices.Contains(Languages(), lang) || slices.Contains(langs[:i], lang) {
			return nil, fmt.Errorf("found language %q; accepted, each once: %s", lang,
				strings.Join(Languages(), ", "))
		}
		t := make(texts)
		data, err := files.ReadFile("texts/" + lang + ".json")
		if err = errors.Join(err, json.Unmarshal(data, &t)); err != nil {
			return nil, fmt.Errorf("texts/%s.json: %w", lang, err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("found no language; accepted: %s", strings.Join(Languages(), ", "))
	}
	return all, nil
}
