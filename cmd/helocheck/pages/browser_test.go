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

	"maddy.example/checkhelo/cmd/lab/browsertest"
)

// policy is the strictest one that can still show a page with files.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self';" +
	" base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// browser starts Chromium and a server for the site in a language.
func browser(t *testing.T, lang string) (ctx context.Context, base string) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, Options{Name: "Example Mail", Contact: "postmaster@example.org",
		Langs: []string{lang, map[string]string{"en": "de", "de": "en"}[lang]}})
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
		"reach-us.html", "relay.html", "wait.html"}
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
	const (
		notFQDN  = "The reason: The greeting is a host name without its domain"
		noPTR    = "The reason: The client's address has no reverse name (PTR)"
		none     = "None of our reasons fits. All of them are listed below."
		waitLine = "451 4.7.1: your message is not lost, your server tries again by itself"
	)
	tests := []struct {
		name, paste string
		want        string // what the page answers
		hits        int64  // entries still shown
	}{
		{"reply", `504 5.5.2 "mx" is a host name without its domain. Let your mail server greet`,
			notFQDN, 1},
		{"broken lines", "504-5.5.2 \"mx\" is a host\n504 5.5.2 name without its   domain", notFQDN, 1},
		{"soft line break", "504 5.5.2 \"mx\" is a host name with=\nout its domain", notFQDN, 1},
		{"HTML", "504 5.5.2 &quot;mx&quot; is a host name without its domain", notFQDN, 1},
		{"Postfix", "<a@example.net>: host mx.example.org[192.0.2.1] said: 504 5.5.2 \"localhost1\" is\n" +
			"    a host name without its domain. Let your mail server greet with its full\n    DNS name",
			notFQDN, 1},
		{"Exchange", "mx.example.org gave this error:\nYou say \"mail.example.org\", but your address has" +
			" no reverse DNS name (PTR). Ask your provider", noPTR, 1},
		{"delivery status", "Reporting-MTA: dns; localhost\nFinal-Recipient: rfc822; a@example.net\n" +
			"Status: 5.7.25\nDiagnostic-Code: smtp; 550 5.7.25 You say \"mail.example.org\", but your" +
			" address has no reverse DNS name (PTR).", noPTR, 1},
		{"bounce with help address", "host mx.example.org said: 550 5.7.1 something of the operator's own;" +
			" see https://mail.example.org/helo/#rcpt_domain (in reply to RCPT TO command)",
			"The reason: The greeting is the recipient's own domain, and nothing shows that the client" +
				" belongs to it", 1},
		{"Safelinks", "https://eur01.safelinks.protection.outlook.com/?url=https%3A%2F%2Fmail.example.org" +
			"%2Fhelo%2F%23not_fqdn&data=05%7C02%7C&reserved=0", notFQDN, 1},
		{"encoded twice", "https://safe.example/?u=https%253A%252F%252Fmail.example.org%252F%2523no_ptr" +
			"%26x=1", noPTR, 1},
		{"URL Defense 2", "https://urldefense.example/v2/url?u=https-3A__mail.example.org_helo_" +
			"-23not-5Ffqdn&d=DwIF", notFQDN, 1},
		{"URL Defense 3", "https://urldefense.example/v3/__https://mail.example.org/helo/" +
			"*not_fqdn__;Iw!!AbC!x$", notFQDN, 1},
		{"rule", "no_ptr", noPTR, 1},
		{"rule of one word", "localhost", "The reason: The greeting is localhost, which every machine calls itself", 1},
		{"page name", "/helo/no_ptr.html", noPTR, 1},
		{"page name, other language", "https://mail.example.org/helo/no_ptr.de.html", noPTR, 1},
		{"code", "504 5.5.2", "Perhaps it is this one: The greeting is a host name without its domain", 1},
		{"code in brackets", "(504-5.5.2)", "Perhaps it is this one: The greeting is a host name without" +
			" its domain", 1},
		{"code of several", "550 5.7.25", "4 reasons fit. They are shown below.", 4},
		{"enhanced code", "#5.7.23", "Perhaps it is this one: The SPF record of the name in the greeting" +
			" says that the client may not use it", 1},
		{"code of nobody", "552 5.2.2", none, 30},
		{"code with other words", "550 5.7.1 <a@example.org>: mailbox full", none, 30},
		{"wait", "451 4.7.1", "Perhaps it is this one: " + waitLine, 0},
		{"wait, whole", "451 4.7.1 Your server is new here. Try again in 5 minutes",
			"The reason: " + waitLine, 0},
		{"wait by its address", "421 wait; see https://mail.example.org/helo/#wait (in reply)",
			"The reason: " + waitLine, 0},
		{"container", `504 5.5.2 "0123456789ab" looks like the id of a container: a program in it says this`,
			notFQDN, 1},
		{"loopback", `501 5.5.2 "127.0.0.1" means your own machine: a program or container on it says this`,
			"3 reasons fit. They are shown below.", 3},
		{"relay", "554 5.7.1 <a@example.net>: Relay access denied",
			"The reason: Relay denied: mail that is not for us", 0},
		{"words", "underscores", none, 30},
		{"word of a reason", "underscore character", none, 30},
		{"word", "full name with an underscore", none, 30},
		{"title", "host name with an underscore",
			"Perhaps it is this one: The greeting is a host name with an underscore", 1},
		{"helo", "helo", none, 30},
		{"helo and more", "HELO command rejected", none, 30},
		{"nothing", "zzzz qqqq", none, 30},
		{"markup", "<img src=x onerror=alert(1)>", none, 30},
		{"empty", " ", "", 30},
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

// TestBrowserSwitch: the other language opens at the same reason.
func TestBrowserSwitch(t *testing.T) {
	ctx, base := browser(t, "en")
	var hash, lang string
	err := chromedp.Run(ctx,
		chromedp.Navigate(base+"/index.html#no_ptr"),
		chromedp.WaitVisible("#reply"),
		chromedp.Click("a.lang"),
		chromedp.WaitVisible(`html[lang="de"] #reply`),
		chromedp.Evaluate(`location.hash`, &hash),
		chromedp.Evaluate(`document.documentElement.lang`, &lang),
	)
	if err != nil {
		t.Fatal(err)
	}
	if hash != "#no_ptr" || lang != "de" {
		t.Errorf("language %s at %q", lang, hash)
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
