package attack

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestMissed(t *testing.T) {
	whole := row{
		alone: []time.Duration{10 * ms, 20 * ms, 30 * ms}, among: []time.Duration{10 * ms, 120 * ms, 530 * ms},
		refused: 3, with: use{memory: 70}, plain: use{memory: 6},
	}
	if got := whole.missed(3); len(got) != 0 {
		t.Errorf("each target is just met, got %q", got)
	}
	for want, change := range map[string]func(r *row){
		"in the median":      func(r *row) { r.among = []time.Duration{10 * ms, 121 * ms, 530 * ms} },
		"slowest good":       func(r *row) { r.among = []time.Duration{10 * ms, 20 * ms, 531 * ms} },
		"1 good clients":     func(r *row) { r.lost = 1 },
		"2 of 3 bad clients": func(r *row) { r.refused = 2 },
		"by 65 MiB":          func(r *row) { r.with.memory = 71 },
	} {
		r := whole
		change(&r)
		if got := r.missed(3); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("want one fault with %q, got %q", want, got)
		}
	}
}

func TestRecords(t *testing.T) {
	for _, test := range []struct {
		name, qtype string
		want        []string
	}{
		{"good300.example.net.", "A", []string{"A 127.77.1.44"}},
		{"bad1.example.net.", "A", []string{"A 127.88.0.1"}},
		{"44.1.77.127.in-addr.arpa.", "PTR", []string{"PTR good300.example.net."}},
		{"1.0.88.127.in-addr.arpa.", "PTR", []string{"PTR bad1.example.net."}},
		{"spf.good300.example.net.", "TXT", []string{`TXT "v=spf1 ip4:127.77.0.0/16 -all"`}},
		{"spf.bad1.example.net.", "TXT", []string{`TXT "v=spf1 ip4:192.0.2.0/24 -all"`}},
		{"mail.example.net.", "A", nil},
	} {
		if got := records(test.name, test.qtype); !slices.Equal(got, test.want) {
			t.Errorf("%s %s: got %q, want %q", test.name, test.qtype, got, test.want)
		}
	}
	far := records("a1.far.example.org.", "TXT")
	if len(far) != 1 || strings.Count(far[0], " mx:") != 10 {
		t.Errorf("a far name has the SPF record %q, want ten mechanisms", far)
	}
	hosts := records("m0-a1.far.example.org.", "MX")
	dead := slices.DeleteFunc(slices.Clone(hosts), func(data string) bool {
		return !strings.HasSuffix(data, ".dead.example.org.")
	})
	if len(hosts) != 10 || len(dead) != 5 {
		t.Errorf("%d of %d hosts never answer, want 5 of 10", len(dead), len(hosts))
	}
}

func TestResident(t *testing.T) {
	const status = "Name:\tmaddy\nVmHWM:\t  9000 kB\nVmRSS:\t  4096 kB\nThreads:\t7\n"
	if got := resident(status); got != 4096 {
		t.Errorf("got %d KiB", got)
	}
	if got := resident(""); got != 0 {
		t.Errorf("a server that has ended takes %d KiB", got)
	}
}
