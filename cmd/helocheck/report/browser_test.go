package report

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/lab/browsertest"
)

// misdrawn are the parts of bars and of the chart that nobody sees, that stick out, or whose size is
// not that of their count.
const misdrawn = `Array.from(document.querySelectorAll(".bar, .line span")).flatMap(function (whole) {
	const box = whole.getBoundingClientRect(), column = whole.matches(".line span");
	const size = r => column ? r.height : r.width;
	const most = Number(getComputedStyle(whole).getPropertyValue("--whole"));
	return Array.from(whole.children).filter(function (part) {
		const r = part.getBoundingClientRect();
		const share = size(r) / size(box) - Number(part.style.getPropertyValue("--n")) / most;
		return size(r) < 1 || r.left < box.left - 1 || r.right > box.right + 1 || r.top < box.top - 1 ||
			r.bottom > box.bottom + 1 || Math.abs(share) > 0.01;
	}).map(part => part.title);
})`

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
	var drawn []string
	err := chromedp.Run(ctx,
		chromedp.Evaluate(`document.querySelectorAll("main script, main img").length`, &scripts),
		chromedp.Evaluate(`performance.getEntriesByType("resource")
			.filter(e => !e.name.endsWith("/favicon.ico")).length`, &loaded),
		chromedp.Evaluate(misdrawn, &drawn))
	if err != nil {
		t.Fatal(err)
	}
	if scripts != 0 || loaded != 0 {
		t.Errorf("%d elements of a client's making, %d things loaded", scripts, loaded)
	}
	if len(drawn) > 0 {
		t.Errorf("not drawn by their counts: %q", drawn)
	}
}
