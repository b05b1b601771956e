package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// selfGood is a zone without a fault.
const selfGood = `
org NS ns.example.org
mail.example.org A 192.0.2.25
mail.example.org AAAA 2001:db8::25
mail.example.org TXT v=spf1 a -all
ptr 192.0.2.25 mail.example.org
ptr 2001:db8::25 mail.example.org
`

// without returns the zone without the records that begin so.
func without(zone string, begins ...string) string {
	var b strings.Builder
	for line := range strings.Lines(zone) {
		if !slices.ContainsFunc(begins, func(s string) bool { return strings.HasPrefix(line, s) }) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestSelfNamesTheFault(t *testing.T) {
	const (
		a, spf, ptr = "mail.example.org A ", "mail.example.org TXT", "ptr 192.0.2.25"
		sole        = "mail.example.org AAAA"
		mx          = "mail.example.org MX 10 mx.example.net\n"
	)
	tests := []struct {
		name, zone string
		helo, ip   string // default: mail.example.org, 192.0.2.25
		fault      string // "": none
		better     string // the same for what could be better
		seen, do   string // parts
	}{
		{name: "good", zone: selfGood},
		{name: "good IPv6", zone: selfGood, ip: "2001:db8::25"},
		{name: "no SPF", zone: without(selfGood, spf)},
		{name: "single label", zone: selfGood, helo: "mailserver", fault: "fqdn",
			seen: "mailserver is a host name without its domain", do: "hostname mail.example.org"},
		{name: "address", zone: selfGood, helo: "192.0.2.25", fault: "fqdn", seen: "no name"},
		{name: "literal", zone: selfGood, helo: "[192.0.2.25]", fault: "fqdn", seen: "no name"},
		{name: "malformed", zone: selfGood, helo: "mail..example.org", fault: "fqdn",
			seen: "not a valid"},
		{name: "final dot", zone: selfGood, helo: "mail.example.org.", fault: "fqdn",
			seen: "ends in a dot", do: "hostname mail.example.org"},
		{name: "reserved TLD", zone: selfGood, helo: "mail.example.local", fault: "tld",
			seen: "names below local", do: "hostname mail.example.org"},
		{name: "localhost", zone: selfGood, helo: "localhost.example.org", fault: "tld",
			seen: "every machine"},
		{name: "unknown TLD", zone: selfGood, helo: "mail.example.qqqq", fault: "tld",
			seen: "qqqq is no top-level domain"},
		{name: "underscore", helo: "mail_1.example.org", fault: "underscore",
			zone: strings.ReplaceAll(selfGood, "mail.", "mail_1."), do: "hostname mail-1.example.org"},
		{name: "default name", helo: "vmi123456.contaboserver.net", fault: "default_name",
			zone: strings.ReplaceAll(selfGood, "mail.example.org", "vmi123456.contaboserver.net"),
			seen: "nobody chose"},
		{name: "access line", helo: "dsl-192-0-2-25.example.org", fault: "default_name",
			zone: strings.ReplaceAll(selfGood, "mail.", "dsl-192-0-2-25."), seen: "nobody chose"},
		{name: "private address", zone: selfGood + "ptr 10.0.0.5 mail.example.org\n", ip: "10.0.0.5",
			fault: "public_address", seen: "10.0.0.5 is not", do: "--ip"},
		{name: "loopback", zone: selfGood, ip: "::1", fault: "public_address"},
		{name: "private name", zone: without(selfGood, a, sole) + a + "192.168.1.5\n",
			fault: "public_name", seen: "192.168.1.5, which nobody", do: "IN A 192.0.2.25"},
		{name: "no address", zone: without(selfGood, a, sole), fault: "address",
			seen: "neither A nor AAAA", do: "at the DNS of example.org: mail.example.org. IN A 192.0.2.25"},
		{name: "no IPv6 address", zone: without(selfGood, a, sole), ip: "2001:db8::25", fault: "address",
			do: "mail.example.org. IN AAAA 2001:db8::25"},
		{name: "wrong address", zone: without(selfGood, a, sole) + a + "198.51.100.7\n", fault: "forward",
			seen: "leads to 198.51.100.7 and not to 192.0.2.25", do: "IN A 192.0.2.25"},
		{name: "domain of the web site", helo: "example.org", fault: "forward",
			do: "hostname mail.example.org",
			zone: without(selfGood, ptr) + "example.org A 198.51.100.7\nptr 192.0.2.25 example.org\n" +
				"ptr 192.0.2.25 mail.example.org\nexample.org MX 10 mail.example.org\n"},
		{name: "no PTR", zone: without(selfGood, ptr), fault: "ptr",
			seen: "192.0.2.25 has no reverse name",
			do:   "provider or hoster, not the registrar): 25.2.0.192.in-addr.arpa. IN PTR mail.example.org."},
		{name: "PTR unconfirmed", zone: without(selfGood, ptr) + ptr + " other.example.org\n",
			fault: "ptr_confirmed", seen: "other.example.org does not lead back"},
		{name: "PTR differs", better: "ptr_name", seen: "is called other.example.org",
			zone: without(selfGood, ptr) + ptr + " other.example.org\nother.example.org A 192.0.2.25\n",
			do:   "or in maddy.conf: hostname other.example.org"},
		{name: "SPF fail", fault: "spf",
			zone: without(selfGood, spf) + spf + " v=spf1 ip4:198.51.100.7 -all\n",
			seen: "says fail for 192.0.2.25", do: `"v=spf1 a ip4:192.0.2.25 -all"`},
		{name: "SPF softfail", zone: without(selfGood, spf) + spf + " v=spf1 ~all\n", fault: "spf",
			seen: "softfail"},
		{name: "SPF broken", zone: without(selfGood, spf) + spf + " v=spf1 nonsense -all\n", fault: "spf",
			seen: "permerror"},
		{name: "MX elsewhere", zone: selfGood + mx + "mx.example.net A 198.51.100.9\n", fault: "mx",
			seen: "mail goes to mx.example.net"},
		{name: "MX here", zone: selfGood + mx + "mx.example.net A 192.0.2.25\n"},
		{name: "MX itself", zone: selfGood + "mail.example.org MX 10 mail.example.org\n"},
		{name: "null MX", zone: selfGood + "mail.example.org MX 0 .\n"},
		{name: "U-label", helo: "bücher.example.org",
			zone: strings.ReplaceAll(selfGood, "mail.", "xn--bcher-kva.")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			helo, ip := test.helo, test.ip
			if helo == "" {
				helo = "mail.example.org"
			}
			if ip == "" {
				ip = "192.0.2.25"
			}
			got := selfJudged(t, test.zone, helo, ip)
			var faults, better []string
			for _, line := range got.Checks {
				switch line.Status {
				case selfToFix, "could be better":
					if line.Status == "could be better" {
						better = append(better, line.Check)
					} else {
						faults = append(faults, line.Check)
					}
					if !strings.Contains(line.Seen, test.seen) || !strings.Contains(line.Do, test.do) {
						t.Errorf("%+v: want %q and %q", line, test.seen, test.do)
					}
				case selfUnknown:
					t.Errorf("not known: %+v", line)
				}
				if (line.Do != "") != (line.Status == selfToFix || line.Status == "could be better") {
					t.Errorf("advice does not fit the status: %+v", line)
				}
			}
			if want := strings.Fields(test.fault); !slices.Equal(faults, want) {
				t.Errorf("faults %q, want %q:\n%+v", faults, want, got.Checks)
			}
			if want := strings.Fields(test.better); !slices.Equal(better, want) {
				t.Errorf("could be better: %q, want %q:\n%+v", better, want, got.Checks)
			}
		})
	}
}

func selfJudged(t *testing.T, zone, helo, ip string) selfResult {
	t.Helper()
	server := dnstest.Serve(t, zone)
	got := selfResult{said: helo, greets: true, addr: netip.MustParseAddr(ip)}
	got.judge(t.Context(), &dnsfacts.Gatherer{
		Exchange: dnsfacts.NewClient([]string{server.Addr}).Exchange, Timeout: 3 * time.Second,
	})
	return got
}

// Nobody is told to publish an address that the Internet cannot reach.
func TestSelfKeepsInnerAddresses(t *testing.T) {
	for _, ip := range []string{"127.0.2.1", "192.168.1.5", "fd00::5"} {
		for _, zone := range []string{"org NS ns.example.org\n", selfGood} {
			for _, line := range selfJudged(t, zone, "mail.example.org", ip).Checks {
				if strings.Contains(line.Do, ip) {
					t.Errorf("%s: %s", line.Check, line.Do)
				}
			}
		}
	}
}

// A lookup that fails is neither well nor a fault, whichever fails.
func TestSelfFailedLookups(t *testing.T) {
	tests := []struct{ name, trouble, unknown string }{
		{"name", "mail.example.org SERVFAIL", "address public_name forward ptr_confirmed spf mx"},
		{"reverse zone", "2.0.192.in-addr.arpa REFUSED", "ptr ptr_confirmed ptr_name"},
		{"MX host", "mail.example.org MX 10 mx.example.net\nexample.net SERVFAIL", "mx"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := selfJudged(t, selfGood+test.trouble, "mail.example.org", "192.0.2.25")
			var unknown []string
			for _, line := range got.Checks {
				switch line.Status {
				case selfUnknown:
					unknown = append(unknown, line.Check)
					if strings.Contains(line.Seen, "<nil>") {
						t.Errorf("no reason: %+v", line)
					}
				case selfToFix:
					t.Errorf("a failure became a fault: %+v", line)
				}
			}
			if !slices.Equal(unknown, strings.Fields(test.unknown)) {
				t.Errorf("not known: %q, want %q", unknown, test.unknown)
			}
		})
	}
}

