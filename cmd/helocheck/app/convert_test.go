package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// convertZone is the DNS that Postfix 3.7.11 asked when it gave the replies of testdata/convert.
const convertZone = `mail.example.net A 192.0.2.7
out.example.com A 192.0.2.8
good.example.net A 192.0.2.44
bulk.example.com A 192.0.2.45
slow.example.net A 192.0.2.46
later.example.net A 192.0.2.47
example.org MX 10 mx.example.org
mx.example.org A 127.0.0.1
`

// converted runs convert and returns the path of a maddy.conf with its block.
func converted(t *testing.T, args ...string) (path, block string) {
	t.Helper()
	block, _ = runMain(t, 0, append([]string{"convert", "postfix"}, args...)...)
	path = filepath.Join(t.TempDir(), "maddy.conf")
	conf := "smtp tcp://0.0.0.0:25 {\nhostname mx.example.org\ncheck {\n" + block + "}\n}\n"
	writeFile(t, path, conf)
	return path, block
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestConvertPostfix compares the converted block with Postfix itself: each greeting gets the
// same reply code.
func TestConvertPostfix(t *testing.T) {
	conf, block := converted(t, "testdata/convert/postconf", "testdata/convert/helo_access")
	server := dnstest.Serve(t, convertZone)
	replies, err := os.ReadFile("testdata/convert/replies")
	if err != nil {
		t.Fatal(err)
	}
	differ := map[string]string{
		"x.good.example.net":    "550", // OK needs proof, and is for the name itself
		"dead.example.net":      "550", // mail is never dropped in silence
		"localhost.localdomain": "504", // one rule with localhost
		"1234":                  "504", // numbers alone are a bare address
		"1.2.3.4.5":             "504",
		"[2001:db8::7]":         "250", // the literal is read without its tag IPv6:
	}
	n := 0
	for line := range strings.Lines(string(replies)) {
		said, reply, _ := strings.Cut(strings.TrimSpace(line), " -> ")
		want := reply[:3]
		if other := differ[said]; other != "" {
			want = other
		}
		status := 0
		if want != "250" {
			status = 1
		}
		out, _ := runMain(t, status, "explain", "--config", conf, "--dns", server.Addr, "--ip", "192.0.2.9",
			"--format", "json", "--", said)
		var got struct{ Reply *struct{ Code int } }
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
		code := "250"
		if got.Reply != nil {
			code = strconv.Itoa(got.Reply.Code)
		}
		if code != want {
			t.Errorf("%s: %s, Postfix says %s", said, code, reply)
		}
		n++
	}
	if n < 25 || !strings.Contains(block, "# dead.example.net DISCARD") {
		t.Errorf("%d greetings, block\n%s", n, block)
	}
}

// TestConvertPostfixSettings looks for lines of the block, and for those that must not be there.
func TestConvertPostfixSettings(t *testing.T) {
	access := filepath.Join(t.TempDir(), "access")
	writeFile(t, access, "192.0.2.7 OK\n192.0.2 OK\nbad.example.net 550 N\u00f6\n  here\n")
	for name, tt := range map[string]struct{ in, want, not string }{
		"old names, own codes": {"smtpd_helo_restrictions = reject_invalid_hostname,\n  reject_non_fqdn_hostname\n" +
			"invalid_hostname_reject_code = 450\n", "malformed_action reject 450 4.5.2\n", "no_address_action reject"},
		"warn_if_reject": {"smtpd_helo_restrictions = warn_if_reject reject_unknown_helo_hostname\n",
			"no_address_action ignore\n", "mx_only"},
		"the next restriction only": {"smtpd_helo_restrictions = warn_if_reject reject_unknown_helo_hostname,\n" +
			" reject_non_fqdn_helo_hostname, warn_if_reject reject_invalid_helo_hostname\n",
			"malformed_action reject 504 5.5.2\n", "not_fqdn_action ignore"},
		"a warning table": {"smtpd_helo_restrictions = warn_if_reject check_helo_access hash:" + access + "\n",
			"# warn_if_reject check_helo_access hash:" + access + ": not converted", "deny_names"},
		"another list": {"smtpd_recipient_restrictions = reject_unauth_destination, reject_invalid_helo_hostname\n",
			"malformed_action reject 501 5.5.2\n", "reject_unauth_destination"},
		"networks": {"smtpd_helo_restrictions=permit_mynetworks\nmynetworks = $a, [2001:db8::]/32\na = 192.0.2.0/24\n",
			"exempt_networks 192.0.2.0/24 2001:db8::/32\n", "$a"},
		"no networks": {"smtpd_helo_restrictions = permit_mynetworks\nmynetworks = hash:/x, !192.0.2.5, file, 0/0," +
			" 0.0.0.0/0, 10.0.0.1/8\n", "# mynetworks !192.0.2.5: ", "\n    exempt_networks 0"},
		"masked networks": {"smtpd_recipient_restrictions = permit_mynetworks, reject_invalid_helo_hostname\n" +
			"mynetworks = /x, 10.0.0.1/8\n", "exempt_networks 10.0.0.0/8\n", "\n    exempt_networks /"},
		"no mynetworks": {"smtpd_helo_restrictions = permit_mynetworks\n", "# permit_mynetworks: ", "not converted"},
		"lists": {"smtpd_helo_restrictions = reject_rhsbl_helo dbl.example.org\n",
			"blocklists dbl.example.org\n    listed_action reject 554 5.7.1", "not converted"},
		"answers": {"smtpd_helo_restrictions = reject_rhsbl_helo dbl.example.org=127.0.1.[2..99]," +
			" warn_if_reject reject_rhsbl_helo a.example.org, reject_rhsbl_helo $x\n",
			"blocklists dbl.example.org\n    listed_action reject", "blocklists dbl.example.org="},
		"a warning list": {"smtpd_helo_restrictions = warn_if_reject reject_rhsbl_helo a.example.org," +
			" reject_rhsbl_helo b.example.org\n", "blocklists a.example.org {\n        action ignore\n", "blocklists a.example.org b"},
		"behind permit": {"smtpd_helo_restrictions = permit_mynetworks, permit, reject_invalid_helo_hostname\n",
			"# permit: not converted", "malformed_action reject"},
		"behind reject": {"smtpd_helo_restrictions = warn_if_reject reject, reject_invalid_helo_hostname, reject," +
			" reject_non_fqdn_helo_hostname\n", "malformed_action reject", "not_fqdn_action reject"},
		"client": {"smtpd_client_restrictions = reject_unknown_client_hostname, reject_rbl_client bl.example.org\n",
			"no_ptr_action reject 450 4.7.25\n    ptr_unconfirmed_action reject 450 4.7.25", "bl.example.org\n"},
		"reverse": {"smtpd_recipient_restrictions = reject_unknown_reverse_client_hostname\n",
			"dns_error_action tempfail\n", "mx_only"},
		"permits of clients": {"smtpd_client_restrictions = permit_dnswl_client a.example.org\n" +
			"smtpd_helo_restrictions = permit_dnswl_client b.example.org, permit_dnswl_client c.example.org=127.0.0.2\n",
			"exempt_dnswl b.example.org c.example.org\n", "exempt_dnswl a"},
		"client tables": {"smtpd_client_restrictions = check_client_access hash:/x\n" +
			"smtpd_helo_restrictions = check_client_access hash:" + access + "\n",
			"exempt_clients static {\n        entry 192.0.2.7 \"\"\n    }", "static {\n        entry 192.0.2 "},
		"a text": {"smtpd_helo_restrictions = check_helo_access hash:" + access + "\n",
			`entry bad.example.net "550 N?? here"`, "\u00f6"},
		"settings":      {"soft_bounce = yes\nsmtpd_reject_footer = \\c\n", "# soft_bounce = yes: not converted", "Postfix has no such rules"},
		"dry run":       {"soft_bounce = no\n", "    # max_action ignore #", "soft_bounce"},
		"early":         {"smtpd_delay_reject = no\n", "enforce_at ehlo\n", "exempt_networks"},
		"none":          {"smtpd_helo_restrictions = sleep 5, check_helo_ns_access hash:/x\n", "# check_helo_ns_access hash:/x: not converted", "# 5"},
		"sleep":         {"smtpd_helo_restrictions = sleep 5\n", "# sleep 5: not converted", "deny"},
		"braces":        {"smtpd_helo_restrictions = check_helo_access static:{INFO a greeting}\n", "# static:{INFO a greeting}: nothing", "# greeting"},
		"loop":          {"a = $a x\nsmtpd_helo_restrictions = $a\n", "# x: not converted", "deny"},
		"pattern table": {"smtpd_helo_restrictions = check_helo_access pcre:/x\n", "# pcre:/x: nothing", "deny_names"},
		"missing table": {"smtpd_helo_restrictions = check_helo_access hash:/nowhere/x\n",
			"# hash:/nowhere/x: open", "deny_names"},
	} {
		file := filepath.Join(t.TempDir(), "postconf")
		writeFile(t, file, tt.in)
		conf, block := converted(t, file)
		if !strings.Contains(block, tt.want) || strings.Contains(block, tt.not) {
			t.Errorf("%s: want %q and not %q in\n%s", name, tt.want, tt.not, block)
		}
		runMain(t, 0, "rules", "--config", conf)
	}
	runMain(t, 2, "convert", "postfix")
}
