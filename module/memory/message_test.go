package memory

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSameMessage(t *testing.T) {
	for from, want := range map[string]string{
		"":                          "",
		"User@Example.ORG":          "user@example.org",
		"user+tag@example.org":      "user@example.org",
		"+user@example.org":         "+user@example.org",
		"user":                      "user",
		"a@b@example.org":           "a@b@example.org",
		"%s%d%@example.org":         "%s%d%@example.org",
		"a\x00\xff1@example.org":    "a\x00\xff#@example.org", // a word is of ASCII letters
		"a\x00 1@example.org":       "a\x00 #@example.org",
		"user@12.example.org":       "user@12.example.org",
		"m\u00fcller7@example.org":  "m\u00fcller7@example.org",
		"M\u00dcLLER@example.org":   "m\u00fcller@example.org",
		"bounce-12-34@example.org":  "bounce-#-#@example.org",
		"bounce-99-1@example.org":   "bounce-#-#@example.org",
		"bounce12@example.org":      "bounce12@example.org",
		"bounce_12@example.org":     "bounce_12@example.org",
		"12@example.org":            "#@example.org",
		"l-7-user=example.net@x.co": "l-#-user=example.net@x.co",
		// BATV, the tag before and behind the local part
		"prvs=1234abcdef=user@example.org":   "user@example.org",
		"prvs=9999012345=user@example.org":   "user@example.org",
		"PRVS=user=1234ABCDEF@example.org":   "user@example.org",
		"prvs=1234abcdef=us=er@example.org":  "us=er@example.org",
		"prvs=user=tag@example.org":          "prvs=user=tag@example.org",
		"prvs=12345abcde@example.org":        "prvs=12345abcde@example.org",
		"prvs=123gabcdef=user@example.org":   "prvs=123gabcdef=user@example.org",
		"prvs=1234abcdef=user+x@example.org": "user@example.org",
		// SRS
		"SRS0=Ab1/=X2=example.net=user@example.org":  "srs0=example.net=user@example.org",
		"SRS0+zz9z=Q7=example.net=user@example.org":  "srs0=example.net=user@example.org",
		"SRS0-zz9z=Q7=example.net=us=er@example.org": "srs0=example.net=us=er@example.org",
		"SRS0=zz9z=Q7=user@example.org":              "srs0=zz9z=q7=user@example.org",
		"SRS1=ff=fwd.example==Ab1=X2=example.net=user@example.org": "srs1=fwd.example=example.net=" +
			"user@example.org",
		"SRS1=ff=fwd.example=x=Ab1=X2=example.net=user@example.org": "srs1=ff=fwd.example=x=ab1=" +
			"x2=example.net=user@example.org",
		"srs0": "srs0",
	} {
		if got := sameMessage(from); got != want {
			t.Errorf("%q: got %q, want %q", from, got, want)
		}
	}
}

func TestRecipient(t *testing.T) {
	for rcpt, want := range map[string]string{
		"User+list@Example.org": "user@example.org",
		"user12-3@example.org":  "user12-3@example.org", // its numbers are of a person
		"+@example.org":         "+@example.org",
	} {
		if got := foldAddress(rcpt); got != want {
			t.Errorf("%q: got %q, want %q", rcpt, got, want)
		}
	}
}

// The parts of a key have their lengths before them, so that no octet can move from one to the
// other.
func TestHashKeepsPartsApart(t *testing.T) {
	s := sender("mail.example.org", "192.0.2.1")
	seen := map[string]string{}
	for _, pair := range [][2]string{
		{"a", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""}, {"a\x00", "bc"}, {"a", "\x00bc"},
	} {
		k, _ := s.waitKeys(mapSecret, pair[0], pair[1])
		if other, ok := seen[k.name]; ok {
			t.Errorf("%q has the hash of %q", pair, other)
		}
		seen[k.name] = pair[0] + "|" + pair[1]
		if strings.Contains(k.name, "abc") || len(k.name) != 32 {
			t.Errorf("%q is no hash", k.name)
		}
	}
	a, _ := s.waitKeys([]byte("other"), "a", "b")
	if b, _ := s.waitKeys(mapSecret, "a", "b"); a == b {
		t.Error("the secret of the store does not change the hash")
	}
}

// What is the same message stays the same when it is folded again.
func FuzzSameMessage(f *testing.F) {
	f.Add("prvs=1234abcdef=user+7@example.org")
	f.Add("SRS1=ff=fwd.example==Ab1=X2=example.net=user@example.org")
	f.Add("a-1-2=b%s@x@example.org")
	f.Fuzz(func(t *testing.T, from string) {
		got := sameMessage(from)
		if utf8.ValidString(from) && got != sameMessage(strings.ToLower(from)) {
			t.Errorf("%q: case counts", from)
		}
		if len(got) > len(strings.ToLower(from)) {
			t.Errorf("%q has grown to %q", from, got)
		}
		if _, domain := splitAddress(from); !strings.HasSuffix(got, domain) {
			t.Errorf("%q lost its domain: %q", from, got)
		}
	})
}
