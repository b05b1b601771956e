package app

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo/module/replay"
)

// table writes rows "time server helo ip rdns rcpt" as CSV; a rdns of "-" is an absent PTR record.
func table(t *testing.T, rows ...string) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("time,server,helo,ip,rdns,rcpt\n")
	for _, row := range rows {
		row = strings.ReplaceAll(row, " - ", "  ")
		text.WriteString(strings.ReplaceAll(row, " ", ",") + "\n")
	}
	path := filepath.Join(t.TempDir(), "mail.csv")
	if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// actions replays a file and returns the messages of each action.
func actions(t *testing.T, args ...string) map[string]int {
	t.Helper()
	out, _ := runMain(t, 0, append([]string{"replay", "--format", "json"}, args...)...)
	var report struct {
		Classes map[string]struct {
			Actions map[string]struct{ Messages int }
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]int)
	for _, class := range report.Classes {
		for action, n := range class.Actions {
			if n.Messages > 0 {
				sums[action] += n.Messages
			}
		}
	}
	return sums
}

func wantActions(t *testing.T, what string, got, want map[string]int) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// A sender without a PTR record, quarantined by strict until it was seen on three days over seven.
func seenAt(server string) (rows []string) {
	for _, day := range []string{"01", "04", "08", "09", "09"} {
		rows = append(rows, "2026-01-"+day+"T12:00:00Z "+server+" mail.example.org 192.0.2.25 - bob@example.net")
	}
	return rows
}

func TestReplayRemembers(t *testing.T) {
	one := table(t, seenAt("mx1")...)
	wantActions(t, "no memory", actions(t, "--policy", "strict", "--memory", "off", one),
		map[string]int{"quarantine": 5})
	wantActions(t, "one server", actions(t, "--policy", "strict", one),
		map[string]int{"quarantine": 3, "none": 2})
	apart := seenAt("mx1")
	for i := 3; i < len(apart); i++ {
		apart[i] = strings.Replace(apart[i], "mx1", "mx2", 1)
	}
	wantActions(t, "another server", actions(t, "--policy", "strict", table(t, apart...)),
		map[string]int{"quarantine": 5})
	var untimed []string
	for _, row := range seenAt("mx1") {
		_, rest, _ := strings.Cut(row, " ")
		untimed = append(untimed, " "+rest)
	}
	wantActions(t, "no times", actions(t, "--policy", "strict", table(t, untimed...)),
		map[string]int{"quarantine": 5})
	runMain(t, exitUsage, "replay", "--memory", "on", one)
}

const greylisting = `
state_dir /tmp
smtp tcp://127.0.0.1:25 {
    hostname mx.example.com
    check {
        helo_fqdn {
            greylist_threshold 3
        }
    }
    deliver_to dummy
}
`

// A greeting that has to wait counts once: its client tries again after five minutes, and is known
// from then on.
func TestReplayGreylists(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "maddy.conf")
	if err := os.WriteFile(conf, []byte(greylisting), 0o600); err != nil {
		t.Fatal(err)
	}
	rows := func(times ...string) (rows []string) {
		for _, at := range times {
			rows = append(rows, "2026-01-01T"+at+"Z mx mail.example.org 192.0.2.25 - bob@example.net")
		}
		return rows
	}
	wantActions(t, "known after the wait",
		actions(t, "--config", conf, table(t, rows("12:00:00", "12:04:59", "12:05:01", "13:00:00")...)),
		map[string]int{"greylist": 2, "score": 2})
	stranger := append(rows("12:00:00"), "2026-01-01T12:30:00Z mx mail.example.org 198.51.100.1 - bob@example.net")
	wantActions(t, "another network", actions(t, "--config", conf, table(t, stranger...)),
		map[string]int{"greylist": 2})
}

