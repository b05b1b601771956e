package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestRow(t *testing.T) {
	long := outcome{code: 550, Rule: "no_ptr", Action: "quarantine",
		text: "5.7.1 This is so long that it needs a second line of its column. Help"}
	for name, test := range map[string]struct {
		table
		g    greeting
		o    outcome
		want string
	}{
		"wrapped": {g: greeting{helo: "mx", client: "127.0.2.1", code: 550, rule: "no_ptr"}, o: long,
			want: "HELO mx|127.0.2.1|550 5.7.1 This is so long that it needs a second|no_ptr (Junk)\n" +
				"|line of its column\n"},
		"whole": {table: table{whole: true}, g: greeting{helo: "a", note: "b", login: true, code: 250},
			o:    outcome{code: 250, text: "One. Two."},
			want: "EHLO a (b)|250 One. Two.\n"},
		"not as expected": {g: greeting{code: 501}, o: outcome{code: 250, text: "Ok"},
			want: "HELO|250 Ok\n|^ NOT AS EXPECTED: code 501, rule \"\"\n"},
		"colour": {table: table{colour: true}, g: greeting{helo: "a", code: 451, rule: "r"},
			o:    outcome{code: 451, text: "x", Rule: "r"},
			want: "HELO a|\x1b[33m451 x|\x1b[0m|r\n"},
		"long note": {g: greeting{helo: strings.Repeat("a", 30), note: "note", code: 250},
			o:    outcome{code: 250, text: "Ok"},
			want: "HELO " + strings.Repeat("a", 30) + "|250 Ok\n|(note)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			test.out = &out
			test.row(test.g, test.o)
			gaps := regexp.MustCompile(`  +`)
			if got := gaps.ReplaceAllString(out.String(), "|"); got != test.want {
				t.Errorf("got\n%q\nwant\n%q", got, test.want)
			}
		})
	}
}

// TestAligned shows that a coloured row has its rule in the same column as a plain one.
func TestAligned(t *testing.T) {
	column := func(colour bool) int {
		var out bytes.Buffer
		row := table{out: &out, colour: colour}
		row.row(greeting{helo: "mx"}, outcome{code: 550, text: "no", Rule: "localhost"})
		line := regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(out.String(), "")
		return strings.Index(line, "localhost")
	}
	if plain, coloured := column(false), column(true); plain != coloured || plain < 0 {
		t.Errorf("rule in column %d, coloured %d", plain, coloured)
	}
}

func TestWantsColour(t *testing.T) {
	if wantsColour(&bytes.Buffer{}) {
		t.Error("a buffer wants colour")
	}
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if wantsColour(file) {
		t.Error("a file wants colour")
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string][]string{
		"":              {""},
		"one two three": {"one two", "three"},
		"unbreakable a": {"unbreakable", "a"},
	} {
		if got := wrap(text, 7); !slices.Equal(got, want) {
			t.Errorf("wrap(%q) = %q, want %q", text, got, want)
		}
	}
}

// TestProgress has one line for a hundred downloads, and a sign of life for each tick.
func TestProgress(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(&out, nil)
	p.tick()
	p.say("fetching Maddy 1.0")
	for i := range 100 {
		p.say(fmt.Sprintf("go: downloading example.org/m%d v1.0.0", i))
	}
	p.tick()
	p.say("compiling Maddy 1.0")
	p.tick()
	p.end()
	got := regexp.MustCompile(`(?m)^\[ +\d+ s\] `).ReplaceAllString(out.String(), "")
	want := "fetching Maddy 1.0\ndownloading modules\ndownloading modules, 100 so far\n" +
		"compiling Maddy 1.0\nstill compiling Maddy 1.0\n"
	if got != "waiting for another build\n"+want {
		t.Errorf("got %q, want %q", got, want)
	}
}
