package report

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/lab/browsertest"
)

// The report is looked at as an operator would, with names in it that a
// hostile client chose.
func TestBrowser(t *testing.T) {
	tally := sample()
	tally.Compare("lenient")
	for _, helo := range []string{`"><script>alert(1)</script>`, `$(reboot)`, "a\u202eb\x1b[31m\r\nX",
		strings.Repeat("long", 60) + ".example.org"} {
		m := message("ham", helo, "192.0.2.1", 1, morning, result(checkhelo.Reject, bareIP, 0))
		m.Other, m.From = &Result{}, helo
		tally.Add(m)
	}
	ctx, base := browsertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			return // the icon that every browser asks for
		}
		if err := tally.WriteHTML(w); err != nil {
			t.Error(err)
		}
	}))
	for _, view := range browsertest.Views() {
		browsertest.Look(ctx, t, base+"/", "main", view)
	}
	var scripts, loaded int
	err := chromedp.Run(ctx,
		chromedp.Evaluate(`document.querySelectorAll("main script, main img").length`, &scripts),
		chromedp.Evaluate(`performance.getEntriesByType("resource")
			.filter(e => !e.name.endsWith("/favicon.ico")).length`, &loaded))
	if err != nil {
		t.Fatal(err)
	}
	if scripts != 0 || loaded != 0 {
		t.Errorf("%d elements of a client's making, %d things loaded", scripts, loaded)
	}
}
