// Package browsertest lets tests look at pages in a headless Chromium.
package browsertest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Start runs Chromium and a server for site, both until the test ends. Whatever
// a page writes to the console, or may not load, fails the test. Without
// Chromium on the PATH, or with -short, the test is skipped.
func Start(t *testing.T, site http.Handler) (ctx context.Context, base string) {
	t.Helper()
	found := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			found = path
			break
		}
	}
	if found == "" || testing.Short() {
		t.Skip("SKIPPED: needs Chromium on the PATH (Debian: apt-get install chromium) and no -short")
	}
	server := httptest.NewServer(site)
	t.Cleanup(server.Close)

	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(found),
		chromedp.NoSandbox)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	quiet := func(string, ...any) {} // a newer Chromium knows events that the library does not
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(quiet))
	t.Cleanup(cancel)
	chromedp.ListenTarget(ctx, func(event any) {
		switch event := event.(type) {
		case *log.EventEntryAdded:
			t.Errorf("%s: %s", event.Entry.URL, event.Entry.Text)
		case *runtime.EventExceptionThrown:
			t.Errorf("script: %s", event.ExceptionDetails.Error())
		case *runtime.EventConsoleAPICalled:
			t.Errorf("console: %s", event.Type)
		}
	})
	if err := chromedp.Run(ctx, log.Enable(), runtime.Enable()); err != nil {
		t.Fatal(err)
	}
	return ctx, server.URL
}

// View is a way to look at a page.
type View struct {
	Width  int64  // CSS pixels
	Scheme string // light or dark
}

// Views are the ones that every page has to be fit for.
func Views() []View {
	return []View{{1280, "light"}, {1280, "dark"}, {390, "light"}, {390, "dark"}}
}

// Look loads the page at url and waits until element ready is there. It fails
// the test when anything sticks out at the side, but for what stands in an
// element of class scroll.
func Look(ctx context.Context, t *testing.T, url, ready string, view View) {
	t.Helper()
	const height = 900
	var sticksOut []string
	err := chromedp.Run(ctx,
		chromedp.EmulateViewport(view.Width, height),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: view.Scheme},
		}),
		chromedp.Navigate("about:blank"), // so that a new fragment is a new page
		chromedp.Navigate(url),
		chromedp.WaitReady(ready),
		chromedp.Evaluate(`Array.from(document.querySelectorAll("body *"))
			.filter(e => !e.classList.contains("skip") && !e.closest(".scroll"))
			.filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5
				|| e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline")
			.map(e => e.outerHTML.slice(0, 80))`, &sticksOut),
	)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	if len(sticksOut) > 0 {
		t.Errorf("%s, %+v: too wide: %q", url, view, sticksOut)
	}
}
