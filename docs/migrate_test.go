package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What migrate.md names in the column "here" are directives of the reference.
func TestMigrateNamesDirectives(t *testing.T) {
	page, err := os.ReadFile("migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"ignore": true, "reject": true, "score": true, "rcpt": true, "action": true}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)`).FindAllStringSubmatch(string(manual), -1) {
		known[m[1]] = true
	}
	column, rows := 0, 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") {
			column = 0
			continue
		}
		if column == 0 {
			for i, cell := range cells {
				if strings.TrimSpace(cell) == "here" {
					column = i
				}
			}
			continue
		}
		rows++
		for _, m := range codeSpan.FindAllStringSubmatch(cells[column], -1) {
			if word, _, _ := strings.Cut(m[1], " "); !known[word] {
				t.Errorf("no directive %s: %s", word, line)
			}
		}
	}
	if rows < 80 {
		t.Errorf("found only %d rows", rows)
	}
}

// settings are those of each peer that have to do with a greeting.
var settings = map[string]string{
	"## Postfix": `smtpd_helo_required smtpd_delay_reject permit_mynetworks permit_inet_interfaces
		permit_sasl_authenticated permit_tls_clientcerts permit_tls_all_clientcerts check_sasl_access
		check_ccert_access reject_invalid_helo_hostname reject_non_fqdn_helo_hostname
		reject_unknown_helo_hostname unknown_helo_hostname_tempfail_action unknown_hostname_reject_code
		invalid_hostname_reject_code non_fqdn_reject_code maps_rbl_reject_code check_helo_access
		check_helo_a_access check_helo_mx_access check_helo_ns_access check_client_access
		reject_rbl_client reject_rhsbl_helo default_rbl_reply rbl_reply_maps permit_dnswl_client
		permit_rhswl_client reject_unknown_client_hostname reject_unknown_reverse_client_hostname
		check_policy_service postgrey permit reject defer defer_if_permit defer_if_reject sleep
		reject_plaintext_session reject_unauth_pipelining warn_if_reject soft_bounce
		smtpd_restriction_classes smtpd_reject_footer smtpd_reject_footer_maps
		smtpd_log_access_permit_actions smtpd_command_filter smtpd_peername_lookup
		smtpd_dns_reply_filter postscreen postscreen_helo_required parent_domain_matches_subdomains
		permit_naked_ip_address OK RELAY DUNNO REJECT DEFER DEFER_IF_PERMIT DEFER_IF_REJECT 421 521
		DISCARD HOLD FILTER REDIRECT BCC PREPEND INFO WARN`,
	"## Exim": `helo_allow_chars helo_accept_junk_hosts hosts_require_helo helo_verify_hosts
		helo_try_verify_hosts verify $sender_helo_verified $sender_helo_dnssec helo_lookup_domains
		acl_smtp_helo dns_csa_search_limit dns_csa_use_reverse dnslists host_lookup delay drop defer
		smtp_max_synprot_errors`,
	"## Haraka": `match_re bare_ip dynamic big_company [bigco] literal_mismatch valid_hostname rdns_match
		forward_dns host_mismatch proto_mismatch private_ip relaying karma fcrdns spf delay_deny
		dns_timeout helo.checks.allow helo.checks.regexps`,
	"## qpsmtpd": `policy reject reject_type timeout badhelo is_in_badhelo invalid_localhost
		is_forged_literal is_plain_ip is_not_fqdn no_forward_dns no_reverse_dns is_address_literal
		no_matching_dns X-HELO fcrdns karma naughty`,
	"## rspamd": `HFILTER_HELO_BADIP HFILTER_HELO_BAREIP HFILTER_HELO_1 HFILTER_HELO_2 HFILTER_HELO_3
		HFILTER_HELO_4 HFILTER_HELO_5 HFILTER_HELO_NOT_FQDN HFILTER_HELO_NORES_A_OR_MX
		HFILTER_HELO_NORESOLVE_MX HFILTER_HELO_IP_A HFILTER_HOSTNAME_1 HFILTER_HOSTNAME_2
		HFILTER_HOSTNAME_3 HFILTER_HOSTNAME_4 HFILTER_HOSTNAME_5 HFILTER_HOSTNAME_UNKNOWN RDNS_NONE
		RDNS_DNSFAIL RCVD_HELO_USER RECEIVED_HELO_LOCALHOST FAKE_RECEIVED_mail_ru multimap rbl`,
	"## SpamAssassin": `HELO_LOCALHOST HELO_LH_HOME HELO_LH_LD HELO_OEM HELO_FRIEND HELO_DYNAMIC_IPADDR
		HELO_DYNAMIC_IPADDR2 HELO_DYNAMIC_SPLIT_IP HELO_DYNAMIC_DHCP HELO_DYNAMIC_HCC
		HELO_DYNAMIC_DIALIN HELO_DYNAMIC_HEXIP HELO_DYNAMIC_CHELLO_NL HELO_DYNAMIC_HOME_NL
		HELO_DYNAMIC_ROGERS HELO_STATIC_HOST RCVD_FAKE_HELO_DOTCOM NO_RDNS_DOTCOM_HELO
		PDS_HELO_SPF_FAIL PDS_HP_HELO_NORDNS RCVD_HELO_IP_MISMATCH RCVD_NUMERIC_HELO
		FSL_HELO_BARE_IP_1 FSL_HELO_NON_FQDN_1 HELO_NO_DOMAIN SHORT_HELO_AND_INLINE_IMAGE
		DYN_RDNS_SHORT_HELO_IMAGE FSL_NEW_HELO_USER NSL_RCVD_HELO_USER KHOP_HELO_FCRDNS
		KHOP_HELO_AS_VICTIM SPF_HELO_PASS SPF_HELO_NONE SPF_HELO_FAIL SPF_HELO_NEUTRAL
		SPF_HELO_SOFTFAIL RDNS_NONE RDNS_DYNAMIC RDNS_LOCALHOST`,
	"## OpenSMTPD": `filter fcrdns rdns helo src auth junk disconnect bypass rewrite match
		session.ehlo.require session.ehlo.reject-non-fqdn session.ehlo.script auth.spf.verify.ehlo
		HELO_BAREIP HELO_IP_A HELO_IPREV_MISMATCH HELO_NORES_A_OR_MX HELO_NOT_FQDN block_bad_helo`,
	"## Maddy": `require_matching_rdns fail_action dnsbl ehlo quarantine_threshold reject_threshold
		check_early require_matching_ehlo`,
}

