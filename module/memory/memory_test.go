package memory

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"maddy.example/checkhelo"
)

// A script has one step a line, with the time since the start, for both kinds of Store:
//
//	+5m wait HELO ADDRESS FROM RCPT [PTR] = started|again|over|none|share [LEFT or WAITED]
//	+1d greet HELO ADDRESS        a session whose recipient was taken
//	+1d refused HELO ADDRESS      a session that got to RCPT and no further
//	+1d accept HELO ADDRESS
//	+1d known HELO ADDRESS = unknown|seen|accepted
//	+1d near HELO ADDRESS = none|org,org
type scriptRunner struct {
	t     *testing.T
	clock *fakeClock
	m     *Memory
	after func() // what happens between two steps
}

func (r *scriptRunner) run(script string) {
	r.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		step, want, _ := strings.Cut(line, " = ")
		f := strings.Fields(step)
		r.move(start.Add(duration(r.t, f[0])))
		if got := r.step(f[1], f[2:]); got != want {
			r.t.Fatalf("%s: got %q", line, got)
		}
		r.after()
	}
}

// move lets other senders greet every day, so that the clock does not look as if it had jumped.
func (r *scriptRunner) move(to time.Time) {
	if db, ok := r.m.Store.(*DB); ok && to.Sub(r.clock.now()) > 10*day {
		flush(r.t, db) // nothing is queued for so long
	}
	for next := r.clock.now().Add(day); next.Before(to); next = next.Add(day) {
		r.clock.set(next)
		r.m.Greet(sender("mail.example", "203.0.113.200"), true)
	}
	r.clock.set(to)
}

// duration reads a time such as +2d3h or -1d.
func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	var total time.Duration
	sign, s := s[:1], s[1:]
	if days, rest, ok := strings.Cut(s, "d"); ok {
		var n int
		if _, err := fmt.Sscan(days, &n); err != nil {
			t.Fatal(err)
		}
		total, s = time.Duration(n)*day, rest
	}
	if s != "" && s != "0" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatal(err)
		}
		total += d
	}
	if sign == "-" {
		return -total
	}
	return total
}

func (r *scriptRunner) step(verb string, args []string) string {
	ctx := context.Background()
	s := sender(args[0], args[1])
	switch verb {
	case "greet":
		r.m.Greet(s, true)
	case "refused":
		r.m.Greet(s, false)
	case "accept":
		r.m.Accept(s)
	case "known":
		return grade(r.t, r.m, s).String()
	case "near":
		a := r.m.Neighbours(ctx, s)
		if a.State == checkhelo.NotFound {
			return "none"
		}
		if a.State != checkhelo.Found {
			r.t.Fatal(a.Err)
		}
		return strings.Join(a.Value, ",")
	case "wait":
		s.Confirmed = args[4:]
		from := strings.Trim(args[2], "<>")
		w, err := r.m.Wait(ctx, s, from, args[3])
		if err != nil {
			r.t.Fatal(err)
		}
		got := w.Result.String()
		if w.Left != 0 && w.Result != WaitStarted {
			got += " " + w.Left.String()
		}
		if w.Waited != 0 {
			got += " " + w.Waited.String()
		}
		return got
	default:
		r.t.Fatalf("no step %q", verb)
	}
	return ""
}

// onStores runs a script on a Map, and on each database in three ways: with writes queued for days,
// with each written at once, and opened anew after each step.
func onStores(t *testing.T, script string, change ...func(*Memory)) {
	t.Helper()
	run := func(t *testing.T, store Store, after func(m *Memory, c *fakeClock)) {
		t.Helper()
		c := newClock()
		m := &Memory{Store: store, Clock: c.now}
		for _, f := range change {
			f(m)
		}
		if store == nil {
			after(m, c) // opens the first one
		}
		r := scriptRunner{t, c, m, func() { after(m, c) }}
		r.run(script)
	}
	t.Run("map", func(t *testing.T) { run(t, NewMap(&Room{Most: 1000}), func(*Memory, *fakeClock) {}) })
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		another := func(n int) string {
			if driver == postgres {
				return postgresDSN(t)
			}
			return filepath.Join(filepath.Dir(dsn), fmt.Sprint(n))
		}
		t.Run("queued", func(t *testing.T) {
			run(t, nil, func(m *Memory, c *fakeClock) {
				if m.Store == nil {
					m.Store = openDB(t, driver, dsn, c)
				}
			})
		})
		t.Run("written", func(t *testing.T) {
			dsn := another(1)
			run(t, nil, func(m *Memory, c *fakeClock) {
				if m.Store == nil {
					m.Store = openDB(t, driver, dsn, c)
				}
				flush(t, m.Store.(*DB))
			})
		})
		t.Run("reopened", func(t *testing.T) {
			dsn := another(2)
			run(t, nil, func(m *Memory, c *fakeClock) {
				if db, ok := m.Store.(*DB); ok {
					_ = db.Close()
				}
				m.Store = openDB(t, driver, dsn, c)
			})
		})
	})
}

