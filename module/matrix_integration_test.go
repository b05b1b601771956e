package module_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/judge"
)

// fates are the settings that decide when and how far a verdict acts.
func fates() (list []string) {
	for _, at := range []string{"rcpt", "ehlo"} {
		for _, most := range []string{"reject", "quarantine", "ignore"} {
			for _, failed := range []string{"ignore", "tempfail"} {
				list = append(list, fmt.Sprintf(
					"enforce_at %s\nmax_action %s\ndns_error_action %s\nheader yes", at, most, failed))
			}
		}
	}
	return list
}

// TestToolSaysWhatTheServerSays tells every case, as a stranger to a user, to postmaster and after a
// login, to a real Maddy under each of the fates, and holds its replies against what explain says
// with the same file.
func TestToolSaysWhatTheServerSays(t *testing.T) {
	dns := zone(t)
	const user, post = "user@receiver-bench.org", "postmaster@receiver-bench.org"
	for _, fate := range fates() {
		t.Run(strings.ReplaceAll(fate, "\n", " "), func(t *testing.T) {
			check := withDNS("strict", dns, fate)
			conf := mx(check) + `submission tcp://127.0.0.25:{env:TEST_PORT_submission} {
				tls off
				auth dummy
				check {
					` + check + `
				}
				deliver_to dummy
			}
`
			s := start(t, conf)
			conf = strings.ReplaceAll(conf, "{env:TEST_PORT_submission}", s.ports["submission"])
			tool, refused := loadConf(t, s, conf).Judge(), 0
			for _, tc := range cases(t) {
				if tc.verb == "NONE" || strings.TrimSpace(tc.helo) == "" {
					continue // the SMTP library answers these itself
				}
				for _, q := range []judge.Query{{Rcpts: []string{user}}, {Rcpts: []string{post}},
					{Rcpts: []string{user}, User: "user"}} {
					q.Helo, q.Client = tc.helo, netip.MustParseAddr(tc.source)
					got := s.firstRefusal(t, q)
					e := tool.Explain(t.Context(), q)
					r := e.Recipients[0].Reply
					want := fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2], r.Text)
					if r.Code == 0 {
						want = ""
					} else {
						refused++
					}
					if got != want {
						t.Errorf("%s to %v by %q: the server says %q, the tool %q", tc.id, q.Rcpts, q.User, got, want)
					}
				}
			}
			if acts := strings.Contains(fate, "max_action reject"); acts != (refused > 20) && refused > 0 {
				t.Errorf("%d refusals", refused)
			}
		})
	}
}

// firstRefusal returns the first reply of s that is not positive up to RCPT; "" for none.
func (s *server) firstRefusal(t *testing.T, q judge.Query) string {
	t.Helper()
	port, lines := "smtp", []string{"EHLO " + q.Helo}
	if q.User != "" {
		port, lines = "submission", append(lines, "AUTH PLAIN AHVzZXIAc2VjcmV0")
	}
	c := s.dial(t, "127.0.0.25", port, q.Client.String())
	lines = append(lines, "MAIL FROM:<sender@yourcompany.com>", "RCPT TO:<"+q.Rcpts[0]+">")
	for _, line := range lines {
		if _, err := c.W.WriteString(line + "\r\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.W.Flush(); err != nil {
			t.Fatal(err)
		}
		code, text, err := c.ReadResponse(0)
		if code == 0 {
			t.Fatal(err)
		}
		if code >= 400 {
			text, _, _ = strings.Cut(text, " (msg ID")
			return fmt.Sprint(code, " ", text)
		}
	}
	return ""
}
