package app

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/exterrors"
	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"

	helo "maddy.example/checkhelo/module"
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

// mailStream is mail of four hosts over two months, in order of time.
func mailStream(n int) []replay.Record {
	rnd := rand.New(rand.NewPCG(5, 6))
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	stream := make([]replay.Record, n)
	for i := range stream {
		at = at.Add(time.Duration(1+rnd.IntN(8*60)) * time.Minute)
		host := [][2]string{
			{"mail.example.org", "192.0.2.25"}, {"out.example.com", "198.51.100.7"},
			{"mx.example.net", "203.0.113.9"}, {"out.example.com", "198.51.100.8"},
			{"mx.example.com", "203.0.113.10"}, {"a.example.net", fmt.Sprintf("198.18.%d.1", rnd.IntN(40))},
		}[rnd.IntN(6)]
		stream[i] = replay.Record{Helo: host[0], Server: host[1], Time: at}
	}
	return stream
}

// atServer hands one message to the hooks of the registered check, as Maddy does, and returns what
// becomes of it.
func atServer(t *testing.T, c *helo.Check, rec *replay.Record) string {
	t.Helper()
	conn := &module.ConnState{
		Proto: "ESMTP", Hostname: rec.Helo,
		RemoteAddr: &net.TCPAddr{IP: net.ParseIP(rec.Server), Port: 4000},
		LocalAddr:  &net.TCPAddr{IP: net.IPv4(192, 0, 2, 200), Port: 25},
	}
	if err := c.CheckConnection(t.Context(), conn); err != nil {
		return "reject"
	}
	meta := &module.MsgMetadata{ID: "1", Conn: conn}
	s, err := c.CheckStateForMsg(t.Context(), meta)
	if err != nil {
		t.Fatal(err)
	}
	s.CheckConnection(t.Context())
	s.CheckSender(t.Context(), notRecorded)
	if res := s.CheckRcpt(t.Context(), "bob@receiver.example.edu"); res.Reject {
		var reply *exterrors.SMTPError
		if errors.As(res.Reason, &reply) && reply.Code == 451 {
			return "greylist"
		}
		return "reject"
	}
	res := s.CheckBody(t.Context(), textproto.Header{}, nil)
	meta.Quarantine = res.Quarantine
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if res.Quarantine {
		return "quarantine"
	}
	return "pass"
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
			m.Store, m.Clock = memory.NewMap(10_000), func() time.Time { return now }
			conf.Check.Judge().SetMemory(&m)
			want := make(map[string]int)
			var rows []string
			var again []replay.Record
			stream := mailStream(400)
			for i := range stream {
				rec := &stream[i]
				for len(again) > 0 && !again[0].Time.After(rec.Time) {
					now = again[0].Time
					if got := atServer(t, conf.Check, &again[0]); got != "pass" {
						t.Fatalf("after the wait: %s", got)
					}
					again = again[1:]
				}
				now = rec.Time
				action := atServer(t, conf.Check, rec)
				want[action]++
				if action == "greylist" {
					retry := *rec
					retry.Time = now.Add(memory.DefaultDelay)
					again = append(again, retry)
				}
				rows = append(rows, fmt.Sprintf("%s mx %s %s x bob@receiver.example.edu",
					rec.Time.Format(time.RFC3339), rec.Helo, rec.Server))
			}
			got := actions(t, "--config", path, "--dns", dns, table(t, rows...))
			got["pass"] = got["none"] + got["score"]
			delete(got, "none")
			delete(got, "score")
			if len(want) < 2 || !strings.Contains(fmt.Sprint(want), "pass") {
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
