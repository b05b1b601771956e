package heloname

import (
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	for _, tc := range []struct {
		in   string
		max  int
		want string
	}{
		{"mail.example.org", 64, "mail.example.org"},
		{"[IPv6:2001:db8::1]", 64, "[IPv6:2001:db8::1]"},
		{"a_b,c@d$e%f{g}", 64, "a_b,c@d$e%f{g}"},
		{"", 64, ""},
		{"a b", 64, "a?b"},
		{"a\r\nRCPT TO:<x>", 64, "a??RCPT?TO:?x?"},
		{"<script>\"'&`\\;()", 64, "?script?????????"},
		{"\x00\x1b[31m\x7f", 64, "??[31m?"},
		{"b\xc3\xbccher", 64, "b??cher"},
		{"\x9b\xff", 64, "??"},
		{"0123456789", 10, "0123456789"},
		{"0123456789x", 10, "0123...89x"},
		{"0123456789xy", 9, "012...9xy"},
		{"01\r345678\n", 8, "01?...8?"},
		{"0123456789", 4, "0..."},
		{"0123456789", 3, "..."},
		{"0123456789", 1, "."},
		{"0123456789", 0, ""},
		{"0123456789", -1, ""},
	} {
		if got := Clean(tc.in, tc.max); got != tc.want {
			t.Errorf("Clean(%q, %d) = %q, want %q", tc.in, tc.max, got, tc.want)
		}
		checkClean(t, tc.in, tc.max)
	}
}

// checkClean holds what is true of all cleaned text.
func checkClean(t *testing.T, s string, octets int) {
	t.Helper()
	got := Clean(s, octets)
	if len(got) > max(octets, 0) || len(got) < min(len(s), max(octets, 0)) {
		t.Fatalf("Clean(%q, %d) = %q, wrong length", s, octets, got)
	}
	for i := range len(got) {
		if c := got[i]; c <= ' ' || c > '~' || strings.IndexByte("<>()\"\\;&'`", c) >= 0 {
			t.Fatalf("Clean(%q, %d) = %q, byte %q", s, octets, got, c)
		}
	}
	if Clean(got, octets) != got {
		t.Fatalf("Clean(%q, %d) is not stable", s, octets)
	}
}

func TestLine(t *testing.T) {
	for _, tc := range []struct {
		in   string
		max  int
		want string
	}{
		{"Say your name, \"a\"; see <url>", 64, "Say your name, \"a\"; see <url>"},
		{"a\r\nb\tc\x00\x7f\xc3\xbc", 64, "a??b?c????"},
		{"0123456789", 10, "0123456789"},
		{"0123456789", 9, "012345678"},
		{"0123456789", 0, ""},
		{"0123456789", -1, ""},
		{"", 5, ""},
	} {
		if got := Line(tc.in, tc.max); got != tc.want {
			t.Errorf("Line(%q, %d) = %q, want %q", tc.in, tc.max, got, tc.want)
		}
	}
}
