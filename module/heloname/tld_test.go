package heloname

import "testing"

func TestNewTLD(t *testing.T) {
	for name, want := range map[string]bool{
		"mail.example.online": true,
		"mail.example.xyz":    true,
		"mail.example.email":  true,
		"mail.example.zip":    true,
		"mail.example.box":    true,
		"mail.example.tk":     true,
		"example.ml":          true,
		"online":              true,

		"mail.example.com":         false,
		"mail.example.net":         false,
		"mail.example.info":        false,
		"mail.example.museum":      false,
		"mail.example.asia":        false,
		"mail.example.xxx":         false,
		"mail.example.de":          false,
		"mail.example.io":          false,
		"mail.example.co.uk":       false,
		"mail.example.ck":          false,
		"a.github.io":              false,
		"203.2.0.192.in-addr.arpa": false,
		"mail.example.xn--p1ai":    false,
		"mail.example.notatld":     false,
		"mail.example.local":       false,
		"mail.example.test":        false,
		"mail.example.123":         false,
		"mail.online.com":          false,
		"":                         false,
	} {
		if got := (*Lists)(nil).NewTLD(name); got != want {
			t.Errorf("NewTLD(%q) = %v", name, got)
		}
	}
	if new(Lists).NewTLD("mail.example.com") {
		t.Error("without a list a TLD is new")
	}
	if !(*Lists)(nil).With(Extension{}).NewTLD("mail.example.online") {
		t.Error("an extension took the TLDs away")
	}
}