const (
	mail  = "mail.example.org 192.0.2.1 "
	hello = mail + "a@example.org b@example.net "
)

// The cases that the greylist tests of postgrey, milter-greylist, qpsmtpd and rspamd know.
func TestWaitAsPeersDo(t *testing.T) {
	for name, script := range map[string]string{
		"exactly at the delay passes, one second before does not": `
			+0 wait ` + hello + `= started
			+0 wait ` + hello + `= again 5m0s
			+4m59s wait ` + hello + `= again 1s
			+5m wait ` + hello + `= over 5m0s
			+1d wait ` + hello + `= over 24h0m0s`,
		"a retry does not start the clock anew": `
			+0 wait ` + hello + `= started
			+1m wait ` + hello + `= again 4m0s
			+2m wait ` + hello + `= again 3m0s
			+5m wait ` + hello + `= over 5m0s`,
		"the first retry after the window starts a new wait": `
			+0 wait ` + hello + `= started
			+2d wait ` + hello + `= over 48h0m0s
			+2d1s wait ` + hello + `= started
			+2d2m wait ` + hello + `= again 3m1s
			+2d5m1s wait ` + hello + `= over 5m0s`,
		"a first attempt in the future becomes now": `
			+0 wait ` + hello + `= started
			-1d wait ` + hello + `= started
			-23h57m wait ` + hello + `= again 2m0s
			-23h55m wait ` + hello + `= over 5m0s`,
		"case, BATV, SRS, +ext and numbers of the sender do not count": `
			+0 wait ` + mail + `prvs=1234abcdef=A+1@Example.org B+list@example.NET = started
			+5m wait ` + mail + `prvs=a=5678abcdef@example.org b@example.net = over 5m0s
			+5m wait ` + mail + `a@example.org B@example.net = over 5m0s
			+0 wait ` + mail + `SRS0=xx=11=example.org=a@fwd.example b@example.net = started
			+5m wait ` + mail + `srs0=yy=12=example.org=a@fwd.example b@example.net = over 5m0s
			+0 wait ` + mail + `l-77-1@example.org b@example.net = started
			+5m wait ` + mail + `l-78-22@example.org b@example.net = over 5m0s`,
		"another sender or recipient waits for itself": `
			+0 wait ` + hello + `= started
			+5m wait ` + mail + `c@example.org b@example.net = started
			+5m wait ` + mail + `a@example.org c@example.net = started
			+5m wait ` + mail + `a@example.net b@example.net = started
			+5m wait ` + mail + `a@example.org b1@example.net = started`,
		"many recipients have one delay": `
			+0 wait ` + mail + `a@example.org b@example.net = started
			+0 wait ` + mail + `a@example.org c@example.net = started
			+5m wait ` + mail + `a@example.org b@example.net = over 5m0s
			+5m wait ` + mail + `a@example.org c@example.net = over 5m0s`,
		"the null sender waits as any other": `
			+0 wait ` + mail + `<> b@example.net = started
			+4m wait ` + mail + `<> b@example.net = again 1m0s
			+5m wait ` + mail + `<> b@example.net = over 5m0s`,
		"another host of the network and another name count": `
			+0 wait ` + hello + `= started
			+5m wait out7.example.net 192.0.2.250 a@example.org b@example.net = over 5m0s`,
		"an IPv6 network is a /48": `
			+0 wait mail.example.org 2001:db8:1:2::1 a@example.org b@example.net = started
			+5m wait mail.example.org 2001:db8:1:ffff::9 a@example.org b@example.net = over 5m0s
			+5m wait mail.example.org 2001:db8:2::1 a@example.org b@example.net = started`,
		"a mapped or translated address is the IPv4 address in it": `
			+0 wait ` + hello + `= started
			+5m wait mail.example.org ::ffff:192.0.2.9 a@example.org b@example.net = over 5m0s
			+5m wait mail.example.org 64:ff9b::c000:209 a@example.org b@example.net = over 5m0s`,
		"another network waits again": `
			+0 wait ` + hello + `= started
			+5m wait mail.example.org 198.51.100.1 a@example.org b@example.net = started
			+5m wait mail2.example.org 203.0.113.1 a@example.org b@example.net mail.example.net = started`,
		"but not one that the DNS shows to be of the organisation": `
			+0 wait ` + hello + `= started
			+4m wait mail2.example.org 198.51.100.1 a@example.org b@example.net out.example.org = again 1m0s
			+5m wait mail2.example.org 198.51.100.1 a@example.org b@example.net out.example.org = over 5m0s
			+5m wait mail2.example.net 198.51.100.1 a@example.org b@example.net out.example.org = started`,
		"a generic PTR name shows nothing": `
			+0 wait ` + hello + `= started
			+5m wait h.example.org 198.51.100.1 a@example.org b@example.net 198-51-100-1.example.org = started`,
		"an address literal has no organisation": `
			+0 wait [192.0.2.1] 192.0.2.1 a@example.org b@example.net = started
			+5m wait [192.0.2.1] 192.0.2.1 a@example.org b@example.net = over 5m0s
			+5m wait [198.51.100.1] 198.51.100.1 a@example.org b@example.net = started`,
		"% and any octet is data": `
			+0 wait ` + mail + `%s%'";--\x00@example.org %@example.net = started
			+5m wait ` + mail + `%s%'";--\x00@example.org x@example.net = started
			+5m wait ` + mail + "\xff\xfe\x01@example.org %@example.net = started" + `
			+5m wait ` + mail + `%s%'";--\x00@example.org %@example.net = over 5m0s`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { onStores(t, script) })
	}
}

