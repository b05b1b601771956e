package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

func testJudge(tb testing.TB, policy, dns string) *Recorded {
	tb.Helper()
	check, err := maddyconf.FromPolicy(policy)
	if err != nil {
		tb.Fatal(err)
	}
	j, err := NewRecorded(check, dns, true)
	if err != nil {
		tb.Fatal(err)
	}
	return j
}

var someClient = netip.MustParseAddr("192.0.2.25")

// The recorded PTR is the DNS, and what the record does not tell is not asked.
func TestRecall(t *testing.T) {
	const ptr = "Mail.Example.ORG"
	tests := []struct {
		name, ptr              string
		state                  replay.PTRState
		wantPTR, wantConfirmed checkhelo.State
		wantForward            checkhelo.State
		names, confirmed       []string
	}{
		{"not recorded", "", replay.NotRecorded, checkhelo.NotAsked, checkhelo.NotAsked, checkhelo.NotAsked, nil, nil},
		{"none", "", replay.None, checkhelo.NotFound, checkhelo.NotFound, checkhelo.NotAsked, nil, nil},
		{"confirmed, the HELO name", ptr, replay.Confirmed, checkhelo.Found, checkhelo.Found, checkhelo.Found,
			[]string{"mail.example.org"}, []string{"mail.example.org"}},
		{"confirmed, another name", "host.example.net", replay.Confirmed, checkhelo.Found, checkhelo.Found,
			checkhelo.NotAsked, []string{"host.example.net"}, []string{"host.example.net"}},
		{"unconfirmed", ptr, replay.Unconfirmed, checkhelo.Found, checkhelo.NotFound, checkhelo.NotAsked,
			[]string{"mail.example.org"}, nil},
		{"unconfirmed without a name", "", replay.Unconfirmed, checkhelo.NotAsked, checkhelo.NotAsked,
			checkhelo.NotAsked, nil, nil},
		{"confirmed without a name", "", replay.Confirmed, checkhelo.NotAsked, checkhelo.NotAsked,
			checkhelo.NotAsked, nil, nil},
		{"no host's name", "a..b", replay.Confirmed, checkhelo.NotFound, checkhelo.NotFound,
			checkhelo.NotAsked, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := checkhelo.Facts{Helo: heloname.Parse("mail.example.org"), Client: someClient}
			recall(&f, &replay.Record{PTR: test.ptr, PTRState: test.state})
			if f.PTR.State != test.wantPTR || !slices.Equal(f.PTR.Value, test.names) {
				t.Errorf("PTR %+v", f.PTR)
			}
			if f.Confirmed.State != test.wantConfirmed || !slices.Equal(f.Confirmed.Value, test.confirmed) {
				t.Errorf("confirmed %+v", f.Confirmed)
			}
			if f.Forward.State != test.wantForward ||
				f.Forward.State == checkhelo.Found && f.Forward.Value[0] != someClient {
				t.Errorf("forward %+v", f.Forward)
			}
			if f.MX.State+f.TLD.State+f.SPF.State+f.Listed.State != 0 {
				t.Errorf("more than the PTR is known: %+v", f)
			}
		})
	}
}

func TestRecordsThatAreNotJudged(t *testing.T) {
	j := testJudge(t, "strict", "recorded")
	tests := map[string]replay.Record{
		"auth":    {Helo: "friend", Client: someClient, Auth: true},
		"network": {Helo: "friend", Client: netip.MustParseAddr("127.0.0.1")},
		"rcpt":    {Helo: "friend", Client: someClient, Rcpts: []string{"postmaster@example.org"}},
		"":        {Helo: "friend", Client: someClient, Rcpts: []string{"bob@example.org"}},
	}
	for want, rec := range tests {
		rec.Count = 1
		m := j.Message(t.Context(), &rec, nil)
		refused := m.Action == checkhelo.Reject
		if m.Exempt != want || refused != (want == "") {
			t.Errorf("%q: %+v", want, m)
		}
	}
}

