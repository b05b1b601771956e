package app

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// The line that explain shows lets the client pass, and only with its proof.
func TestExemptionWorks(t *testing.T) {
	dns := dnstest.Serve(t, "mail.example.org A 192.0.2.25\nptr 192.0.2.25 mail.example.org\n"+
		"ptr 192.0.2.26 out.example.net\nout.example.net A 192.0.2.26\n").Addr
	explain := func(t *testing.T, conf, helo, ip string) (line, exempt string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "maddy.conf")
		text := "smtp tcp://127.0.0.1:25 {\n check {\n  helo_fqdn strict {\n   memory off\n" +
			"   malformed_action reject\n   deny_names static { entry mail.example.org \"\" }\n   " + conf +
			"\n  }\n }\n}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, problem bytes.Buffer
		Main([]string{"helocheck", "explain", "--config", path, "--dns", dns, "--format", "json",
			"--ip", ip, helo}, &out, &problem)
		var got struct{ Exemption, Exempt string }
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, &problem)
		}
		return got.Exemption, got.Exempt
	}
	for _, test := range []struct{ name, helo, ip, other string }{
		{"name in the DNS", "mail.example.org", "192.0.2.25", "192.0.2.99"},
		{"confirmed PTR", "localhost", "192.0.2.26", "192.0.2.99"},
		{"name of the inner network", "exchange.corp.local", "192.0.2.30", "192.0.2.99"},
		{"one label", "friend", "192.0.2.30", "192.0.2.99"},
		{"literal", "[192.0.2.1]", "192.0.2.30", "192.0.2.99"},
		{"malformed", "a..b", "192.0.2.30", "192.0.2.99"},
		{"IPv6", "friend", "2001:db8::30", "2001:db8::99"},
	} {
		t.Run(test.name, func(t *testing.T) {
			line, exempt := explain(t, "", test.helo, test.ip)
			if !strings.HasPrefix(line, "exempt_") || exempt != "" {
				t.Fatalf("%q, exempt %q", line, exempt)
			}
			if _, exempt := explain(t, line, test.helo, test.ip); exempt == "" {
				t.Errorf("%s exempts nobody", line)
			}
			if _, exempt := explain(t, line, test.helo, test.other); exempt != "" {
				t.Errorf("%s exempts another client", line)
			}
		})
	}
}

// The questions to the DNS are shown with their results and times.
func TestExplainTellsQuestions(t *testing.T) {
	dns := dnstest.Serve(t, "mail.example.net A 192.0.2.9\nptr 192.0.2.9 mail.example.net\n").Addr
	asked := func(format, helo, ip string) string {
		var out, problem bytes.Buffer
		Main([]string{"helocheck", "explain", "--dns", dns, "--policy", "strict", "--all", "--format", format,
			"--ip", ip, helo}, &out, &problem)
		return out.String() + problem.String()
	}
	var got struct {
		Facts struct {
			Questions []struct {
				Type, Result string
				Seconds      float64
			}
		}
	}
	if err := json.Unmarshal([]byte(asked("json", "mail.example.net", "192.0.2.9")), &got); err != nil {
		t.Fatal(err)
	}
	types := make(map[string]bool)
	for _, q := range got.Facts.Questions {
		types[q.Type] = true
		if q.Seconds <= 0 || q.Result == "" {
			t.Errorf("question %+v has no time or no result", q)
		}
	}
	if !types["A"] || !types["PTR"] {
		t.Errorf("questions %v lack A or PTR", got.Facts.Questions)
	}
	if text := asked("text", "mail.example.net", "192.0.2.9"); !regexp.MustCompile(`\nPTR +found, \d`).MatchString(text) {
		t.Errorf("no question with its time in\n%s", text)
	}
	if text := asked("json", "friend", ""); !strings.Contains(text, `"questions": []`) {
		t.Errorf("a single label needs no DNS: %s", text)
	}
}
