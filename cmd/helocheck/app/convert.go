package app

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:  "convert",
		Usage: "print the check's block for another server's settings",
		Subcommands: []*cli.Command{{
			Name:      "postfix",
			Usage:     "read the output of postconf -n, and the tables that it names",
			ArgsUsage: "FILE...",
			Description: "The first FILE is the output of postconf -n. Other FILEs are access\n" +
				"tables; those that are not given are read where Postfix has them.",
			Action: runConvertPostfix,
		}},
		Action: noCommand,
	}
}

// conversion is a configuration of Postfix on its way to a block of maddy.conf.
type conversion struct {
	settings map[string]string
	files    []string // tables that are given
	Rules    []checkhelo.Rule
	Lines    []string            // of the block
	Actions  map[string]string   // of rules; the first restriction that refuses decides
	Words    map[string][]string // of the directives exempt_networks, exempt_dnswl, blocklists
	Entries  map[string][]string // of the tables deny_names, exempt_names, deny_hosts, exempt_clients
}

// postfixRules are the rules that do the same as a restriction, with the setting that holds their
// reply code, its default, and the rest of the enhanced code. Postfix looks for an address of
// whatever has not been refused before, so that a name without a dot or with a final one has none.
var postfixRules = map[string]struct{ rules, setting, code, detail string }{
	"reject_invalid_helo_hostname": {"malformed", "invalid_hostname_reject_code", "501", "5.2"},
	"reject_non_fqdn_helo_hostname": {
		"not_fqdn localhost bare_ip malformed", "non_fqdn_reject_code", "504", "5.2"},
	"reject_unknown_helo_hostname": {
		"no_address reserved_tld trailing_dot not_fqdn localhost bare_ip malformed",
		"unknown_hostname_reject_code", "450", "7.1"},
	"reject_rhsbl_helo": {"listed", "maps_rbl_reject_code", "554", "7.1"},
	"reject_unknown_reverse_client_hostname": {
		"no_ptr", "unknown_client_reject_code", "450", "7.25"},
	"reject_unknown_client_hostname": {
		"no_ptr ptr_unconfirmed", "unknown_client_reject_code", "450", "7.25"},
}

// postfixTables are the directives for entries of a table that refuse, and for those with OK.
var postfixTables = map[string][2]string{
	"check_helo_access":    {"deny_names", "exempt_names"},
	"check_helo_a_access":  {"deny_hosts", ""},
	"check_helo_mx_access": {"deny_hosts", ""},
	"check_client_access":  {"", "exempt_clients"},
}

func runConvertPostfix(c *cli.Context) error {
	if !c.Args().Present() {
		return usage("no output of postconf -n (see: " + c.Command.HelpName + " --help)")
	}
	text, err := os.ReadFile(c.Args().First())
	if err != nil {
		return err
	}
	v := conversion{
		files: c.Args().Tail(), Rules: checkhelo.NewPolicy(checkhelo.Lenient).Rules(),
		Actions: make(map[string]string), Words: make(map[string][]string),
		Entries: make(map[string][]string),
	}
	if v.parse(string(text)); len(v.settings) == 0 {
		return fmt.Errorf("%s: no settings of Postfix", c.Args().First())
	}
	for _, when := range []string{"client", "helo", "sender", "relay", "recipient", "data"} {
		v.restrictions("smtpd_"+when+"_restrictions", when == "helo")
	}
	for _, name := range slices.Sorted(maps.Keys(v.settings)) {
		if line := name + " = " + v.settings[name]; postfixSettings.MatchString(line) {
			v.add("# %s: %s", line, notConverted)
		}
	}
	return texts.ExecuteTemplate(c.App.Writer, "convert", &v)
}

// parse reads "name = value" lines.
func (v *conversion) parse(text string) {
	v.settings = make(map[string]string)
	for line := range postfixLines(text) {
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && !strings.HasPrefix(name, "#") {
			v.settings[name] = strings.TrimSpace(value)
		}
	}
}

