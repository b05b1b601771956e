package module_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

// TestExplainSaysWhatTheServerSays tells every case to a real Maddy and to the
// check loaded from the same file: both have to give the same reply.
func TestExplainSaysWhatTheServerSays(t *testing.T) {
	dns := zone(t)
	for _, policy := range []string{"lenient", "rfc", "strict"} {
		t.Run(policy, func(t *testing.T) {
			conf := mx(withDNS(policy, dns))
			s := start(t, conf)
			check := loadConf(t, s, conf)
			refused := 0
			for _, tc := range cases(t) {
				if tc.verb == "NONE" || strings.TrimSpace(tc.helo) == "" {
					continue // the SMTP library answers these itself
				}
				t.Run(tc.id, func(t *testing.T) {
					if compare(t, s, check, tc) {
						refused++
					}
				})
			}
			if got := refusedByLog(t, s, check); got != refused {
				t.Errorf("judged from the log %d are refused, the server refused %d", got, refused)
			}
		})
	}
}

// loadConf loads the configuration of s.
func loadConf(t *testing.T, s *server, conf string) *module.Check {
	t.Helper()
	text := strings.ReplaceAll(preamble+conf, "{env:TEST_PORT_smtp}", s.ports["smtp"])
	path := filepath.Join(t.TempDir(), "maddy.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	loaded, err := maddyconf.Load(path, "")
	if err != nil || len(loaded.Warnings)+len(loaded.NotEvaluated) != 0 {
		t.Fatal(loaded, err)
	}
	return loaded.Check
}

// refusedByLog judges what the log of s tells.
func refusedByLog(t *testing.T, s *server, check *module.Check) (refused int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "maddy.log")
	if err := os.WriteFile(path, []byte(s.log.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := replay.Read(t.Context(), []string{path}, replay.Options{}, func(rec *replay.Record) error {
		said := judge.Conn{Helo: rec.Helo, Client: rec.Client, AtRcpt: true}
		o := check.Judge().Greet(t.Context(), said).Rcpt(t.Context(), "", "", append(rec.Rcpts, "")[0])
		if o.Refused() {
			refused++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return refused
}

// compare reports whether the server refused the case.
func compare(t *testing.T, s *server, check *module.Check, tc testCase) (refused bool) {
	t.Helper()
	const rcpt = "user@receiver-bench.org"
	c := s.dial(t, "127.0.0.25", "smtp", tc.source)
	lines := []string{"EHLO " + tc.helo, "MAIL FROM:<sender@yourcompany.com>", "RCPT TO:<" + rcpt + ">"}
	said := ""
	for _, line := range lines {
		if _, err := c.W.WriteString(line + "\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.W.Flush(); err != nil {
			t.Fatal(err)
		}
		code, text, _ := c.ReadResponse(0)
		said, _, _ = strings.Cut(fmt.Sprint(code, " ", text), " (msg ID")
	}
	e := check.Judge().Explain(t.Context(), judge.Query{
		Conn:  judge.Conn{Helo: tc.helo, Client: netip.MustParseAddr(tc.source)},
		Rcpts: []string{rcpt},
	})
	r := e.Recipients[0].Reply
	want := fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
	if r.Code == 0 {
		said, want = said[:3], "250"
	}
	if said != want {
		t.Errorf("the server says\n%s\nand the tool\n%s", said, want)
	}
	return said[0] != '2'
}