func TestDelayOfADirective(t *testing.T) {
	onStores(t, `
		+0 wait `+hello+`= started
		+59m59s wait `+hello+`= again 1s
		+1h wait `+hello+`= over 1h0m0s`, func(m *Memory) { m.Delay = time.Hour })
	onStores(t, `
		+0 wait `+hello+`= started
		+0 wait `+hello+`= again 1s
		+1s wait `+hello+`= over 1s`, func(m *Memory) { m.Delay = time.Second })
}

func TestKnown(t *testing.T) {
	for name, script := range map[string]string{
		"a message makes known": `
			+0 known ` + mail + `= unknown
			+0 accept ` + mail + `
			+0 known ` + mail + `= accepted
			+0 known MAIL.example.org 192.0.2.9 = accepted
			+0 known mail2.example.org 192.0.2.1 = unknown
			+0 known mail.example.org 198.51.100.1 = unknown`,
		"for 180 days after the last greeting": `
			+0 accept ` + mail + `
			+90d greet ` + mail + `
			+270d known ` + mail + `= accepted
			+271d known ` + mail + `= unknown`,
		"a greeting does not bring back what is too old": `
			+0 accept ` + mail + `
			+181d greet ` + mail + `
			+181d known ` + mail + `= unknown`,
		"three days over seven are a grade of their own": `
			+0 greet ` + mail + `
			+1d greet ` + mail + `
			+6d greet ` + mail + `
			+6d known ` + mail + `= unknown
			+7d greet ` + mail + `
			+7d known ` + mail + `= seen
			+8d accept ` + mail + `
			+8d known ` + mail + `= accepted`,
		"two days are not three": `
			+0 greet ` + mail + `
			+9d greet ` + mail + `
			+9d known ` + mail + `= unknown`,
		"a burst is one day": `
			+0 greet ` + mail + `
			+1m greet ` + mail + `
			+2h greet ` + mail + `
			+8d greet ` + mail + `
			+8d1h greet ` + mail + `
			+8d1h known ` + mail + `= unknown
			+9d greet ` + mail + `
			+9d known ` + mail + `= seen`,
		"refused greetings do not count": `
			+0 refused ` + mail + `
			+4d refused ` + mail + `
			+9d refused ` + mail + `
			+9d known ` + mail + `= unknown`,
		"a message of the day counts after its greeting": `
			+0 greet ` + mail + `
			+1h accept ` + mail + `
			+2h known ` + mail + `= accepted`,
		"a clock set back counts no day twice": `
			+0 greet ` + mail + `
			+8d greet ` + mail + `
			+0 greet ` + mail + `
			+4d greet ` + mail + `
			+8d greet ` + mail + `
			+8d known ` + mail + `= unknown
			+9d greet ` + mail + `
			+9d known ` + mail + `= seen`,
		"an address literal is a name of its own": `
			+0 accept [192.0.2.1] 192.0.2.1
			+0 known [192.0.2.1] 192.0.2.1 = accepted
			+0 known 192.0.2.1 192.0.2.1 = unknown
			+0 known [192.0.2.2] 192.0.2.1 = unknown`,
		"what is no name is never known": `
			+0 accept a\x00%,b 192.0.2.1
			+0 known a\x00%,b 192.0.2.1 = unknown`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { onStores(t, script) })
	}
}

