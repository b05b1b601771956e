package app

import (
	"bytes"
	"flag"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"maddy.example/checkhelo/cmd/lab/browsertest"
)

var update = flag.Bool("update", false, "write the pictures of the report into docs")

// The report on the mail of 2002 fits the README, in light and in dark. With
// -update the pictures there are made anew.
func TestPictureOfReport(t *testing.T) {
	const width, height, most = 900, 470, 150 << 10 // pixels, octets
	page := filepath.Join(t.TempDir(), "report.html")
	var out, said bytes.Buffer
	args := []string{"helocheck", "replay", "--policy", "rfc", "--format", "html",
		"-o", page, "../testdata/corpus-2002.csv"}
	if status := Main(args, &out, &said); status != 0 {
		t.Fatalf("status %d: %s", status, said.String())
	}
	ctx, base := browsertest.Start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.ServeFile(w, r, page)
		}
	}))
	for _, scheme := range []string{"light", "dark"} {
		browsertest.Look(ctx, t, base+"/", "main", browsertest.View{Width: width, Scheme: scheme})
		var shot []byte
		err := chromedp.Run(ctx, chromedp.EmulateViewport(width, height),
			chromedp.Evaluate(`document.querySelector("section[aria-label='Class ham']").scrollIntoView()`, nil),
			chromedp.CaptureScreenshot(&shot))
		if err != nil {
			t.Fatal(err)
		}
		path := "../../../docs/report-" + scheme + ".png"
		if *update {
			if err := os.WriteFile(path, shot, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		kept, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range map[string][]byte{"new": shot, "kept": kept} {
			size, err := png.DecodeConfig(bytes.NewReader(data))
			if err != nil || size.Width != width || size.Height != height || len(data) > most {
				t.Errorf("%s, %s: %d x %d, %d octets, %v", scheme, name, size.Width, size.Height,
					len(data), err)
			}
		}
	}
}
