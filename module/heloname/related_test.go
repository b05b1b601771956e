package heloname

import "testing"

func TestRelated(t *testing.T) {
	for _, tc := range []struct {
		helo, ptr string
		want      bool
	}{
		{"mail.example.org", "mx.example.net", true},
		{"mail.example.co.uk", "mx.example.net", true},
		{"mail.example.org", "a.examplemail.net", true},
		{"mail.example-tech.org", "a.example.net", true},
		{"example.org", "example.isp.test", true},
		{"example.org", "mx.example.pop.isp.test", true},
		{"mail5.first.test", "mail5.second.test", true},
		{"smtp-out1.first.test", "smtp-out1.second.test", true},
		{"abcd.test", "xabcdx.invalid", true},

		{"mail.first.test", "mail.second.test", false}, // no digit: everybody's
		{"mx1.first.test", "mx1.second.test", false},   // two letters
		{"123.first.test", "123.second.test", false},
		{"mail5.first.test", "mail50.second.test", false},
		{"mail.first.test", "mx.second.test", false},
		{"mail.abc.test", "mx.abc.invalid", false}, // three letters of a domain
		{"mail.abc.test", "abc.isp.test", false},
		{"mail.abcdef.test", "mx.abc.invalid", false},
		{"mail.abc.test", "mx.abcdef.invalid", false},
		{"mail.example.org", "examples.isp.test", false},
		{"example.isp.test", "mx.example.org", false}, // the label counts one way only
		{"first.co.uk", "second.co.uk", false},
		{"", "mx.example.net", false},
		{"mail.example.org", "", false},
		{"", "", false},
	} {
		if got := Related(tc.helo, tc.ptr); got != tc.want {
			t.Errorf("Related(%q, %q) = %v", tc.helo, tc.ptr, got)
		}
	}
}
