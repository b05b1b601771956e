package app

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/buffer"
	"github.com/foxcpp/maddy/framework/exterrors"
	maddy "github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/memory"
)

// greeted is one message of the stream.
type greeted struct {
	at       time.Time
	helo, ip string
	receiver string
}

// stream makes messages of some organisations, in the order of time: well kept and odd hosts, some of
// which come back over days, and rented networks with many names.
func stream(rng *rand.Rand, n int) (messages []greeted, zone string) {
	var records strings.Builder
	type host struct{ helo, ip string }
	var hosts []host
	for i := range 60 {
		h := host{fmt.Sprintf("mail.org%d-bench.com", i), fmt.Sprintf("203.0.%d.%d", 113+i%5, 10+i)}
		switch i % 6 {
		case 0: // well kept
			fmt.Fprintf(&records, "%s A %s\nptr %s %s\n", h.helo, h.ip, h.ip, h.helo)
		case 1: // no PTR record
			fmt.Fprintf(&records, "%s A %s\n", h.helo, h.ip)
		case 2: // the PTR name leads elsewhere
			fmt.Fprintf(&records, "%s A %s\nptr %s other-bench.com\n", h.helo, h.ip, h.ip)
		case 3: // a bare domain without a PTR record
			h.helo = fmt.Sprintf("org%d-bench.com", i)
			fmt.Fprintf(&records, "%s A %s\n", h.helo, h.ip)
		case 4:
			h.helo = []string{"localhost", "friend", "exchange.corp.local"}[i/6%3]
		case 5: // names that do not exist
		}
		hosts = append(hosts, h)
	}
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for range n {
		at = at.Add(time.Duration(60+rng.IntN(6*3600)) * time.Second)
		h := hosts[rng.IntN(len(hosts))]
		messages = append(messages, greeted{at, h.helo, h.ip,
			fmt.Sprintf("%s@receiver.example", []string{"ann", "bob", "postmaster"}[rng.IntN(3)])})
	}
	return messages, records.String()
}

// hooked is a registered check whose hooks are called as Maddy calls them, at a time of the test.
type hooked struct {
	t     *testing.T
	check *module.Check
	port  int
}

// deliver sends one message and returns what became of it.
func (h *hooked) deliver(m greeted) string {
	h.t.Helper()
	h.port++
	conn := &maddy.ConnState{Proto: "ESMTP", Hostname: m.helo,
		RemoteAddr: &net.TCPAddr{IP: net.ParseIP(m.ip), Port: h.port},
		LocalAddr:  &net.TCPAddr{IP: net.IPv4(198, 51, 100, 25), Port: 25}}
	ctx := h.t.Context()
	if err := h.check.CheckConnection(ctx, conn); err != nil {
		h.t.Fatal(err)
	}
	meta := &maddy.MsgMetadata{ID: fmt.Sprint(h.port), Conn: conn}
	state, err := h.check.CheckStateForMsg(ctx, meta)
	if err != nil {
		h.t.Fatal(err)
	}
	state.CheckConnection(ctx)
	state.CheckSender(ctx, notRecorded) // CSV has no sender
	if res := state.CheckRcpt(ctx, m.receiver); res.Reject {
		var reply *exterrors.SMTPError
		if errors.As(res.Reason, &reply) && reply.Code == 451 {
			return "greylist"
		}
		return "reject"
	}
	res := state.CheckBody(ctx, textproto.Header{}, buffer.MemoryBuffer{})
	if meta.Quarantine = res.Quarantine; res.Reject {
		h.t.Fatalf("%+v is refused at DATA", m)
	}
	if err := state.Close(); err != nil {
		h.t.Fatal(err)
	}
	if meta.Quarantine {
		return "quarantine"
	}
	return "taken"
}

// The hooks of the registered check and replay's simulation give every message of a stream the same
// fate: with both there are strangers, known senders, waits and neighbours.
func TestHooksAgreeWithReplay(t *testing.T) {
	for _, policy := range []string{"rfc", "strict"} {
		t.Run(policy, func(t *testing.T) {
			messages, zone := stream(rand.New(rand.NewPCG(16, 6)), 400)
			dns := dnstest.Serve(t, zone).Addr
			dir := t.TempDir()
			conf := filepath.Join(dir, "maddy.conf")
			text := "state_dir " + dir + "\nhostname mx.receiver.example\nsmtp tcp://198.51.100.25:25 {\ncheck {\n" +
				"helo_fqdn " + policy + " {\ndns_servers " + dns + "\nmemory sqlite3 helo.db\n" +
				"greylist_threshold 3\ngreylist_delay 5m\n}\n}\ndeliver_to dummy\n}\n"
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			replayed := replayActions(t, conf, dns, dir, messages)

			loaded, err := maddyconf.Load(conf, "")
			if err != nil {
				t.Fatal(err)
			}
			h := &hooked{t: t, check: loaded.Check}
			var now time.Time
			_, _, m := h.check.Memory()
			m.Clock, m.Store = func() time.Time { return now }, memory.NewMap(&memory.Room{Most: 10_000})
			h.check.Judge().Memory = &m
			var waiting []greeted // their clients try again after the delay
			fates := make(map[string]int)
			for i, msg := range messages {
				for len(waiting) > 0 && !waiting[0].at.After(msg.at) {
					now = waiting[0].at
					if fate := h.deliver(waiting[0]); fate != "taken" {
						t.Errorf("%+v after its wait: %s", waiting[0], fate)
					}
					waiting = waiting[1:]
				}
				now = msg.at
				fate := h.deliver(msg)
				fates[fate]++
				if fate == "greylist" {
					again := msg
					again.at = msg.at.Add(5 * time.Minute)
					waiting = append(waiting, again)
				}
				if fate != replayed[i] {
					t.Errorf("message %d, %+v: the hooks say %s, replay %s", i, msg, fate, replayed[i])
				}
			}
			t.Logf("%v", fates)
			for _, fate := range []string{"taken", "reject", "greylist", "quarantine"} {
				if fates[fate] == 0 && (fate != "greylist" || policy == "rfc") {
					t.Errorf("no message of the stream is %s", fate)
				}
			}
		})
	}
}

// replayActions returns what replay says of each message, in the words of deliver.
func replayActions(t *testing.T, conf, dns, dir string, messages []greeted) (actions []string) {
	t.Helper()
	var rows strings.Builder
	rows.WriteString("time,server,helo,ip,rcpt\n")
	for _, m := range messages {
		fmt.Fprintf(&rows, "%d,mx,%s,%s,%s\n", m.at.Unix(), m.helo, m.ip, m.receiver)
	}
	path := filepath.Join(dir, "stream.csv")
	if err := os.WriteFile(path, []byte(rows.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := runMain(t, 0, "replay", "--config", conf, "--dns", dns, "--format", "ndjson", path)
	lines := bufio.NewScanner(strings.NewReader(out))
	for lines.Scan() {
		var line struct{ Action, Exempt string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.Exempt != "" || !slices.Contains([]string{"reject", "greylist", "quarantine"}, line.Action) {
			line.Action = "taken"
		}
		actions = append(actions, line.Action)
	}
	if len(actions) != len(messages) {
		t.Fatalf("%d lines for %d messages", len(actions), len(messages))
	}
	return actions
}
