package exempt

import (
	"strings"
	"testing"
)

func TestRecipients(t *testing.T) {
	set, err := ParseRecipients([]string{
		"postmaster", "Abuse", "Help.Desk@Example.Org", "@example.net", "@b\u00fccher.example",
		"o'neil@example.com",
	})
	if err != nil {
		t.Fatal(err)
	}
	l := List{Recipients: set}
	tests := []struct {
		rcpt string
		want bool
	}{
		{"postmaster@example.org", true},
		{"POSTMASTER@example.com", true},
		{"postmaster", true}, // RFC 5321, 4.5.1
		{"Postmaster", true},
		{`"postmaster"@example.org`, true},
		{`"post\master"@example.org`, true},
		{"postmaster@[192.0.2.1]", true},
		{"abuse@example.org", true},
		{"postmaster.x@example.org", false},
		{"postmaster+x@example.org", false},
		{"xpostmaster@example.org", false},
		{`"postmaster@x"@example.org`, false},
		{`"help.desk@example.org"@example.com`, false},
		{`"@example.net"@example.com`, false},
		{"help.desk@example.org", true},
		{"help.desk@EXAMPLE.ORG.", true},
		{"help.desk@example.com", false},
		{"desk@example.org", false},
		{"anyone@example.net", true},
		{"@example.net", true},
		{"anyone@sub.example.net", false},
		{"example.net", false},
		{"anyone@b\u00fccher.example", true},
		{"anyone@B\u00dcCHER.example", true},
		{"anyone@xn--bcher-kva.example", true},
		{"o'neil@example.com", true},
		{"anyone@\xff.example", false},
		{`"`, false},
		{`""@example.org`, false},
		{"@", false},
		{"", false},
	}
	for _, test := range tests {
		why := l.Recipient(t.Context(), test.rcpt)
		if test.want != (why != "") || test.want != (why == WhyRecipient) {
			t.Errorf("Recipient(%q) = %q, want %v", test.rcpt, why, test.want)
		}
	}
	if why := new(List).Recipient(t.Context(), "postmaster"); why != "" {
		t.Errorf("an empty list exempts: %q", why)
	}
}

func TestRecipientErrors(t *testing.T) {
	tests := []struct{ entry, want string }{
		{"", `"" is empty`},
		{" ", "has a character"},
		{"@\xd60", "has a character"},
		{"post master", "has a character"},
		{"<postmaster@example.org>", "has a character"},
		{"a@example.org,b@example.org", "has a character"},
		{"@-x.example", "has no valid domain"},
		{"@192.0.2.1", "has no valid domain"},
		{"@", "has no valid domain"},
		{"postmaster@", "has no valid domain"},
		{"@.example.org", "has no valid domain"},
		{"a@exam ple.org", "has a character"},
		{"a@b@example.org", "has no valid local part"},
		{"@@example.org", "has no valid local part"},
		{`""`, "has no valid local part"},
		{`""@example.org`, "has no valid local part"},
		{"example.org", "could be a local part or a domain"},
	}
	for _, test := range tests {
		_, err := ParseRecipients([]string{"postmaster", test.entry})
		if err == nil {
			t.Errorf("%q is accepted", test.entry)
			continue
		}
		for _, part := range []string{test.want, acceptedRcpt} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q: the error %q lacks %q", test.entry, err, part)
			}
		}
	}
}

// FuzzRecipient proves that nothing is taken for postmaster that does not say
// so, and that an accepted entry matches itself in any case of ASCII letters.
func FuzzRecipient(f *testing.F) {
	for _, rcpt := range []string{
		"postmaster", "Abuse@example.org", `"a b"@example.org`, "@example.net", "a@b@c",
	} {
		f.Add(rcpt)
	}
	base, err := ParseRecipients([]string{"postmaster"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rcpt string) {
		plainRcpt := strings.ToLower(strings.ReplaceAll(rcpt, `\`, ""))
		if base.Contains(rcpt) && !strings.Contains(plainRcpt, "postmaster") {
			t.Errorf("%q is exempt", rcpt)
		}
		own, err := ParseRecipients([]string{rcpt})
		if err != nil {
			return
		}
		if !own.Contains(rcpt) {
			t.Errorf("the entry %q does not match itself", rcpt)
		}
		upper := []byte(rcpt)
		for i, c := range upper {
			if c >= 'a' && c <= 'z' {
				upper[i] = c - 'a' + 'A'
			}
		}
		if !own.Contains(string(upper)) {
			t.Errorf("the entry %q does not match %q", rcpt, upper)
		}
	})
}