func TestNeighbours(t *testing.T) {
	for name, script := range map[string]string{
		"the sender alone has none": `
			+0 near ` + mail + `= none
			+0 greet ` + mail + `
			+0 greet mail2.example.org 192.0.2.2
			+0 near ` + mail + `= none`,
		"another organisation of the network is one": `
			+0 greet a.example.net 192.0.2.200
			+0 near ` + mail + `= example.net
			+0 near mail.example.org 198.51.100.1 = none`,
		"also when it was refused": `
			+0 refused a.example.net 192.0.2.200
			+0 near ` + mail + `= example.net`,
		"for 30 days": `
			+0 greet a.example.net 192.0.2.200
			+29d greet c.example 192.0.2.200
			+30d near ` + mail + `= c.example,example.net
			+31d near ` + mail + `= c.example
			+31d greet b.example.net 192.0.2.1
			+60d near ` + mail + `= example.net`,
		"only full names": `
			+0 greet localhost 192.0.2.2
			+0 greet 192.0.2.3 192.0.2.3
			+0 greet [192.0.2.4] 192.0.2.4
			+0 greet a_b..c 192.0.2.5
			+0 near ` + mail + `= none
			+0 greet a.example.net 192.0.2.200
			+0 near localhost 192.0.2.2 = none`,
		"at most eight": `
			+0 greet a.one.example 192.0.2.1
			+0 greet a.two.example 192.0.2.1
			+0 greet a.three.example 192.0.2.1
			+0 greet a.four.example 192.0.2.1
			+0 greet a.five.example 192.0.2.1
			+0 greet a.six.example 192.0.2.1
			+0 greet a.seven.example 192.0.2.1
			+0 greet a.eight.example 192.0.2.1
			+0 greet a.nine.example 192.0.2.1
			+0 near ` + mail + `= eight.example,five.example,four.example,one.example,seven.example,` +
			`six.example,three.example,two.example
			+31d greet a.nine.example 192.0.2.1
			+31d near ` + mail + `= nine.example`,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) { onStores(t, script) })
	}
	onStores(t, `
		+0 greet a.example.net 192.0.2.200
		+0 near `+mail+`= none
		+0 greet a.third.example 192.0.2.200
		+0 near `+mail+`= example.net,third.example`, func(m *Memory) { m.NeighboursMin = 3 })
}

// Without a Memory nobody is known and nothing is written.
func TestNilMemory(t *testing.T) {
	var m *Memory
	ctx, s := context.Background(), sender("mail.example.org", "192.0.2.1")
	m.Greet(s, true)
	m.Accept(s)
	if g, err := m.Known(ctx, s); g != checkhelo.Stranger || err != nil {
		t.Error(g, err)
	}
	if w, err := m.Wait(ctx, s, "a@example.org", "b@example.net"); w != (Wait{}) || err != nil {
		t.Error(w, err)
	}
	if a := m.Neighbours(ctx, s); a.State != checkhelo.NotFound {
		t.Error(a)
	}
}

// A client without an address, as one on a Unix socket, is never remembered.
func TestNoAddress(t *testing.T) {
	m := &Memory{Store: NewMap(&Room{Most: 10})}
	ctx, s := context.Background(), Sender{Helo: sender("mail.example.org", "192.0.2.1").Helo}
	m.Accept(s)
	if g, err := m.Known(ctx, s); g != checkhelo.Stranger || err != nil {
		t.Error(g, err)
	}
	if w, err := m.Wait(ctx, s, "a@example.org", "b@example.net"); w != (Wait{}) || err != nil {
		t.Error(w, err)
	}
	if a := m.Neighbours(ctx, s); a.State != checkhelo.NotFound {
		t.Error(a)
	}
	if n := m.Store.(*Map).room.Rows; n != 0 {
		t.Errorf("%d rows", n)
	}
}

func TestWords(t *testing.T) {
	var got []string
	for g := checkhelo.Stranger; g <= checkhelo.Accepted; g++ {
		got = append(got, g.String())
	}
	for r := NoWait; r <= WaitShare; r++ {
		got = append(got, r.String())
	}
	want := "unknown seen accepted none started again over share"
	if !slices.Equal(got, strings.Fields(want)) {
		t.Error(got)
	}
}

