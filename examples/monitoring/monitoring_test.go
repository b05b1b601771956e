// Package monitoring has only tests: of the dashboard, the rules and the
// fail2ban filter beside it.
package monitoring

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const prefix = "maddy_helo_fqdn_"

// declared are the metrics of module/metrics/metrics.go with their labels.
func declared(t *testing.T) map[string][]string {
	t.Helper()
	source, err := os.ReadFile("../../module/metrics/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string][]string)
	one := regexp.MustCompile(
		`(counters|gauges|seconds|desc)\("(\w+)",\s+"[^"]+"(?:, [\d.]+)*((?:,\s+"\w+")*)\)`)
	for _, m := range one.FindAllStringSubmatch(string(source), -1) {
		labels := regexp.MustCompile(`\w+`).FindAllString(m[3], -1)
		// Prometheus itself adds the server that it scraped.
		labels = append(labels, "instance")
		name := prefix + m[2]
		if m[1] != "seconds" {
			found[name] = labels
			continue
		}
		found[name+"_count"], found[name+"_sum"] = labels, labels
		found[name+"_bucket"] = append(slices.Clone(labels), "le")
	}
	if len(found) < 19 {
		t.Fatalf("found only %v", found)
	}
	return found
}

// dashboard is as much of Grafana's form as the tests read.
type dashboard struct {
	UID    string
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr, LegendFormat string }
	}
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
}

func readDashboard(t *testing.T) (d dashboard) {
	t.Helper()
	text, err := os.ReadFile("dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// expressions are all of PromQL here, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, p := range readDashboard(t).Panels {
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s, %d", p.Title, i)] = target.Expr
		}
	}
	rules, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?s)- alert: (\w+)\n\s+expr: \|\n(.*?)\n\s+(?:for|labels):`)
	for _, m := range rule.FindAllStringSubmatch(string(rules), -1) {
		all["alert "+m[1]] = m[2]
	}
	if n := strings.Count(string(rules), "- alert:"); n == 0 || len(all) < n+8 {
		t.Fatalf("found only %d expressions", len(all))
	}
	return all
}

var (
	selector = regexp.MustCompile(prefix + `\w*(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+) *(?:=~|!~|!=|=)`)
	grouping = regexp.MustCompile(`by *\(([^)]*)\)`)
	legend   = regexp.MustCompile(`\{\{(\w+)\}\}`)
)

// unknown lists the metrics and labels of an expression that the check does not have.
func unknown(expr string, known map[string][]string) (bad []string) {
	var labels []string
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		name, _, _ := strings.Cut(m[0], "{")
		if known[name] == nil {
			bad = append(bad, name)
		}
		labels = append(labels, known[name]...)
		for _, l := range matcher.FindAllStringSubmatch(m[1], -1) {
			if !slices.Contains(known[name], l[1]) {
				bad = append(bad, name+": "+l[1])
			}
		}
	}
	for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(m[1], ",") {
			if l = strings.TrimSpace(l); !slices.Contains(labels, l) {
				bad = append(bad, "by "+l)
			}
		}
	}
	return bad
}

func TestMetricsAndLabels(t *testing.T) {
	known := declared(t)
	for where, expr := range expressions(t) {
		if !strings.Contains(expr, prefix) {
			t.Errorf("%s asks for nothing of the check", where)
		}
		if bad := unknown(expr, known); bad != nil {
			t.Errorf("%s: unknown %q", where, bad)
		}
	}
	for expr, want := range map[string]string{
		"rate(maddy_helo_fqdn_verdict_total[5m])":                      "maddy_helo_fqdn_verdict_total",
		`maddy_helo_fqdn_verdicts_total{reason="auth"}`:                "maddy_helo_fqdn_verdicts_total: reason",
		"sum by (ruel) (maddy_helo_fqdn_verdicts_total)":               "by ruel",
		"sum by (le) (rate(maddy_helo_fqdn_dns_seconds_count{}[10m]))": "by le",
	} {
		if bad := unknown(expr, known); len(bad) != 1 || bad[0] != want {
			t.Errorf("%s: %q, want %q", expr, bad, want)
		}
	}
}

func TestDashboard(t *testing.T) {
	d := readDashboard(t)
	known := declared(t)
	ids := make(map[int]bool)
	for i, p := range d.Panels {
		if ids[p.ID] || p.Title == "" || len(p.Targets) == 0 {
			t.Errorf("panel %d %q: number or title or question is missing or there twice", p.ID, p.Title)
		}
		ids[p.ID] = true
		for _, target := range p.Targets {
			for _, m := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(target.Expr, m[1]) {
					t.Errorf("%s: no %s for the legend", p.Title, m[1])
				}
			}
		}
		for _, q := range d.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("%s lies on %s", p.Title, q.Title)
			}
		}
	}
	var names []string
	for _, v := range d.Templating.List {
		names = append(names, v.Name)
		query := fmt.Sprint(v.Query)
		if metric := selector.FindString(query); metric != "" && known[metric] == nil {
			t.Errorf("variable %s: no metric %s", v.Name, metric)
		}
	}
	used := regexp.MustCompile(`"\$(\w+)"`)
	for where, expr := range expressions(t) {
		for _, m := range used.FindAllStringSubmatch(expr, -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s: no variable %s", where, m[1])
			}
		}
	}
}

// promtool comes with Prometheus; Debian has it in the package prometheus.
func promtool(t *testing.T, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool")
	}
	if said, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %v: %v\n%s", args, err, said)
	}
}

func TestRulesFireAndStaySilent(t *testing.T) {
	promtool(t, "check", "rules", "alerts.yml")
	promtool(t, "test", "rules", "alerts_test.yml")
	tests, err := os.ReadFile("alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for where := range expressions(t) {
		name, isAlert := strings.CutPrefix(where, "alert ")
		if isAlert && !bytes.Contains(tests, []byte("alertname: "+name+"\n        exp_alerts:")) {
			t.Errorf("no test in which %s fires", name)
		}
	}
}

// The panels' questions are PromQL.
func TestPanelExpressions(t *testing.T) {
	var rules strings.Builder
	rules.WriteString("groups:\n- name: panels\n  rules:\n")
	n := 0
	for where, expr := range expressions(t) {
		if strings.HasPrefix(where, "panel ") {
			expr = strings.ReplaceAll(expr, "$__rate_interval", "5m")
			fmt.Fprintf(&rules, "  - record: panel:%d\n    expr: %q\n", n, expr)
			n++
		}
	}
	path := filepath.Join(t.TempDir(), "panels.yml")
	if err := os.WriteFile(path, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", path)
}

// The results that the alert on DNS failures leaves out are ones that the check has.
func TestResultsExist(t *testing.T) {
	kinds, err := os.ReadFile("../../module/dnsfacts/gather.go")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`result!~"([^"]+)"`).FindStringSubmatch(expressions(t)["alert HeloDNSFails"])
	if m == nil {
		t.Fatal("the alert leaves nothing out")
	}
	for kind := range strings.SplitSeq(m[1], "|") {
		if !bytes.Contains(kinds, []byte(`= "`+kind+`"`)) {
			t.Errorf("no result %s", kind)
		}
	}
}

