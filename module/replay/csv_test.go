package replay

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCSV(t *testing.T) {
	const head = "helo,ip,rdns,ptr_confirmed,rcpt,self,class,count\n"
	for name, tt := range map[string]struct {
		in, want string // records as "helo client ptr/state rcpt self class count", one a line
		broken   int64
	}{
		"full": {head + "a,192.0.2.7,b.example.net,yes,example.org,mx.example.org,ham,3\n",
			"a 192.0.2.7 b.example.net/confirmed example.org mx.example.org ham 3", 0},
		"states": {head + "a,192.0.2.7,b.,no\na,192.0.2.7,b,\na,192.0.2.7,,no\na,192.0.2.7,-,yes\n",
			"a 192.0.2.7 b/unconfirmed    1\na 192.0.2.7 b/confirmed    1\n" +
				"a 192.0.2.7 /none    1\na 192.0.2.7 /unknown    1", 0},
		"no rdns column": {"\xef\xbb\xbfIP;Helo;other\n[IPv6:2001:db8::7];a;x\n",
			"a 2001:db8::7 /unknown    1", 0},
		"quoted": {"helo,ip,class\r\n\"a,\"\"b\",192.0.2.7,spam\r\n",
			"a,\"b 192.0.2.7 /unknown   spam 1", 0},
		"tabs": {"helo\tip\na\t192.0.2.7\n\n", "a 192.0.2.7 /unknown    1", 0},
		"broken": {head + "a,nowhere,\n,192.0.2.7,\na\n\"a,192.0.2.7\na,192.0.2.7,b,maybe\n" +
			"a,192.0.2.7,,,,,,0\na,192.0.2.7,,,,,,x\na,192.0.2.7,,,,,,-1\nb,192.0.2.7,,,,,,2\n" +
			"a,192.0.2.7,,,,,,9223372036854775807\n", "b 192.0.2.7 /none    2", 9},
		"time": {"helo,ip,time\na,192.0.2.7,99999999999999999999\n", "", 1},
	} {
		recs, st := collectText(t, testOptions(), tt.in)
		var got []string
		for _, r := range recs {
			got = append(got, strings.Join([]string{r.Helo, r.Client.String(),
				r.PTR + "/" + r.PTRState.String(), strings.Join(r.Rcpts, ","), r.Self, r.Class, itoa(r.Count)}, " "))
		}
		if s := strings.Join(got, "\n"); s != tt.want || st.Broken != tt.broken {
			t.Errorf("%s: %d broken, got\n%s\nwant\n%s", name, st.Broken, s, tt.want)
		}
	}
}

func itoa(n int) string {
	if n < 0 || n > 9 {
		return "out of the test's range"
	}
	return string(rune('0' + n))
}

// read returns "time helo" of each greeting of a table, and how many rows were broken.
func read(t *testing.T, text string, sort bool) (got []string, broken int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mail.csv")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stats, err := Read(t.Context(), []string{path}, Options{Sort: sort}, func(r *Record) error {
		at := "-"
		if !r.Time.IsZero() {
			at = fmt.Sprint(r.Time.UTC().Unix())
		}
		got = append(got, at+" "+r.Helo)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got, stats.Broken
}

func TestSort(t *testing.T) {
	const text = "helo,ip,time\nc,192.0.2.1,1970-01-01T00:00:03Z\nb2,192.0.2.1,2\n\n" +
		"none,192.0.2.1,\nb1,192.0.2.1,2.5\nbroken,192.0.2.1,soon\n\"a\",192.0.2.1,1\nb1,192.0.2.1,2\n"
	want := []string{"- none", "1 a", "2 b1", "2 b2", "2 b1", "3 c"}
	if got, broken := read(t, text, true); !slices.Equal(got, want) || broken != 1 {
		t.Errorf("%q, %d broken, want %q", got, broken, want)
	}
	if got, _ := read(t, text, false); got[0] != "3 c" {
		t.Errorf("unasked it gives %q", got)
	}
	if got, _ := read(t, "helo,ip\nb,192.0.2.1\na,192.0.2.1\n", true); !slices.Equal(got, []string{"- b", "- a"}) {
		t.Errorf("without the column it gives %q", got)
	}
}

// A table of several pieces comes out in order whatever order it has, with nothing left behind.
func TestSortInPieces(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	const rows = 3 * chunkRows
	pad := strings.Repeat("x", 400)
	order := rand.New(rand.NewPCG(1, 2)).Perm(rows)
	var text strings.Builder
	text.WriteString("time,helo,ip,rdns\n")
	for _, n := range order {
		fmt.Fprintf(&text, "%d,mail%d,192.0.2.1,%s\n", n/3, n, pad)
	}
	if rows < 2*chunkRows {
		t.Fatalf("%d rows make no chunks", rows)
	}
	got, broken := read(t, text.String(), true)
	want := make([]string, rows)
	for n := range want {
		want[n] = fmt.Sprintf("%d mail%d", n/3, n)
	}
	// Rows of one time come in the order of their text.
	slices.SortFunc(want, func(a, b string) int {
		ta, tb := strings.Fields(a), strings.Fields(b)
		if ta[0] == tb[0] {
			return strings.Compare(ta[1]+",", tb[1]+",")
		}
		var x, y int
		_, _ = fmt.Sscan(a, &x)
		_, _ = fmt.Sscan(b, &y)
		return x - y
	})
	if broken != 0 || !slices.Equal(got, want) {
		t.Errorf("%d rows, %d broken, not in order", len(got), broken)
	}
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) != 0 {
		t.Errorf("it leaves %v", left)
	}
}