// The order of the rows does not matter, nor does the cache of verdicts.
func TestReplaySortsByTime(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var rows []string
	for range 3000 {
		at := start.Add(time.Duration(rnd.IntN(60*24)) * time.Hour)
		server, org := []string{"mx1", "mx2"}[rnd.IntN(2)], rnd.IntN(4)
		rows = append(rows, fmt.Sprintf("%s %s mail.example%d.org 192.0.%d.25 - bob@example.net",
			at.Format(time.RFC3339), server, org, rnd.IntN(20)))
	}
	want := actions(t, "--policy", "strict", table(t, rows...))
	if len(want) < 2 {
		t.Fatalf("memory changes nothing: %v", want)
	}
	for range 3 {
		rnd.Shuffle(len(rows), func(i, k int) { rows[i], rows[k] = rows[k], rows[i] })
		wantActions(t, "shuffled", actions(t, "--policy", "strict", table(t, rows...)), want)
	}
}

// What is remembered of a verdict is what a new one would be, memory and all.
func TestRememberedVerdictsWithMemory(t *testing.T) {
	for _, policy := range []string{"rfc", "strict"} {
		kept, fresh := testJudge(t, policy, "recorded"), testJudge(t, policy, "recorded")
		fresh.kept = nil
		records := randomRecords(20_000)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		lifted := 0
		for i := range records {
			rec := &records[i]
			at = at.Add(time.Duration(i%7) * 5 * time.Minute)
			rec.Time, rec.Server = at, []string{"mx1", "mx2"}[i%2]
			rec.Outcome = []string{replay.Accepted, replay.Rejected, ""}[i%3]
			got, want := kept.result(t.Context(), rec, nil), fresh.result(t.Context(), rec, nil)
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s, record %d %+v: %+v, judged afresh %+v", policy, i, *rec, got, want)
			}
			rec.Time = time.Time{}
			if !reflect.DeepEqual(got, fresh.result(t.Context(), rec, nil)) {
				lifted++
			}
		}
		if lifted == 0 {
			t.Errorf("%s: memory changed nothing", policy)
		}
	}
}

// The rows of all servers together are bounded, and what did not fit is counted.
func TestSimulationIsBounded(t *testing.T) {
	j := testJudge(t, "rfc", "recorded")
	rec := replay.Record{Client: someClient, Count: 1, PTRState: replay.None}
	for i := range simulatedRows + 2000 {
		rec.Helo = fmt.Sprintf("mail.example%d.org", i)
		rec.Server = fmt.Sprintf("mx%d", i%(simulatedServers+1))
		rec.Client = rec.Client.Next()
		rec.Time = time.Unix(1_700_000_000+int64(i), 0)
		j.result(t.Context(), &rec, nil)
	}
	if j.memory.room.Rows > simulatedRows || len(j.memory.Servers) > simulatedServers {
		t.Errorf("%d rows of %d servers", j.memory.room.Rows, len(j.memory.Servers))
	}
	if j.memory.Dropped() == 0 || j.memory.Untimed == 0 {
		t.Errorf("%d dropped, %d without memory: nothing was counted", j.memory.Dropped(), j.memory.Untimed)
	}
}

// The line that a report gives for a lost message lets its sender pass.
func TestAllowLineWorks(t *testing.T) {
	for name, row := range map[string]string{
		"exempt_names static { entry example.org": "2026-01-01T12:00:00Z mx example.org 192.0.2.25 mail.example.org bob@example.net",
		"exempt_clients": "2026-01-01T12:00:00Z mx friend 192.0.2.25 mail.example.org bob@example.net",
		"exempt_names static { entry friend 192.0.2.25": "2026-01-01T12:00:00Z mx friend 192.0.2.25 - bob@example.net",
	} {
		mail := table(t, row)
		conf := func(lines string) string {
			path := filepath.Join(t.TempDir(), "maddy.conf")
			text := "smtp tcp://127.0.0.1:25 {\n hostname mx.example.com\n check { helo_fqdn {\n" +
				" not_fqdn_action reject\n bare_domain_action reject\n" + lines + "\n }\n }\n deliver_to dummy\n}\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}
		out, _ := runMain(t, 0, "replay", "--class", "ham", "--config", conf(""), mail)
		_, line, found := strings.Cut(out, "    exempt: ")
		line, _, _ = strings.Cut(line, "\n")
		if !found || !strings.HasPrefix(line, name) {
			t.Fatalf("%s: line %q in %s", name, line, out)
		}
		got := actions(t, "--class", "ham", "--config", conf(line), mail)
		wantActions(t, line, got, map[string]int{"none": 1})
	}
}