func TestSelfConf(t *testing.T) {
	tests := []struct{ name, conf, want string }{
		{"global only", "hostname mail.example.org\n", "mail.example.org 192.0.2.1"},
		{"inherited", "hostname mail.example.org\ntarget.remote out { }\n", "mail.example.org 192.0.2.1"},
		{"macro and local_ip", "$(name) = mail.example.org\nhostname $(name)\n" +
			"target.remote out {\n local_ip 192.0.2.7\n}\n", "mail.example.org 192.0.2.7"},
		{"own names", "hostname mx.example.org\n" +
			"smtp tcp://127.0.0.1:25 {\n hostname in.example.org\n}\n" +
			"target.queue q {\n target remote {\n  hostname out.example.org\n }\n}\n",
			"out.example.org 192.0.2.1\nin.example.org invalid IP\nmx.example.org invalid IP"},
		{"inside a pipeline", "hostname mail.example.org\nsubmission tcp://127.0.0.1:587 {\n" +
			" default_source {\n  deliver_to smtp tcp://127.0.0.1:2525 {\n   hostname relay.example.org\n" +
			"  }\n }\n}\n",
			"relay.example.org 192.0.2.1\nmail.example.org invalid IP"},
		{"LMTP does not greet", "" +
			"hostname mail.example.org\ntarget.lmtp x {\n hostname l.example.org\n}\n",
			"mail.example.org 192.0.2.1"},
		{"references are no targets", "hostname mail.example.org\nsmtp tcp://127.0.0.1:25 {\n" +
			" deliver_to &out\n}\n", "mail.example.org 192.0.2.1"},
		{"none", "tls off\n", "error: no hostname"},
		{"bad local_ip", "hostname a.example.org\ntarget.remote out {\n local_ip nonsense\n}\n",
			"error: local_ip is no address"},
		{"broken", "hostname {\n", "error: unexpected EOF"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names, err := readSelfConf(selfFile(t, test.conf))
			if wrong, ok := strings.CutPrefix(test.want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Fatalf("%v, want %q", err, wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			run := selfRun{machine: selfNets(t, "192.0.2.1/24")}
			pairs, err := run.pairs(names, &selfReport{})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range pairs {
				if !strings.Contains(p.Source, ", maddy.conf:") {
					t.Errorf("source %q", p.Source)
				}
				got = append(got, fmt.Sprintf("%s %v", p.said, p.addr))
			}
			want := strings.Split(test.want, "\n")
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func selfFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "maddy.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// selfNets stands for the interfaces of a machine.
func selfNets(t *testing.T, list ...string) func() ([]net.Addr, error) {
	t.Helper()
	var out []net.Addr
	for _, s := range list {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	return func() ([]net.Addr, error) { return out, nil }
}

func TestSelfAddresses(t *testing.T) {
	given := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	local := netip.MustParseAddr("192.0.2.2")
	tests := []struct {
		name string
		run  selfRun
		ip   netip.Addr // local_ip
		want string
	}{
		{"given", selfRun{ips: given, machine: selfNets(t)}, local, "[192.0.2.1]"},
		{"local_ip", selfRun{machine: selfNets(t, "192.0.2.9/24")},
			local, "[192.0.2.2]"},
		{"machine", selfRun{machine: selfNets(t, "127.0.0.1/8", "10.0.0.5/8", "192.0.2.9/24",
			"fe80::1/64", "::1/128")}, netip.Addr{}, "[192.0.2.9] with note"},
		{"behind a router", selfRun{machine: selfNets(t, "127.0.0.1/8", "192.168.1.5/24")},
			netip.Addr{}, "[] --ip"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			report := &selfReport{}
			addrs, err := test.run.addresses(selfResult{greets: true, addr: test.ip}, report)
			got := fmt.Sprint(addrs)
			if err != nil && strings.Contains(err.Error(), "--ip") {
				got += " --ip"
			}
			if len(report.Notes) > 0 {
				got += " with note"
			}
			if got != test.want {
				t.Errorf("got %s (%v), want %s", got, err, test.want)
			}
		})
	}
}

// runSelfCommand runs the command as a user would and returns its status.
func runSelfCommand(
	ctx context.Context, out io.Writer, args ...string,
) (status int, message string) {
	program := &cli.App{
		Name: "helocheck", Writer: out, ErrWriter: out, Commands: Mounted().Subcommands,
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := program.RunContext(ctx, append([]string{"helocheck", "self"}, args...))
	if err == nil {
		return 0, ""
	}
	coded, ok := err.(cli.ExitCoder)
	if !ok {
		return -1, err.Error()
	}
	return coded.ExitCode(), err.Error()
}

func TestSelfCommand(t *testing.T) {
	server := dnstest.Serve(t, selfGood+
		"ptr 192.0.2.8 other.example.org\nother.example.org A 192.0.2.8\n"+
		"slow.example.org SERVFAIL\nptr 192.0.2.9 slow.example.org\n")
	conf := selfFile(t, "hostname mail.example.org\ntarget.remote out {\n local_ip 192.0.2.25\n}\n")
	tests := []struct {
		args   string
		status int
		want   string // part of the output or the message
	}{
		{"--config " + conf, 0, "mail.example.org from 192.0.2.25 (hostname, maddy.conf:1)"},
		{"--config " + conf + " --ip 192.0.2.25 --ip 2001:db8::25", 0,
			"ok: 26, could be better: 0, to fix: 0, not known: 0"},
		{"--config " + conf + " --ip ::ffff:192.0.2.25", 0, "from 192.0.2.25 "},
		{"--config " + conf + " --ip 192.0.2.8", 1, "to fix"},
		{"--helo mail.example.org --ip 192.0.2.25 --format json", 0, `"ok": true`},
		{"--helo slow.example.org --ip 192.0.2.9", exitUnknown, "not known"},
		{"--config /nonexistent/maddy.conf", 1, "no such file"},
		{"--helo a.example.org --ip nonsense", exitUsage, "--ip is"},
		{"--helo a.example.org --ip fe80::1%eth0", exitUsage, "--ip is"},
		{"--helo a.example.org --format xml", exitUsage, "accepted: text, json"},
		{"--helo a.example.org --every 1ms", exitUsage, "--every is"},
		{"--helo a.example.org extra", exitUsage, "no argument"},
	}
	for _, test := range tests {
		t.Run(test.args, func(t *testing.T) {
			var out bytes.Buffer
			args := append([]string{"--dns", server.Addr}, strings.Fields(test.args)...)
			status, message := runSelfCommand(t.Context(), &out, args...)
			if status != test.status || !strings.Contains(out.String()+message, test.want) {
				t.Errorf("status %d, want %d and %q: %s %s", status, test.status, test.want, &out, message)
			}
		})
	}
	var out bytes.Buffer
	if status, message := runSelfCommand(t.Context(), &out, "--dns", "nowhere"); status != exitUsage {
		t.Errorf("--dns nowhere: %d, %s", status, message)
	}
}

func TestSelfJSON(t *testing.T) {
	var out bytes.Buffer
	status, message := runSelfCommand(t.Context(), &out, "--helo", "mailserver", "--ip", "10.0.0.5",
		"--dns", "127.0.0.1:1", "--format", "json")
	if status != 1 {
		t.Fatalf("status %d, %s", status, message)
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got["ok"] != false || got["notes"] == nil ||
		!strings.Contains(out.String(), `"state": "to fix"`) ||
		!strings.Contains(out.String(), `"status": "to mend"`) || // the old form
		!strings.Contains(out.String(), `"status": "skipped"`) {
		t.Errorf("got %s", &out)
	}
}

// firstWrite keeps what is written, and calls then once something was.
type firstWrite struct {
	text string
	then func()
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.text == "" {
		w.then()
	}
	w.text += string(p)
	return len(p), nil
}

func TestSelfWatch(t *testing.T) {
	const hang = 3 * time.Minute
	t.Run("change", func(t *testing.T) {
		server := dnstest.Serve(t, selfGood)
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		out := &firstWrite{then: func() { // the first report is out
			_ = server.Add("mail.example.org MX 10 mx.example.net\nmx.example.net A 198.51.100.9")
		}}
		status, message := runSelfCommand(ctx, out, "--helo", "mail.example.org", "--ip", "192.0.2.25",
			"--dns", server.Addr, "--watch", "--every", "1s")
		if status != 1 || !strings.Contains(message, "mail.example.org 192.0.2.25 mx: ok -> to fix") {
			t.Errorf("status %d, %s\n%s", status, message, out.text)
		}
	})
	t.Run("ended", func(t *testing.T) {
		server := dnstest.Serve(t, selfGood)
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		out := &firstWrite{then: func() { // the second check ends it
			server.SetHook(func(dns.ResponseWriter, *dns.Msg) bool {
				cancel()
				return false
			})
		}}
		status, message := runSelfCommand(ctx, out, "--helo", "mail.example.org", "--ip", "192.0.2.25",
			"--dns", server.Addr, "--watch", "--every", "1s")
		if status != 0 || !strings.Contains(out.text, "to fix: 0") {
			t.Errorf("status %d, %s\n%s", status, message, out.text)
		}
	})
}

func TestSelfChanges(t *testing.T) {
	report := func(status string) *selfReport {
		return &selfReport{Results: []selfResult{{
			Name: "mail.example.org", Address: "192.0.2.25",
			Checks: []selfLine{{Check: "ptr", Status: status}},
		}}}
	}
	tests := []struct {
		name  string
		steps []string
		want  int // the step that changes; 0: none
	}{
		{"same", []string{selfToFix, selfToFix}, 0},
		{"worse", []string{"ok", selfToFix}, 1},
		{"better", []string{selfToFix, "ok"}, 1},
		{"no answer", []string{"ok", selfUnknown, "ok"}, 0},
		{"no answer hides a change", []string{"ok", selfUnknown, selfToFix}, 2},
		{"becomes known", []string{selfUnknown, "ok", "ok"}, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			last, got := report(test.steps[0]).states(nil), 0
			for i, status := range test.steps[1:] {
				now := report(status).states(last)
				if len(selfChanges(last, now)) > 0 && got == 0 {
					got = i + 1
				}
				last = now
			}
			if got != test.want {
				t.Errorf("changed at step %d, want %d", got, test.want)
			}
		})
	}
	gone := selfChanges(report("ok").states(nil), (&selfReport{}).states(nil))
	if len(gone) != 1 || !strings.Contains(gone[0], "ok -> not there") {
		t.Errorf("a pair that went: %q", gone)
	}
}