// postfixLines yields the lines of a file; one that starts with a blank continues.
func postfixLines(text string) iter.Seq[string] {
	return strings.Lines(regexp.MustCompile(`\r?\n[ \t]+`).ReplaceAllString(text, " "))
}

// Get returns a setting with those that it names, a few levels deep.
func (v *conversion) Get(name string) string {
	value := v.settings[name]
	for range 5 {
		value = os.Expand(value, func(other string) string { return v.settings[other] })
	}
	return value
}

// add adds a line to the block, once.
func (v *conversion) add(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); !slices.Contains(v.Lines, line) {
		v.Lines = append(v.Lines, line)
	}
}

const notConverted = "not converted, see docs/migrate.md"

var (
	// postfixWord is a word of a list; text in braces is part of it.
	postfixWord     = regexp.MustCompile(`(?:[^\s,{}]|\{(?:[^{}]|\{[^{}]*\})*\})+`)
	postfixArgument = regexp.MustCompile(
		`^(check_.*_access|reject_r.*bl_.*|permit_.*wl_client|check_policy_service|sleep)$`)
	postfixBrackets = strings.NewReplacer("[", "", "]", "")
	postfixOldName  = regexp.MustCompile(`\breject_(invalid|non_fqdn|unknown)_hostname\b`)
	// postfixOther are the restrictions of docs/migrate.md that are comments in every list,
	// postfixSettings the other settings.
	postfixOther = regexp.MustCompile(
		`check_helo|_client|_ccert|_sasl_access|policy_service|unauth_pipelining|plaintext`)
	postfixSettings = regexp.MustCompile(`^(soft_bounce = yes|postscreen_.*|.*_rbl_reply|rbl_reply.*` +
		`|unknown_helo_hostname_tempfail_action|parent_domain_matches_subdomains|smtpd_(command_filter` +
		`|dns_reply_filter|log_access_permit|peername_lookup|reject_footer|restriction_classes).*)`)
)

// restriction is one of a list, with its argument; warns is true behind warn_if_reject.
type restriction struct {
	word, argument string
	warns          bool
}

// reached returns the restrictions of a list up to one that decides about every client.
func reached(list string) (all []restriction) {
	warns := false
	for words := postfixWord.FindAllString(list, -1); len(words) > 0; {
		r := restriction{word: words[0], warns: warns}
		words = words[1:]
		if postfixArgument.MatchString(r.word) && len(words) > 0 {
			r.argument, words = words[0], words[1:]
		}
		if warns = r.word == "warn_if_reject"; !warns {
			all = append(all, r)
		}
		if r.word == "permit" || !r.warns && (r.word == "reject" || r.word == "defer") {
			break
		}
	}
	return all
}

// restrictions reads one list. Of lists that are not about HELO only what this check does counts.
// A permit ends its own list only, so that it counts where the list has restrictions of HELO.
func (v *conversion) restrictions(setting string, own bool) {
	list := postfixOldName.ReplaceAllString(v.Get(setting), "reject_${1}_helo_hostname")
	permits := strings.Contains(setting+list, "helo")
	for _, r := range reached(list) {
		_, rule := postfixRules[r.word]
		tables, table := postfixTables[r.word]
		switch {
		case r.word == "permit_sasl_authenticated":
		case r.word == "permit_mynetworks" && permits:
			v.networks()
		case r.word == "permit_dnswl_client" && permits:
			v.zone("exempt_dnswl", r)
		case rule:
			v.rule(r)
		case table && r.warns:
			v.add("# warn_if_reject %s %s: %s", r.word, r.argument, notConverted)
		case table && (permits || tables[0] != ""):
			v.table(r.argument, tables)
		case own || postfixOther.MatchString(r.word):
			v.add("# %s: %s", strings.TrimSpace(r.word+" "+r.argument), notConverted)
		}
	}
}

