package app

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/memory"
)

const rememberedZone = `
mail.example.org A 192.0.2.25
ptr 192.0.2.25 mail.example.org
out.example.com A 198.51.100.7
mx.example.net A 203.0.113.9
ptr 203.0.113.9 other.example.com
other.example.com A 203.0.113.9
mx.example.com A 203.0.113.10
a.example.net A 198.18.0.1
`

// mailStream is mail of some hosts over two months, in order of time.
func mailStream(n int) []greeted {
	rnd := rand.New(rand.NewPCG(5, 6))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stream := make([]greeted, n)
	for i := range stream {
		at = at.Add(time.Duration(1+rnd.IntN(8*60)) * time.Minute)
		host := [][2]string{
			{"mail.example.org", "192.0.2.25"}, {"out.example.com", "198.51.100.7"},
			{"mx.example.net", "203.0.113.9"}, {"out.example.com", "198.51.100.8"},
			{"mx.example.com", "203.0.113.10"}, {"a.example.net", fmt.Sprintf("198.18.%d.1", rnd.IntN(40))},
		}[rnd.IntN(6)]
		stream[i] = greeted{at, host[0], host[1], "bob@receiver.example.edu"}
	}
	return stream
}

// Replay gives the figures of the server's own hooks over the same stream, memory and all.
func TestReplayIsTheServer(t *testing.T) {
	dns := dnstest.Serve(t, rememberedZone).Addr
	for name, settings := range map[string]string{
		"strict": "policy strict", "greylist": "greylist_threshold 3\nno_ptr_action score 4",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "maddy.conf")
			text := "smtp tcp://127.0.0.1:25 {\nhostname mx.example.edu\ncheck {\nhelo_fqdn {\n" + settings +
				"\n}\n}\ndeliver_to dummy\n}\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			conf, err := maddyconf.Load(path, "")
			if err != nil {
				t.Fatal(err)
			}
			if err := useDNS(conf.Check.Judge(), dns); err != nil {
				t.Fatal(err)
			}
			var now time.Time
			_, _, m := conf.Check.Memory()
			m.Store, m.Clock = memory.NewMap(&memory.Room{Most: 10_000}), func() time.Time { return now }
			conf.Check.Judge().Memory = &m
			server := hooked{t: t, check: conf.Check}
			want := make(map[string]int)
			var rows []string
			var again []greeted
			stream := mailStream(400)
			for _, rec := range stream {
				for len(again) > 0 && !again[0].at.After(rec.at) {
					now = again[0].at
					if got := server.deliver(again[0]); got != "taken" {
						t.Fatalf("after the wait: %s", got)
					}
					again = again[1:]
				}
				now = rec.at
				action := server.deliver(rec)
				want[action]++
				if action == "greylist" {
					retry := rec
					retry.at = now.Add(memory.DefaultDelay)
					again = append(again, retry)
				}
				rows = append(rows, fmt.Sprintf("%s mx %s %s x %s",
					rec.at.Format(time.RFC3339), rec.helo, rec.ip, rec.receiver))
			}
			got := actions(t, "--config", path, "--dns", dns, table(t, rows...))
			got["taken"] = got["none"] + got["score"]
			delete(got, "none")
			delete(got, "score")
			if len(want) < 2 || !strings.Contains(fmt.Sprint(want), "taken") {
				t.Fatalf("the stream shows nothing: %v", want)
			}
			wantActions(t, "replay", got, want)
			off := actions(t, "--config", path, "--dns", dns, "--memory", "off", table(t, rows...))
			if fmt.Sprint(off) == fmt.Sprint(got) {
				t.Error("memory changes nothing")
			}
		})
	}
}
