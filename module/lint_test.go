package module

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// No setting weakens the check in silence, and good settings make no noise.
func TestCarelessSettings(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "list")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	static := func(directive, entry string) string {
		return directive + " static {\nentry " + entry + "\n}"
	}
	upper := file("# a remark\nmail.example.net\nMail.example.net: x\n")
	six := file("2001:db8::1: x\n")
	wide := file("192.0.2.0/24\n0.0.0.0/0\n")
	const fails, warns, silent = "error", "warning", ""
	for directives, want := range map[string][2]string{
		"exempt_networks 0.0.0.0/0":                    {fails, "maddy.conf:2: exempt_networks: "},
		"exempt_networks ::/0":                         {fails, "holds every client"},
		"exempt_networks 0.0.0.0":                      {fails, "is the address of no client"},
		"exempt_networks 192.0.2.1 ::":                 {fails, "is the address of no client"},
		"exempt_networks file " + wide:                 {fails, wide + ":2: "},
		"exempt_networks 128.0.0.0/1":                  {warns, "maddy.conf:2: exempt_networks: 128.0.0.0/1 is wider"},
		"exempt_networks file " + file(""):             {warns, "exempt_networks: the list holds no entry"},
		"exempt_networks file " + file("# x\n"):        {warns, "exempt_networks: the list holds no entry"},
		static("exempt_networks", "mail.example.net"):  {warns, "maddy.conf:3: exempt_networks: entry"},
		"self_addresses 0.0.0.0/0":                     {fails, "maddy.conf:2: self_addresses: 0.0.0.0/0 holds every"},
		"self_addresses 2000::/3":                      {warns, "maddy.conf:2: self_addresses: 2000::/3 is wider"},
		"self_domains .org":                            {fails, "maddy.conf:2: self_domains: found \".org\""},
		"self_domains .co.uk":                          {fails, "everybody's names"},
		"exempt_recipients *":                          {fails, "maddy.conf:2: exempt_recipients: "},
		"exempt_recipients *@example.org":              {fails, "a star"},
		"exempt_recipients file /nonexistent/list":     {fails, "/nonexistent/list"},
		"exempt_recipients abuse":                      {warns, "maddy.conf:2: exempt_recipients: postmaster is not"},
		"exempt_recipients file " + file("x@a.org\n"):  {warns, "postmaster is not in the list"},
		"exempt_recipients file " + file("\n"):         {warns, "holds no entry"},
		static("exempt_recipients", "Bob@example.org"): {warns, "accepted: bob@example.org"},
		"exempt_dnswl zen.spamhaus.org":                {warns, "maddy.conf:2: exempt_dnswl: zone 1 looks like a block"},
		"exempt_dnswl bl.example.net":                  {warns, "looks like a block list"},
		"blocklists list.dnswl.org":                    {warns, "maddy.conf:2: blocklists: zone 1 looks like an allow"},
		"quarantine_threshold 1000":                    {warns, "maddy.conf:2: quarantine_threshold: found 1000, which"},
		"reject_threshold 1000":                        {warns, "never reached"},
		"exempt_clients file /nonexistent/table":       {warns, "maddy.conf:2: exempt_clients: the table has no"},
		"exempt_clients file " + upper:                 {warns, upper + ":3: exempt_clients: entry \"Mail.example.net\""},
		"exempt_clients file " + six:                   {warns, six + ":1: exempt_clients: never matches: the key ends"},
		"deny_names file {\nfile " + six + "\n}":       {warns, six + ":1: deny_names: "},
		static("exempt_clients", "192.0.2.0/24 x"):     {warns, "maddy.conf:3: exempt_clients: entry \"192.0.2.0/24\" never"},
		static("exempt_clients", ".org x"):             {warns, "below a public suffix"},
		static("exempt_names", "*.example.net x"):      {warns, "accepted: .example.net"},
		static("exempt_names", "mail.example.net. x"):  {warns, "accepted: mail.example.net"},
		static("exempt_names", "bücher.example x"):     {warns, "accepted: xn--bcher-kva.example"},
		static("exempt_names", "a.example 0.0.0.0/0"):  {warns, "0.0.0.0/0 holds every client"},
		static("exempt_names", "a.example 1.2.3.4/33"): {warns, `"1.2.3.4/33" is not a network`},
		static("exempt_names", "a.example until=2020-01-01"): {
			warns, "past its day"},
		static("exempt_names", "a.example until=soon"):                          {warns, "cannot be read"},
		static("deny_names", "a.example \"HOLD it\""):                           {warns, "has no action HOLD"},
		static("deny_names", "a.example \"550 Nö\""):                            {warns, "has no reply, so that the rule's own is sent: found a text with other"},
		static("deny_hosts", "Mail.example.net x"):                              {warns, "maddy.conf:3: deny_hosts: entry"},
		static("recipient_policy", "@example.org sharp"):                        {warns, "maddy.conf:3: recipient_policy: entry"},
		static("recipient_policy", "@EXAMPLE.org off"):                          {warns, "accepted: @example.org"},
		"exempt_networks 127.0.0.0/8 ::1/128 10.0.0.0/8":                        {silent, ""},
		"exempt_networks file " + file("192.0.2.0/24 # x\n"):                    {silent, ""},
		static("exempt_networks", "192.0.2.1 x"):                                {silent, ""},
		"self_addresses 192.0.2.1 2001:db8::/32":                                {silent, ""},
		"self_domains .example.org example.org .lan":                            {silent, ""},
		"exempt_recipients postmaster @example.org":                             {silent, ""},
		"quarantine_threshold 0\ngreylist_threshold 3\nnot_fqdn_action score 2": {silent, ""},
		"exempt_recipients file " + file("postmaster\n"):                        {silent, ""},
		static("exempt_recipients", "bob@example.org x"):                        {silent, ""},
		static("exempt_clients", `192.0.2.1 "moves on 31.12.2026 at 12:30"`):    {silent, ""},
		"exempt_dnswl list.dnswl.org":                                           {silent, ""},
		"blocklists dbl.example.net":                                            {silent, ""},
		"quarantine_threshold 6\nreject_threshold 10":                           {silent, ""},
		static("exempt_names", "mail.lan 192.0.2.64/28"):                        {silent, ""},
		static("exempt_names", "a.example until=2999-12-31"):                    {silent, ""},
		static("deny_names", "ylmf-pc \"554 no\""):                              {silent, ""},
		static("deny_names", "org \"REJECT no\""):                               {silent, ""},
		static("recipient_policy", "@example.org strict"):                       {silent, ""},
	} {
		t.Run(directives, func(t *testing.T) {
			_, out, err := configured(t, "helo_fqdn {\n"+directives+"\n}")
			logged := out.String()
			got := silent
			switch {
			case err != nil:
				got, logged = fails, err.Error()
			case logged != "":
				got = warns
			}
			if got != want[0] || !strings.Contains(logged, want[1]) {
				t.Errorf("%s %q, want %s %q", got, logged, want[0], want[1])
			}
		})
	}
}