// rule sets the actions of a restriction, unless one before it refuses.
func (v *conversion) rule(r restriction) {
	rule := postfixRules[r.word]
	code := cmp.Or(v.Get(rule.setting), rule.code)
	action := fmt.Sprintf("reject %s %s.%s", code, code[:1], rule.detail)
	if r.warns {
		action = "ignore"
	}
	for name := range strings.FieldsSeq(rule.rules) {
		if set := v.Actions[name]; set == "" || set == "ignore" {
			v.Actions[name] = action
		}
	}
	if r.argument != "" {
		v.zone("blocklists", r)
	}
}

// networks converts mynetworks, where Postfix takes tables, files and exceptions too.
func (v *conversion) networks() {
	for _, entry := range postfixWord.FindAllString(v.Get("mynetworks"), -1) {
		network := postfixBrackets.Replace(entry)
		if p, err := netip.ParsePrefix(network); err == nil {
			network = p.Masked().String()
		}
		if _, err := exempt.ParseNetworks([]string{network}); err != nil {
			v.add("# mynetworks %s: %s", entry, err)
		} else if !slices.Contains(v.Words["exempt_networks"], network) {
			v.Words["exempt_networks"] = append(v.Words["exempt_networks"], network)
		}
	}
	if v.Words["exempt_networks"] == nil {
		v.add("# permit_mynetworks: only loopback; list the networks of mynetworks in exempt_networks")
	}
}

// zone adds the DNS list of a restriction to a directive.
func (v *conversion) zone(directive string, r restriction) {
	zone, pattern, _ := strings.Cut(r.argument, "=")
	if _, err := heloname.Domain(zone); err != nil {
		v.add("# %s %s: %s", r.word, r.argument, err)
		return
	}
	if pattern != "" {
		v.add("# %s: the pattern of answers %s is left out, each answer counts", zone, pattern)
	}
	if r.warns && directive == "blocklists" {
		v.add("%s %s {\n        action ignore\n    }", directive, zone)
	} else if !slices.Contains(v.Words[directive], zone) {
		v.Words[directive] = append(v.Words[directive], zone)
	}
}

// table reads a table, "type:path", as a given file with that name or where it stands.
func (v *conversion) table(name string, to [2]string) {
	kind, path, _ := strings.Cut(name, ":")
	if !slices.Contains([]string{"hash", "texthash", "btree", "lmdb", "cdb", "dbm"}, kind) {
		v.add("# %s: nothing is made of tables of this type, see docs/migrate.md", name)
		return
	}
	for _, file := range v.files {
		if filepath.Base(file) == filepath.Base(path) {
			path = file
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		v.add("# %s: %s; give the file as an argument", name, err)
	}
	for line := range postfixLines(strings.ReplaceAll(string(text), "\t", " ")) {
		key, action, _ := strings.Cut(strings.TrimSpace(line), " ")
		action = strings.TrimSpace(action)
		value, directive := accessEntry(action, to)
		key = strings.ToLower(key)
		switch problem := exempt.KeyProblem(key); {
		case key == "" || strings.HasPrefix(key, "#"):
		case directive == "":
			v.add("# %s %s: %s", key, action, notConverted)
		case problem != "":
			v.add("# %s %s: %s", key, action, problem)
		default:
			v.Entries[directive] = append(v.Entries[directive], fmt.Sprintf("entry %s %q", key, value))
		}
	}
}

// accessEntry converts the right side of an access table. Commas separate values in Maddy, and a
// reply has ASCII alone.
func accessEntry(action string, to [2]string) (value, directive string) {
	const maxText = 250 // octets
	action = heloname.Line(strings.ReplaceAll(action, ",", ";"), maxText)
	word, text, _ := strings.Cut(action, " ")
	switch word = strings.ToUpper(word); {
	case word == "OK" || word == "RELAY" || word == "PERMIT":
		return "", to[1]
	case word == "REJECT" && text != "":
		return "554 5.7.1 " + text, to[0]
	case word == "REJECT":
		return "", to[0]
	case strings.HasPrefix(word, "DEFER"):
		return "450 4.7.1 " + cmp.Or(text, "Try again later"), to[0]
	case len(word) == 3 && (word[0] == '4' || word[0] == '5'):
		return strings.TrimSpace(word + " " + text), to[0]
	}
	return "", ""
}