// fail2banRegex returns the address of each line of a log that the filter takes.
func fail2banRegex(t *testing.T, log string) (addresses []string) {
	t.Helper()
	path, err := exec.LookPath("fail2ban-regex")
	if err != nil {
		t.Skip("no fail2ban-regex")
	}
	filter, err := filepath.Abs("fail2ban/filter.d/maddy-helo.local")
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), path, "--out", "ip", log, filter).Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("fail2ban-regex: %v", err)
	}
	return strings.Fields(string(out))
}

// The filter takes each refusal of a real log, nothing else, and never an
// address that a client only said.
func TestFail2ban(t *testing.T) {
	log, err := os.ReadFile("testdata/maddy.log")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	var journal strings.Builder
	peer := regexp.MustCompile(`"src_ip":"([0-9.]+)"\}$`)
	for line := range strings.Lines(string(log)) {
		line = strings.TrimSpace(line)
		if strings.Contains(line, `helo verdict`) && strings.Contains(line, `"action":"reject"`) ||
			strings.Contains(line, "too many greetings") {
			want = append(want, peer.FindStringSubmatch(line)[1])
		}
		stamp, text, _ := strings.Cut(line, " ")
		fmt.Fprintf(&journal, "%s mx1 maddy[812]: %s\n", stamp, text)
	}
	if len(want) < 5 || !bytes.Contains(log, []byte("198.51.100.1")) ||
		!bytes.Contains(log, []byte(`"action":"quarantine"`)) {
		t.Fatalf("the sample lacks something: %q", want)
	}
	other := filepath.Join(t.TempDir(), "journal")
	if err := os.WriteFile(other, []byte(journal.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"testdata/maddy.log", other} {
		got := fail2banRegex(t, path)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: refusals from %q, want %q", path, got, want)
		}
	}
}
