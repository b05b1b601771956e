package app

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:  "convert",
		Usage: "print the check's block for another server's settings",
		Subcommands: []*cli.Command{{
			Name:      "postfix",
			Usage:     "read the output of postconf -n, and the tables that it names",
			ArgsUsage: "FILE...",
			Description: "The first FILE is the output of postconf -n. Other FILEs are tables of\n" +
				"check_helo_access; those that are not given are read where Postfix has them.",
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
	Actions  map[string]string   // of rules; the first restriction that sets one decides
	Entries  map[string][]string // of the tables deny_names, exempt_names, deny_hosts
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
}

// postfixTables are the directives for entries of a table that refuse, and for those with OK.
var postfixTables = map[string][2]string{
	"check_helo_access":    {"deny_names", "exempt_names"},
	"check_helo_a_access":  {"deny_hosts", ""},
	"check_helo_mx_access": {"deny_hosts", ""},
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
		Actions: make(map[string]string), Entries: make(map[string][]string),
	}
	if v.parse(string(text)); len(v.settings) == 0 {
		return fmt.Errorf("%s: no settings of Postfix", c.Args().First())
	}
	for _, when := range []string{"client", "helo", "sender", "relay", "recipient", "data"} {
		v.restrictions("smtpd_"+when+"_restrictions", when == "helo")
	}
	return texts.ExecuteTemplate(c.App.Writer, "convert", &v)
}

// parse reads "name = value" lines; one that starts with a blank continues.
func (v *conversion) parse(text string) {
	v.settings = make(map[string]string)
	for line := range strings.Lines(regexp.MustCompile(`\r?\n[ \t]+`).ReplaceAllString(text, " ")) {
		name, value, ok := strings.Cut(line, "=")
		if name = strings.TrimSpace(name); ok && !strings.HasPrefix(name, "#") {
			v.settings[name] = strings.TrimSpace(value)
		}
	}
}

// Get returns a setting with those that it names, a few levels deep.
func (v *conversion) Get(name string) string {
	value := v.settings[name]
	for range 5 {
		value = os.Expand(value, func(other string) string { return v.settings[other] })
	}
	return value
}

func (v *conversion) add(format string, args ...any) {
	v.Lines = append(v.Lines, fmt.Sprintf(format, args...))
}

var (
	postfixSeparators = regexp.MustCompile(`[\s,{}]+`)
	postfixArgument   = regexp.MustCompile(
		`^(check_.*_access|reject_r.*bl_.*|permit_.*wl_client|check_policy_service)$`)
	postfixBrackets = strings.NewReplacer("[", "", "]", "", ",", " ")
	postfixOldName  = regexp.MustCompile(`^reject_(invalid|non_fqdn|unknown)_hostname$`)
)

// restrictions reads one list. Of lists that are not about HELO only what this check does counts.
func (v *conversion) restrictions(setting string, own bool) {
	words := postfixSeparators.Split(v.Get(setting), -1)
	for i := range words {
		word, argument := postfixOldName.ReplaceAllString(words[i], "reject_${1}_helo_hostname"), ""
		if postfixArgument.MatchString(word) && i+1 < len(words) {
			argument, words[i+1] = words[i+1], ""
		}
		rule, known := postfixRules[word]
		tables, table := postfixTables[word]
		switch {
		case slices.Contains([]string{"", "warn_if_reject", "permit_sasl_authenticated"}, word):
		case word == "permit_mynetworks" && own && v.Get("mynetworks") != "":
			v.add("exempt_networks %s", postfixBrackets.Replace(v.Get("mynetworks")))
		case known:
			if argument != "" {
				v.add("blocklists %s", argument)
			}
			code := cmp.Or(v.Get(rule.setting), rule.code)
			action := fmt.Sprintf("reject %s %s.%s", code, code[:1], rule.detail)
			if i > 0 && words[i-1] == "warn_if_reject" {
				action = "ignore"
			}
			for name := range strings.FieldsSeq(rule.rules) {
				v.Actions[name] = cmp.Or(v.Actions[name], action)
			}
		case table:
			v.table(argument, tables)
		case own:
			v.add("# %s: nothing here does this, see docs/migrate.md", strings.TrimSpace(word+" "+argument))
		}
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
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\t", " ")) {
		key, action, _ := strings.Cut(strings.TrimSpace(line), " ")
		action = strings.TrimSpace(action)
		value, directive := accessEntry(action, to)
		switch {
		case key == "" || strings.HasPrefix(key, "#"):
		case directive == "":
			v.add("# %s %s: nothing here does this", key, action)
		default:
			entry := fmt.Sprintf("entry %s %q", strings.ToLower(key), value)
			v.Entries[directive] = append(v.Entries[directive], entry)
		}
	}
}

// accessEntry converts the right side of an access table. Commas separate values in Maddy.
func accessEntry(action string, to [2]string) (value, directive string) {
	word, text, _ := strings.Cut(strings.ReplaceAll(action, ",", ";"), " ")
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