func TestSelfOfTheRecord(t *testing.T) {
	j := testJudge(t, "strict", "off")
	rec := replay.Record{Helo: "mx.example.org", Client: someClient, Self: "MX.example.org.", Count: 1}
	hits := func() (names []string) {
		rules := j.Policy.Rules()
		m := j.Message(t.Context(), &rec, nil)
		for i, r := range rules {
			if m.Rules&(1<<i) != 0 {
				names = append(names, r.Name)
			}
		}
		return names
	}
	if !slices.Contains(hits(), "self_name") {
		t.Errorf("the receiver's own name hits %v", hits())
	}
	rec.Self = "other.example.org"
	if slices.Contains(hits(), "self_name") {
		t.Errorf("another server's name hits %v", hits())
	}
	if len(j.Self.Names) != 0 {
		t.Errorf("own names %v", j.Self.Names)
	}
}

// randomRecords are greetings that share parts with each other, so that a
// verdict remembered for the wrong one shows.
func randomRecords(n int) []replay.Record {
	rnd := rand.New(rand.NewPCG(3, 4))
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	records := make([]replay.Record, n)
	for i := range records {
		records[i] = replay.Record{
			Helo:     pick("friend", "mail.example.org", "example.org", "192.0.2.25", "localhost", "a_b.example.net"),
			Client:   netip.AddrFrom4([4]byte{192, 0, 2, byte(24 + rnd.IntN(3))}),
			PTR:      pick("", "mail.example.org", "host.example.net"),
			PTRState: replay.PTRState(rnd.IntN(4)),
			Rcpts:    []string{pick("", "example.org", "bob@example.org", "abuse@example.org", "example.net")},
			Self:     pick("", "mail.example.org", "mx.example.net"),
			Auth:     rnd.IntN(5) == 0,
			Count:    1 + rnd.IntN(3),
		}
	}
	return records
}

func TestRememberedVerdicts(t *testing.T) {
	for _, dns := range []string{"off", "recorded"} {
		kept, fresh := testJudge(t, "rfc", dns), testJudge(t, "rfc", dns)
		fresh.kept = nil
		for i, rec := range randomRecords(5000) {
			got, want := kept.result(t.Context(), &rec, nil), fresh.result(t.Context(), &rec, nil)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("dns %s, record %d %+v: %+v, judged afresh %+v", dns, i, rec, got, want)
			}
		}
	}
}

