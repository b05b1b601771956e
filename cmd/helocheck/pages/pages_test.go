package pages

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
)

var update = flag.Bool("update", false, "write the golden page")

func write(t *testing.T, dir string, o Options) {
	t.Helper()
	if err := Write(dir, o); err != nil {
		t.Fatal(err)
	}
}

// hostile are values that would break a page which does not escape them.
var hostile = Options{
	Name:    `"Mail" & <script>alert(1)</script> {{.}} {{contact}}`,
	Contact: `o'brien+a%b?cc=x&y@example.org`,
}

// sites returns all files of the site, in each language.
func sites(t *testing.T) map[string]map[string][]byte {
	t.Helper()
	all := make(map[string]map[string][]byte)
	for _, lang := range Languages() {
		o := hostile
		o.Langs = []string{lang}
		all[lang] = rendered(t, o)
	}
	return all
}

func rendered(t *testing.T, o Options) map[string][]byte {
	t.Helper()
	s, err := newSite(o)
	if err != nil {
		t.Fatal(err)
	}
	return s.out
}

func TestGolden(t *testing.T) {
	for _, lang := range Languages() {
		dir := t.TempDir()
		write(t, dir, Options{Name: "Example Mail", Contact: "postmaster@example.org", Langs: []string{lang}})
		got, err := os.ReadFile(filepath.Join(dir, "no_address.html"))
		if err != nil {
			t.Fatal(err)
		}
		path := "testdata/no_address." + lang + ".html"
		if *update {
			if err := os.WriteFile(path, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; if it should: go test -run TestGolden -update", path)
		}
	}
}

// page is what a parser found in one file.
type page struct {
	ids   []string
	links []*html.Node // with href or src
}

// void are the elements without an end tag (HTML, 13.1.2).
var void = []string{"meta", "link", "img", "br", "hr", "input"}

// parse reads a page. Tags that are not closed in their order, which a
// browser would silently correct, are errors.
func parse(t *testing.T, name string, data []byte) (p page) {
	t.Helper()
	var open []string
	z := html.NewTokenizer(bytes.NewReader(data))
	for z.Next() != html.ErrorToken {
		switch token := z.Token(); token.Type {
		case html.StartTagToken:
			if !slices.Contains(void, token.Data) {
				open = append(open, token.Data)
			}
		case html.EndTagToken:
			if len(open) == 0 || open[len(open)-1] != token.Data {
				t.Errorf("%s: </%s> inside %v", name, token.Data, open)
				return p
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		t.Errorf("%s: not closed: %v", name, open)
	}
	doc, err := html.Parse(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var texts strings.Builder
	for n := range doc.Descendants() {
		if n.Type == html.TextNode {
			texts.WriteString(n.Data)
		}
		for _, a := range n.Attr {
			switch {
			case a.Key == "id":
				p.ids = append(p.ids, a.Val)
			case a.Key == "href" || a.Key == "src":
				p.links = append(p.links, n)
			case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
				t.Errorf("%s: inline %s on %s", name, a.Key, n.Data)
			}
		}
		if n.Type == html.ElementNode && (n.Data == "style" || n.Data == "script" && n.FirstChild != nil) {
			t.Errorf("%s: inline %s", name, n.Data)
		}
	}
	checkHeadings(t, name, doc)
	for _, left := range []string{"{{fix", "raw HTML omitted", "ZgotmplZ", "<no value>"} {
		if strings.Contains(string(data), left) {
			t.Errorf("%s has %q", name, left)
		}
	}
	if name != "index.html" && strings.Contains(texts.String(), "{helo}") {
		t.Errorf("%s has a placeholder", name)
	}
	return p
}

// checkHeadings: one h1, and no level left out.
func checkHeadings(t *testing.T, name string, doc *html.Node) {
	t.Helper()
	last, ones := 0, 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || !regexp.MustCompile("^h[1-6]$").MatchString(n.Data) {
			continue
		}
		level := int(n.Data[1] - '0')
		if level == 1 {
			ones++
		}
		if level > last+1 {
			t.Errorf("%s: %s after h%d", name, n.Data, last)
		}
		last = level
	}
	if ones != 1 {
		t.Errorf("%s: %d h1", name, ones)
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func TestPages(t *testing.T) {
	all := sites(t)
	o := hostile
	o.Langs = Languages()
	all["all"] = rendered(t, o)
	o.Rules = checkhelo.Rules()[:3] // links to pages that are left out lead to the index
	all["few"] = rendered(t, o)
	for lang, files := range all {
		parsed := make(map[string]page)
		for name, data := range files {
			if strings.HasSuffix(name, ".html") {
				parsed[name] = parse(t, lang+"/"+name, data)
			}
		}
		for name, p := range parsed {
			slices.Sort(p.ids)
			once := len(slices.Compact(slices.Clone(p.ids)))
			if once != len(p.ids) || slices.Contains(p.ids, "") {
				t.Errorf("%s/%s: ids are not unique: %q", lang, name, p.ids)
			}
			for _, n := range p.links {
				target := attr(n, "href") + attr(n, "src")
				if err := follow(target, name, n, parsed, files); err != nil {
					t.Errorf("%s/%s: link %q: %v", lang, name, target, err)
				}
			}
		}
	}
}

// follow tells what is wrong with a link.
func follow(
	target, from string, n *html.Node, pages map[string]page, files map[string][]byte,
) error {
	u, err := url.Parse(target)
	if err != nil {
		return err
	}
	switch {
	case u.Scheme == "mailto":
		if to, err := url.PathUnescape(u.Opaque); err != nil || to != hostile.Contact || u.RawQuery != "" {
			return fmt.Errorf("goes to %q", to)
		}
		return nil
	case u.Scheme != "" || u.Host != "":
		marked := strings.Contains(attr(n, "rel"), "external")
		if !strings.HasPrefix(target, rfcEditor) || n.Data != "a" || !marked {
			return fmt.Errorf("external %s", n.Data)
		}
		return nil
	case u.Path == "":
		u.Path = from
	}
	if files[u.Path] == nil {
		return fmt.Errorf("no file %q", u.Path)
	}
	if u.Fragment != "" && !slices.Contains(pages[u.Path].ids, u.Fragment) {
		return fmt.Errorf("no id %q", u.Fragment)
	}
	return nil
}

// Every rule has its page, its entry with the rule's name, and a reply that
// the search can tell from all others.
func TestEveryRule(t *testing.T) {
	say := fragments(checkhelo.Rules())
	for lang, files := range sites(t) {
		index := string(files["index.html"])
		for _, r := range checkhelo.Rules() {
			text := string(files[r.Name+".html"])
			if !strings.Contains(index, `<li id="`+r.Name+`"`) ||
				!strings.Contains(text, "<code>"+r.Name+"</code>") {
				t.Errorf("%s: %s has no page or entry", lang, r.Name)
			}
			if program := r.Program; program != "" {
				program, _, _ = strings.Cut(strings.NewReplacer("{helo}", "…", `"`, "&#34;").Replace(program), ". ")
				if !strings.Contains(text, program) {
					t.Errorf("%s: %s lacks the reply to a program: %s", lang, r.Name, program)
				}
			}
			if say[r.Name] == "" {
				t.Errorf("%s: nothing in the reply is its own: %q", r.Name, r.Message)
			}
			if strings.Contains(text, "<article lang=") {
				t.Errorf("%s: %s is not translated", lang, r.Name)
			}
			for _, word := range []string{"Hits", "Does not hit", "exempt_names static"} {
				if strings.Contains(text, word) {
					t.Errorf("%s: %s shows the operators' part: %q", lang, r.Name, word)
				}
			}
		}
	}
}

// The reply to a program leads to the rules that give it, and to no other.
func TestFragmentsOfPrograms(t *testing.T) {
	say := fragments(checkhelo.Rules())
	for reply, want := range map[string]string{
		`"127.0.0.1" means your own machine: a program or container on it says this. set its full dns` +
			` name, such as mail.example.org`: "address_literal bare_ip literal_mismatch",
		`"0123456789ab" looks like the id of a container: a program in it says this`: "not_fqdn",
	} {
		var got []string
		for rule, parts := range say {
			if slices.ContainsFunc(strings.Split(parts, "|"), func(part string) bool {
				return part != "" && strings.Contains(reply, part)
			}) {
				got = append(got, rule)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", reply, got, want)
		}
	}
}

// The address of a reply that asks to wait leads to a place on each main page.
func TestWaitHasItsPlace(t *testing.T) {
	for lang, files := range sites(t) {
		if index := string(files["index.html"]); !strings.Contains(index, `<li id="wait" data-say="`) ||
			files["wait.html"] == nil {
			t.Errorf("%s: HELP_URL#wait leads nowhere", lang)
		}
	}
}

// A translation keeps the servers, commands and RFCs of the original.
func TestTranslationsKeepUp(t *testing.T) {
	code := regexp.MustCompile("(?s)```.*?```")
	number := regexp.MustCompile(`RFC\s\d+`)
	count := func(text string) string {
		return fmt.Sprint(strings.Count("\n"+text, "\n##"), code.FindAllString(text, -1))
	}
	sorted := func(list []string) string {
		for i := range list {
			list[i] = strings.Join(strings.Fields(list[i]), " ")
		}
		slices.Sort(list)
		return strings.Join(slices.Compact(list), " ")
	}
	for _, lang := range Languages() {
		if lang == english {
			continue
		}
		for _, r := range checkhelo.Rules() {
			want, err := docs.Rule(docs.Files, r.Name)
			if err != nil {
				t.Fatal(err)
			}
			folder, err := fs.Sub(files, lang)
			if err != nil {
				t.Fatal(err)
			}
			got, err := docs.Rule(folder, r.Name)
			if err != nil {
				t.Error(err)
				continue
			}
			if a, b := count(got.Fix), count(want.Fix); a != b {
				t.Errorf("%s, %s: servers or commands\n%s\nwant\n%s", lang, r.Name, a, b)
			}
			a, b := number.FindAllString(got.Why, -1), number.FindAllString(want.Why, -1)
			if sorted(a) != sorted(b) {
				t.Errorf("%s, %s: %s, want %s", lang, r.Name, a, b)
			}
		}
		for _, name := range docs.Guides {
			_, want, err := docs.Text(docs.Files, "fix/"+name+".md")
			if err != nil {
				t.Fatal(err)
			}
			data, err := files.ReadFile(lang + "/fix/" + name + ".md")
			if err != nil {
				t.Error(err)
			}
			if a, b := count(string(data)), count(want); a != b {
				t.Errorf("%s, %s: servers or commands\n%s\nwant\n%s", lang, name, a, b)
			}
		}
		entries, err := fs.Glob(files, lang+"/rules/*.md")
		if err != nil || len(entries) != len(checkhelo.Rules()) {
			t.Errorf("%s: %d pages, %d rules (%v)", lang, len(entries), len(checkhelo.Rules()), err)
		}
	}
}

// A site in two languages leads from each page to the same page in the other.
func TestSwitch(t *testing.T) {
	out := rendered(t, Options{Name: "Mail", Contact: "postmaster@example.org",
		Langs: []string{"de", "en"}})
	for _, name := range []string{"index", "no_ptr", "relay", "reach-us"} {
		for file, want := range map[string][]string{
			name + ".html": {`<html lang="de">`,
				`<a class="lang" href="` + name + `.en.html" hreflang="en" lang="en">English</a>`},
			name + ".en.html": {`<html lang="en">`, `href="index.en.html"`,
				`<a class="lang" href="` + name + `.html" hreflang="de" lang="de">Deutsch</a>`},
		} {
			for _, part := range want {
				if !strings.Contains(string(out[file]), part) {
					t.Errorf("%s lacks %s", file, part)
				}
			}
		}
	}
	if strings.Contains(string(sites(t)["de"]["index.html"]), "hreflang") {
		t.Error("a site in one language has a switch")
	}
}

func TestRefusing(t *testing.T) {
	names := func(p *checkhelo.Policy) (list []string) {
		for _, r := range Refusing(p) {
			list = append(list, r.Name)
		}
		return list
	}
	rfc := checkhelo.NewPolicy(checkhelo.RFC)
	rfc.Ceiling = checkhelo.Ignore // a dry run leaves nothing out
	byPoints := checkhelo.NewPolicy(checkhelo.RFC)
	byPoints.RejectScore = 8
	own := checkhelo.NewPolicy(checkhelo.Lenient)
	own.Override = map[string]checkhelo.Rule{
		"no_ptr":           {Action: checkhelo.Reject},
		"malformed":        {Action: checkhelo.Off},
		"address_mismatch": {Action: checkhelo.Score, Score: 9},
	}
	own.RejectScore = 1
	tests := []struct {
		name    string
		policy  *checkhelo.Policy
		in, out []string
	}{
		{"rfc", rfc, []string{"malformed", "bare_ip", "not_fqdn"},
			[]string{"no_ptr", "trailing_dot", "spf_fail"}},
		{"points", byPoints, []string{"bare_ip", "no_ptr", "no_address"},
			[]string{"trailing_dot", "spf_fail"}},
		{"own", own, []string{"no_ptr"}, []string{"malformed", "address_mismatch"}},
		{"strict", checkhelo.NewPolicy(checkhelo.Strict),
			[]string{"reserved_tld", "trailing_dot"}, []string{"ptr_mismatch"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := names(test.policy)
			for _, name := range test.in {
				if !slices.Contains(got, name) {
					t.Errorf("%s is missing: %q", name, got)
				}
			}
			for _, name := range test.out {
				if slices.Contains(got, name) {
					t.Errorf("%s is there", name)
				}
			}
		})
	}
}

// The pages show an operator's own words, and the search knows them.
func TestOwnWords(t *testing.T) {
	p := checkhelo.NewPolicy(checkhelo.RFC)
	p.HelpURL = "https://mail.example.org/helo/"
	p.Override = map[string]checkhelo.Rule{"not_fqdn": {
		Action: checkhelo.Reject, Code: 554, Detail: [2]int{7, 0},
		Message: `Office hosts need a long name, "{helo}" is short. See {url}`,
	}}
	out := rendered(t, Options{Name: "Mail", Contact: "postmaster@example.org",
		Langs: []string{"en"}, Rules: Refusing(p)})
	index := string(out["index.html"])
	for part, where := range map[string]string{
		`data-code="554 5.7.0"`:           index,
		"office hosts need a long name":   index,
		`data-code="501 5.5.2"`:           index,
		"554 5.7.0 Office hosts need a":   string(out["not_fqdn.html"]),
		"such as mail.example.org</code>": string(out["bare_ip.html"]),
		`is short</code>`:                 string(out["not_fqdn.html"]),
	} {
		if !strings.Contains(where, part) {
			t.Errorf("%q is missing", part)
		}
	}
	if out["no_ptr.html"] != nil || strings.Contains(index, "no_ptr") {
		t.Error("a rule that refuses nobody has a page")
	}
}

// Each word of the frame is there in each language.
func TestTexts(t *testing.T) {
	want := languages[english]
	for lang, loaded := range languages {
		for key := range want {
			if loaded[key] == "" {
				t.Errorf("%s: %s is empty", lang, key)
			}
		}
		if len(loaded) != len(want) {
			t.Errorf("%s: %d texts, want %d", lang, len(loaded), len(want))
		}
		if strings.Count(loaded["FoundMany"], "%d") != 1 {
			t.Errorf("%s: found %q", lang, loaded["FoundMany"])
		}
		if _, err := files.ReadFile("texts/" + lang + ".json"); err != nil {
			t.Errorf("%s: %v", lang, err)
		}
	}
}

func TestMissingTranslation(t *testing.T) {
	s, err := newSite(Options{
		Name: "Mail", Contact: "postmaster@example.org", Langs: []string{english},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Langs[0], s.T = "xx", maps.Clone(languages[english]) // texts without pages
	s.T["Lang"] = "xx"
	out := s.out
	if err := s.render(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(out["no_ptr.html"]), `<html lang="xx">`) ||
		!strings.Contains(string(out["no_ptr.html"]), `<article lang="en">`) ||
		!strings.Contains(string(out["relay.html"]), `<article lang="en">`) {
		t.Error("a page in another language does not say so")
	}
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	logo := func(name string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("a logo"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := Options{Name: "Mail", Contact: "postmaster@example.org", Langs: []string{"en"}}
	tests := []struct {
		name   string
		change func(*Options)
		want   string // the logo's file, or "error: " and a part of the error
	}{
		{"good", func(*Options) {}, ""},
		{"long name", func(o *Options) { o.Name = strings.Repeat("a", maxName+1) }, "error: found name"},
		{"blank name", func(o *Options) { o.Name = " " }, "error: found name"},
		{"two lines", func(o *Options) { o.Name = "a\nb" }, "error: found name"},
		{"direction", func(o *Options) { o.Name = "a\u202eb" }, "error: found name"},
		{"no address", func(o *Options) { o.Contact = "postmaster" }, "error: found contact"},
		{"name and address", func(o *Options) { o.Contact = "A <a@example.org>" }, "error: found contact"},
		{"language", func(o *Options) { o.Langs = []string{"tlh"} }, "error: accepted, each once: de, en"},
		{"path as language", func(o *Options) { o.Langs = []string{"../texts/en"} }, "error: found language"},
		{"twice", func(o *Options) { o.Langs = []string{"de", "de"} }, `error: language "de"; accepted, each once`},
		{"PNG", func(o *Options) { o.Logo = logo("a.PNG") }, "logo.png"},
		{"JPEG", func(o *Options) { o.Logo = logo("b.jpeg") }, "logo.jpeg"},
		{"SVG", func(o *Options) { o.Logo = logo("c.svg") }, "logo.svg"},
		{"HTML", func(o *Options) { o.Logo = logo("d.html") }, "error: accepted: PNG"},
		{"no type", func(o *Options) { o.Logo = logo("e") }, "error: accepted: PNG"},
		{"no file", func(o *Options) { o.Logo = dir + "/none.png" }, "error: no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := good
			test.change(&o)
			out := t.TempDir()
			err := Write(out, o)
			if wrong, ok := strings.CutPrefix(test.want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Errorf("%v, want %q", err, wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			index, err := os.ReadFile(filepath.Join(out, "index.html"))
			if err != nil {
				t.Fatal(err)
			}
			if shown := cmp.Or(test.want, "icon.svg"); !strings.Contains(string(index), `<img src="`+shown+`"`) {
				t.Errorf("%s is not shown", shown)
			}
		})
	}
}

func TestWriteFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Write(file, Options{Name: "Mail", Contact: "postmaster@example.org", Langs: []string{"en"}})
	if err == nil {
		t.Error("a file was taken for a directory")
	}
}

// TestContrast computes the contrast of the colours in use by the formula of
// WCAG 2.2 (1.4.3: 4.5 for text; 1.4.11: 3 for edges and focus).
func TestContrast(t *testing.T) {
	data, err := files.ReadFile("assets/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, found := strings.Cut(string(data), "@media (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("no dark colours")
	}
	dark, _, _ = strings.Cut(dark, "*, *::before")
	const text, edge = 4.5, 3
	pairs := []struct {
		over, under string
		least       float64
	}{
		{"text", "bg", text}, {"text", "surface", text}, {"text", "mark", text},
		{"muted", "bg", text}, {"muted", "surface", text}, {"muted", "mark", text},
		{"link", "bg", text}, {"link", "surface", text}, {"link", "mark", text},
		{"code", "code-bg", text}, {"surface", "link", text},
		{"edge", "bg", edge}, {"edge", "surface", edge},
		{"focus", "bg", edge}, {"focus", "surface", edge}, {"focus", "mark", edge},
	}
	for scheme, css := range map[string]string{"light": light, "dark": dark} {
		colours := make(map[string]string)
		for _, m := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
			colours[m[1]] = m[2]
		}
		for _, p := range pairs {
			ratio := contrast(t, colours[p.over], colours[p.under])
			if ratio < p.least {
				t.Errorf("%s: %s on %s has %.2f, want %.1f", scheme, p.over, p.under, ratio, p.least)
			}
		}
	}
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// luminance is the relative luminance of WCAG 2.2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil {
		t.Fatalf("colour %q: %v", colour, err)
	}
	linear := func(shift uint) float64 {
		c := float64(n>>shift&0xff) / 0xff
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

func TestMarkdown(t *testing.T) {
	tests := []struct{ name, source, want string }{
		{"RFC", "See RFC 5321, section 2.", `<p>See <a href="https://www.rfc-editor.org/rfc/rfc5321"` +
			` rel="external noopener noreferrer">RFC` + "\u00a0" + `5321</a>, section 2.</p>`},
		{"link to a page", "[x](no_ptr.md)", `<p><a href="no_ptr.html">x</a></p>`},
		{"link to a guide", "[x](../fix/relay.md)", `<p><a href="relay.html">x</a></p>`},
		{"link to no page", "[x](nosuch.md)", `<p><a href="index.html">x</a></p>`},
		{"raw HTML", "a <b>c</b>", "<p>a <!-- raw HTML omitted -->c<!-- raw HTML omitted --></p>"},
		{"script link", "[x](javascript:alert(1))", `<p><a href="">x</a></p>`},
	}
	s := &site{Options: Options{Rules: checkhelo.Rules(), Langs: []string{english}}, T: languages[english]}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := s.Render(test.source)
			if err != nil || strings.TrimSpace(string(got.Body)) != test.want {
				t.Errorf("got %s (%v), want %s", got.Body, err, test.want)
			}
		})
	}
	if got := plain("The greeting is `localhost`,\nwhich."); got != "The greeting is localhost, which" {
		t.Errorf("plain: %q", got)
	}
}

// Where the server has an address for tests, every page says so, and none says it otherwise.
func TestEcho(t *testing.T) {
	for _, address := range []string{"", "helo-test@example.org"} {
		out := rendered(t, Options{Name: "Mail", Contact: "postmaster@example.org", Echo: address,
			Langs: []string{"en"}})
		for file, page := range out {
			if !strings.HasSuffix(file, ".html") {
				continue
			}
			if strings.Contains(string(page), "<code>helo-test@example.org</code>") != (address != "") ||
				strings.Contains(string(page), "To see what this server finds now") != (address != "") {
				t.Errorf("%s with address %q", file, address)
			}
		}
	}
}