// migrate.md answers each setting of each peer, in the first column of a table.
func TestMigrateAnswersEverySetting(t *testing.T) {
	data, err := os.ReadFile("migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	for heading, names := range settings {
		_, section, found := strings.Cut(string(data), "\n"+heading)
		section, _, _ = strings.Cut(section, "\n## ")
		if !found {
			t.Errorf("no section %q", heading)
		}
		var answered strings.Builder
		for line := range strings.Lines(section) {
			if cells := strings.Split(line, " | "); strings.HasPrefix(line, "|") && len(cells) > 2 {
				answered.WriteString(cells[0] + "\n")
			}
		}
		for _, name := range strings.Fields(names) {
			whole := regexp.MustCompile(`(^|[^\w.$[-])` + regexp.QuoteMeta(name) + `($|[^\w.-])`)
			if !whole.MatchString(answered.String()) {
				t.Errorf("%s: nothing about %s", heading, name)
			}
		}
	}
}

// The command that turns a Postfix access table into one of Maddy's does so.
func TestMigrateTurnsAccessTables(t *testing.T) {
	if _, err := exec.LookPath("awk"); err != nil {
		t.Skip("needs awk on the PATH")
	}
	data, err := os.ReadFile("migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?s)\nawk '.*?/etc/postfix/helo_access`).FindString(string(data))
	dir := t.TempDir()
	path := filepath.Join(dir, "helo_access")
	table := "# names\nylmf-pc     REJECT Go away, please\nbulk.example.com REJECT\n" +
		".example.net 554 5.7.1 No mail from here\nslow.example.org 450 4.7.1 later\n" +
		"friend.example.org OK\nhold.example.org HOLD\n"
	if err := os.WriteFile(path, []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	command = strings.Replace(command, "/etc/postfix/helo_access", path, 1)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
	want := "ylmf-pc: 554 5.7.1 Go away; please\nbulk.example.com: \n" +
		".example.net: 554 5.7.1 No mail from here\nslow.example.org: 450 4.7.1 later\n"
	if err != nil || string(out) != want {
		t.Errorf("got %q, %v, want %q", out, err, want)
	}
}