func TestKnownGreetingDoesNotAllocate(t *testing.T) {
	j := testJudge(t, "rfc", "recorded")
	rec := randomRecords(1)[0]
	rec.Helo, rec.Count = "mail.example.org", 1
	j.result(t.Context(), &rec, nil)
	if n := testing.AllocsPerRun(100, func() { j.result(t.Context(), &rec, nil) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// csvOf writes records as a table that replay reads.
func csvOf(t *testing.T, records []replay.Record) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("helo,ip,rdns,ptr_confirmed,rcpt,self,class,count\n")
	for i, r := range records {
		rdns, confirmed := r.PTR, "yes"
		switch r.PTRState {
		case replay.NotRecorded:
			rdns = "-"
		case replay.None:
			rdns = ""
		case replay.Unconfirmed:
			confirmed = "no"
		}
		class := [...]string{"ham", "spam", ""}[i%3]
		fmt.Fprintf(&text, "%s,%s,%s,%s,%s,%s,%s,%d\n", r.Helo, r.Client, rdns, confirmed, strings.Join(r.Rcpts, ""), r.Self, class, r.Count)
	}
	path := filepath.Join(t.TempDir(), "mail.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// runMain runs helocheck and returns what it prints.
func runMain(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if got := Main(append([]string{"helocheck"}, args...), &out, &errs); got != want {
		t.Fatalf("%q: status %d, want %d: %s", args, got, want, errs.String())
	}
	return out.String(), errs.String()
}

// The counts depend neither on the number of cores nor on who answers first.
func TestSameCountsWithAnyCores(t *testing.T) {
	path := csvOf(t, randomRecords(2000))
	server := dnstest.Serve(t, "mail.example.org A 192.0.2.25\nptr 192.0.2.25 mail.example.org\n")
	for _, dns := range []string{"off", "recorded", server.Addr} {
		var counts []string
		for _, cores := range []int{1, 2, 4} {
			before := runtime.GOMAXPROCS(cores)
			out, _ := runMain(t, 0, "replay", path, "--dns", dns, "--format", "json")
			runtime.GOMAXPROCS(before)
			counts = append(counts, out)
		}
		if counts[0] != counts[1] || counts[1] != counts[2] {
			t.Errorf("--dns %s: counts differ with the number of cores", dns)
		}
		if !strings.Contains(counts[0], `"mail.example.org"`) && dns != "off" {
			t.Errorf("--dns %s: nothing was counted: %s", dns, counts[0])
		}
	}
}

func TestFlagsAfterOperands(t *testing.T) {
	path := csvOf(t, randomRecords(10))
	want, _ := runMain(t, 0, "replay", "--dns", "off", "--format", "csv", path)
	for _, args := range [][]string{
		{"replay", path, "--dns", "off", "--format", "csv"},
		{"replay", path, "-dns=off", "--format=csv"},
		{"replay", "--format", "csv", path, "--dns", "off"},
		{"replay", "--format", "csv", "--dns", "off", "--", path},
		{"replay", path, "--format", "csv", "--dns", "off", "--"},
	} {
		if got, _ := runMain(t, 0, args...); got != want {
			t.Errorf("%q gives %q, want %q", args, got, want)
		}
	}
	out := filepath.Join(t.TempDir(), "counts.csv")
	if said, _ := runMain(t, 0, "replay", path, "-o", out, "--dns", "off", "--format", "csv"); said != "" {
		t.Errorf("with -o it prints %q", said)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != want {
		t.Errorf("-o wrote %q, %v", got, err)
	}
}

func TestTimeOf(t *testing.T) {
	for text, bad := range map[string]bool{
		"": false, "2026-01-31": false, "2026-01-31T18:00:00Z": false, "2026-13-01": true, "today": true,
	} {
		at, err := timeOf(text)
		if (err != nil) != bad || !bad && at.IsZero() != (text == "") {
			t.Errorf("%q: %v, %v", text, at, err)
		}
	}
}

// Every rule fits into the bits of a result.
func TestRulesFit(t *testing.T) {
	if n, bits := len(checkhelo.Rules()), reflect.TypeFor[uint64]().Bits()-8; n > bits { // report has bits of its own
		t.Errorf("%d rules, %d bits", n, bits)
	}
}

func BenchmarkJudge(b *testing.B) {
	records := randomRecords(1000)
	for name, kept := range map[string]bool{"known": true, "new": false} {
		b.Run(name, func(b *testing.B) {
			j := testJudge(b, "rfc", "recorded")
			if !kept {
				j.kept = nil
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				j.result(b.Context(), &records[i%len(records)], nil)
			}
		})
	}
}

// What was counted before an interrupt is shown.
func TestInterrupt(t *testing.T) {
	path := csvOf(t, randomRecords(100))
	for _, dns := range []string{"off", dnstest.Serve(t, "").Addr} {
		ctx, cancel := context.WithCancel(t.Context())
		var out bytes.Buffer
		program := &cli.App{
			Writer: &out, ErrWriter: io.Discard, Commands: []*cli.Command{Mounted()},
			ExitErrHandler: func(*cli.Context, error) {},
		}
		cancel()
		err := program.RunContext(ctx, []string{"maddy", "helo", "replay", path, "--dns", dns})
		if err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Errorf("--dns %s: error %v", dns, err)
		}
		if !strings.HasPrefix(out.String(), "policy rfc, ") {
			t.Errorf("--dns %s: printed %q", dns, out.String())
		}
	}
}
