package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

// runLimit leaves time to compile Maddy on a fresh machine.
const runLimit = 9 * time.Minute

// TestOnce runs the program as the README says.
func TestOnce(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	var out, errOut bytes.Buffer
	d := demo{out: &out, err: &errOut, cases: greetings()}
	if code := d.main(ctx, []string{"-once"}); code != 0 {
		t.Fatalf("status %d\n%s\n%s", code, &out, &errOut)
	}
	for _, g := range greetings() {
		if !strings.Contains(out.String(), g.said()[0]) {
			t.Errorf("no row for %q", g.helo)
		}
	}
	for _, want := range []string{
		"dynamic_name (Junk)",
		"554 5.7.1 Relay access denied",
		"https://example.org/helo#reserved_tld",
		"helo_fqdn: helo verdict",
		"X-Helo-Check: quarantine; rule=dynamic_name;",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the output", want)
		}
	}
	for said, rfc := range map[string]string{
		"HELO foo.bar.local": "Junk", "HELO hostnameonly": "rejected", "HELO example.org": "Junk",
		"HELO MTA01.EXAMPLE.NET": "passes", "EHLO laptop ": "passes",
	} {
		row := regexp.MustCompile(regexp.QuoteMeta(said) + `.*  127\S+ +` + rfc + ` `)
		if !row.MatchString(out.String()) {
			t.Errorf("%s: not %s by rfc", said, rfc)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("colour in what is no terminal")
	}
	checkCleared(t, &d, out.String())
}

// TestUnexpected proves that a wrong reply is told and changes the exit status.
func TestUnexpected(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	cases := greetings()
	at := slices.IndexFunc(cases, func(g greeting) bool { return g.helo == "hostnameonly" })
	cases[at].code = 250
	var out, errOut bytes.Buffer
	d := demo{out: &out, err: &errOut, cases: cases}
	if code := d.main(ctx, []string{"-once", "-full"}); code != 1 {
		t.Errorf("status %d, want 1", code)
	}
	if !strings.Contains(out.String(), "^ NOT AS EXPECTED: code 250, rule \"not_fqdn\"") {
		t.Errorf("the row is not marked:\n%s", &out)
	}
	if !strings.Contains(errOut.String(), "demo: 1 not as expected") {
		t.Errorf("stderr: %s", &errOut)
	}
	checkCleared(t, &d, out.String())
}

// TestStaysUp takes the program to the end of its output, speaks to the server
// as a reader would, and interrupts it.
func TestStaysUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), runLimit)
	defer cancel()
	out := &watched{text: "Ctrl-C", seen: make(chan struct{})}
	var errOut bytes.Buffer
	d := demo{out: out, err: &errOut, cases: greetings()[:1]}
	status := make(chan int)
	go func() { status <- d.main(ctx, nil) }()
	select {
	case <-out.seen:
	case code := <-status:
		t.Fatalf("ended with status %d\n%s\n%s", code, out, &errOut)
	}
	if conn, err := net.Dial("tcp", address(t, out.String())); err != nil {
		t.Error(err)
	} else if err := conn.Close(); err != nil {
		t.Error(err)
	}
	cancel()
	// The two folders lack the messages of the cases left out.
	if code := <-status; code != 1 {
		t.Errorf("status %d, want 1", code)
	}
	checkCleared(t, &d, out.String())
}

func TestInterruptedBeforeStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var errOut bytes.Buffer
	d := demo{out: &bytes.Buffer{}, err: &errOut}
	if code := d.main(ctx, nil); code != 1 || !strings.Contains(errOut.String(), "canceled") {
		t.Errorf("status %d, stderr %s", code, &errOut)
	}
}

// TestBrokenServer shows the log when Maddy ends at once, and clears away.
func TestBrokenServer(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "maddy")
	script := "#!/bin/sh\nfor word; do [ $word = run ] && echo no luck && exit 3; done\nexit 0\n"
	if err := os.WriteFile(binary, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := newServer(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	err = s.start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("start: %v, want Maddy's log", err)
	}
	if err := s.stop(); err == nil || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("stop: %v, want the status", err)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is left", s.dir)
	}
}

func TestAccountsFail(t *testing.T) {
	if _, err := newServer(t.Context(), filepath.Join(t.TempDir(), "missing")); err == nil {
		t.Error("no error without a binary")
	}
}

func TestUsage(t *testing.T) {
	for _, test := range []struct {
		args []string
		code int
	}{
		{[]string{"-h"}, 0},
		{[]string{"-twice"}, 2},
		{[]string{"once"}, 2},
	} {
		var errOut bytes.Buffer
		d := demo{out: &bytes.Buffer{}, err: &errOut}
		if code := d.main(t.Context(), test.args); code != test.code {
			t.Errorf("%v: status %d, want %d", test.args, code, test.code)
		}
		if !strings.Contains(errOut.String(), "usage: go run ./examples/demo") {
			t.Errorf("%v: no usage in %s", test.args, &errOut)
		}
	}
}

// TestRulesExist keeps the expectations in step with the rule table.
func TestRulesExist(t *testing.T) {
	known := make(map[string]bool)
	for _, rule := range checkhelo.Rules() {
		known[rule.Name] = true
	}
	for _, g := range greetings() {
		if g.rule != "" && !known[g.rule] {
			t.Errorf("%q expects rule %q, which does not exist", g.helo, g.rule)
		}
	}
}

// watched is an output that tells when a text has come.
type watched struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	text string
	once sync.Once
	seen chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if strings.Contains(w.buf.String(), w.text) {
		w.once.Do(func() { close(w.seen) })
	}
	return len(p), nil
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// address is where the output says that the server listens.
func address(t *testing.T, output string) string {
	t.Helper()
	found := regexp.MustCompile(`127\.0\.0\.25:\d+`).FindString(output)
	if found == "" {
		t.Fatalf("no address in the output:\n%s", output)
	}
	return found
}

// checkCleared fails when the server or its folder is still there.
func checkCleared(t *testing.T, d *demo, output string) {
	t.Helper()
	if d.dir == "" {
		t.Error("no folder was made")
	}
	if _, err := os.Stat(d.dir); !os.IsNotExist(err) {
		t.Errorf("%s is left", d.dir)
	}
	if conn, err := net.Dial("tcp", address(t, output)); err == nil {
		conn.Close()
		t.Error("the server still answers")
	}
}