func TestSameMessage(t *testing.T) {
	for from, want := range map[string]string{
		"":                          "",
		"User@Example.ORG":          "user@example.org",
		"user+tag@example.org":      "user@example.org",
		"+user@example.org":         "+user@example.org",
		"user":                      "user",
		"a@b@example.org":           "a@b@example.org",
		"%s%d%@example.org":         "%s%d%@example.org",
		"a\x00\xff1@example.org":    "a\x00\xff#@example.org", // a word is of ASCII letters
		"a\x00 1@example.org":       "a\x00 #@example.org",
		"user@12.example.org":       "user@12.example.org",
		"m\u00fcller7@example.org":  "m\u00fcller7@example.org",
		"M\u00dcLLER@example.org":   "m\u00fcller@example.org",
		"bounce-12-34@example.org":  "bounce-#-#@example.org",
		"bounce-99-1@example.org":   "bounce-#-#@example.org",
		"bounce12@example.org":      "bounce12@example.org",
		"bounce_12@example.org":     "bounce_12@example.org",
		"12@example.org":            "#@example.org",
		"l-7-user=example.net@x.co": "l-#-user=example.net@x.co",
		// BATV, the tag before and behind the local part
		"prvs=1234abcdef=user@example.org":   "user@example.org",
		"prvs=9999012345=user@example.org":   "user@example.org",
		"PRVS=user=1234ABCDEF@example.org":   "user@example.org",
		"prvs=1234abcdef=us=er@example.org":  "us=er@example.org",
		"prvs=user=tag@example.org":          "prvs=user=tag@example.org",
		"prvs=12345abcde@example.org":        "prvs=12345abcde@example.org",
		"prvs=123gabcdef=user@example.org":   "prvs=123gabcdef=user@example.org",
		"prvs=1234abcdef=user+x@example.org": "user@example.org",
		// SRS
		"SRS0=Ab1/=X2=example.net=user@example.org":  "srs0=example.net=user@example.org",
		"SRS0+zz9z=Q7=example.net=user@example.org":  "srs0=example.net=user@example.org",
		"SRS0-zz9z=Q7=example.net=us=er@example.org": "srs0=example.net=us=er@example.org",
		"SRS0=zz9z=Q7=user@example.org":              "srs0=zz9z=q7=user@example.org",
		"SRS1=ff=fwd.example==Ab1=X2=example.net=user@example.org": "srs1=fwd.example=example.net=" +
			"user@example.org",
		"SRS1=ff=fwd.example=x=Ab1=X2=example.net=user@example.org": "srs1=ff=fwd.example=x=ab1=" +
			"x2=example.net=user@example.org",
		"srs0": "srs0",
	} {
		if got := sameMessage(from); got != want {
			t.Errorf("%q: got %q, want %q", from, got, want)
		}
	}
}

func TestRecipient(t *testing.T) {
	for rcpt, want := range map[string]string{
		"User+list@Example.org": "user@example.org",
		"user12-3@example.org":  "user12-3@example.org", // its numbers are of a person
		"+@example.org":         "+@example.org",
	} {
		if got := foldAddress(rcpt); got != want {
			t.Errorf("%q: got %q, want %q", rcpt, got, want)
		}
	}
}

// The parts of a key have their lengths before them, so that no octet can move from one to the
// other.
func TestHashKeepsPartsApart(t *testing.T) {
	s := sender("mail.example.org", "192.0.2.1")
	seen := map[string]string{}
	for _, pair := range [][2]string{
		{"a", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""}, {"a\x00", "bc"}, {"a", "\x00bc"},
	} {
		k, _ := s.waitKeys(mapSecret, pair[0], pair[1])
		if other, ok := seen[k.name]; ok {
			t.Errorf("%q has the hash of %q", pair, other)
		}
		seen[k.name] = pair[0] + "|" + pair[1]
		if strings.Contains(k.name, "abc") || len(k.name) != 32 {
			t.Errorf("%q is no hash", k.name)
		}
	}
	a, _ := s.waitKeys([]byte("other"), "a", "b")
	if b, _ := s.waitKeys(mapSecret, "a", "b"); a == b {
		t.Error("the secret of the store does not change the hash")
	}
}

// What is the same message stays the same when it is folded again.
func FuzzSameMessage(f *testing.F) {
	f.Add("prvs=1234abcdef=user+7@example.org")
	f.Add("SRS1=ff=fwd.example==Ab1=X2=example.net=user@example.org")
	f.Add("a-1-2=b%s@x@example.org")
	f.Fuzz(func(t *testing.T, from string) {
		got := sameMessage(from)
		if utf8.ValidString(from) && got != sameMessage(strings.ToLower(from)) {
			t.Errorf("%q: case counts", from)
		}
		if len(got) > len(strings.ToLower(from)) {
			t.Errorf("%q has grown to %q", from, got)
		}
		if _, domain := splitAddress(from); !strings.HasSuffix(got, domain) {
			t.Errorf("%q lost its domain: %q", from, got)
		}
	})
}
