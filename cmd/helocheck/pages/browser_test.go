package pages

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"maddy.example/checkhelo/cmd/helocheck/browsertest"
)

// policy is the strictest one that can still show a page with files.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';" +
	" base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// browser starts Chromium and a server for the site in a language.
func browser(t *testing.T, lang string) (ctx context.Context, base string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, Options{Name: "Example Mail", Contact: "postmaster@example.org", Lang: lang})
	site := http.FileServer(http.Dir(dir))
	return browsertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policy)
		site.ServeHTTP(w, r)
	}))
}

// TestBrowser looks at pages in all widths and colours. With PAGES_SHOTS=DIR
// it leaves pictures there.
func TestBrowser(t *testing.T) {
	pages := []string{"index.html", "index.html#not_fqdn", "not_fqdn.html", "generic_ptr.html",
		"relay-denied.html", "reach-us.html"}
	for _, lang := range Languages() {
		t.Run(lang, func(t *testing.T) {
			ctx, base := browser(t, lang)
			for _, page := range pages {
				for _, view := range browsertest.Views() {
					browsertest.Look(ctx, t, base+"/"+page, "main", view)
					if dir := os.Getenv("PAGES_SHOTS"); dir != "" {
						name := strings.NewReplacer(".html", "", "#", "_").Replace(page)
						shoot(ctx, t, filepath.Join(dir, fmt.Sprintf("%s-%s-%d-%s.png",
							lang, name, view.Width, view.Scheme)))
					}
				}
			}
		})
	}
}

func shoot(ctx context.Context, t *testing.T, path string) {
	t.Helper()
	var picture []byte
	if err := chromedp.Run(ctx, chromedp.FullScreenshot(&picture, 100)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, picture, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBrowserSearch(t *testing.T) {
	ctx, base := browser(t, "en")
	tests := []struct {
		name, paste string
		want        string // what the page answers
		hits        int64  // entries still shown
	}{
		{"reply", `504 5.5.2 "mx" is a host name without its domain. Let your mail server greet`,
			"The reason: The greeting is a host name without its domain", 1},
		{"broken lines", "504-5.5.2 \"mx\" is a host\n504 5.5.2 name without its   domain",
			"The reason: The greeting is a host name without its domain", 1},
		{"bounce with help address", "host mx.example.org said: 550 5.7.1 something of the operator's own;" +
			" see https://mail.example.org/helo/#rcpt_domain (in reply to RCPT TO command)",
			"The reason: The greeting is the recipient's own domain, and nothing shows that the client" +
				" belongs to it", 1},
		{"rule", "no_ptr", "The reason: The client's address has no reverse name (PTR)", 1},
		{"page name", "/helo/no_ptr.html", "The reason: The client's address has no reverse name (PTR)", 1},
		{"relay", "554 5.7.1 <a@example.net>: Relay access denied",
			"The reason: Relay denied: mail that is not for us", 0},
		{"words", "underscore", "The reason: The greeting is a host name with an underscore", 1},
		{"nothing", "zzzz qqqq", "No reason of ours fits. All of them stand below.", 29},
		{"markup", "<img src=x onerror=alert(1)>", "No reason of ours fits. All of them stand below.", 29},
		{"empty", " ", "", 29},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got string
			var shown int64
			err := chromedp.Run(ctx,
				chromedp.Navigate(base+"/index.html"),
				chromedp.WaitVisible("#reply"),
				chromedp.SetValue("#reply", test.paste),
				chromedp.Click("#search button"),
				chromedp.Evaluate(`document.getElementById("answer").textContent`, &got),
				chromedp.Evaluate(`Array.from(document.querySelectorAll("[data-rule]"))
					.filter(e => e.offsetParent !== null).length`, &shown),
			)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want || shown != test.hits {
				t.Errorf("%q, %d shown; want %q, %d", got, shown, test.want, test.hits)
			}
		})
	}
}

// TestBrowserKeyboard: the skip link comes first, and what has the focus shows it.
func TestBrowserKeyboard(t *testing.T) {
	ctx, base := browser(t, "en")
	var first, outline string
	var target float64
	err := chromedp.Run(ctx,
		chromedp.EmulateViewport(1280, 900),
		chromedp.Navigate(base+"/index.html#no_ptr"),
		chromedp.WaitReady("main"),
		chromedp.Evaluate(`document.getElementById("no_ptr").getBoundingClientRect().top`, &target),
		chromedp.Navigate(base+"/not_fqdn.html"),
		chromedp.WaitReady("main"),
		chromedp.KeyEvent("\t"),
		chromedp.Evaluate(`document.activeElement.className`, &first),
		chromedp.Evaluate(`getComputedStyle(document.activeElement).outlineStyle`, &outline),
	)
	if err != nil {
		t.Fatal(err)
	}
	if first != "skip" || outline != "solid" {
		t.Errorf("focus on %q with outline %q", first, outline)
	}
	if target < 0 || target > 600 {
		t.Errorf("#no_ptr is at %f", target)
	}
}
