package replay

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestParseReceived reads Received fields in the styles of many servers.
// Wanted is "helo|ptr|state|client|by|auth|rcpt", or nothing when the field
// names no client.
func TestParseReceived(t *testing.T) {
	for _, tt := range readCases(t, "received.txt") {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if h, ok := parseReceived(tt.in); ok && !h.unclear {
				got = fmt.Sprintf("%s|%s|%s|%s|%s|%v|%s", h.Helo, h.PTR, h.PTRState, h.Client,
					h.Self, h.Auth, strings.Join(h.Rcpts, ","))
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// greetingForms are what servers write about a client of 192.0.2.8 that greets with "@".
var greetingForms = []string{
	"from @ (c.example.com [192.0.2.8]) by mx.example.org (Postfix) with ESMTP id 1",
	"from @ (unknown [192.0.2.8]) (Authenticated sender: u) by mx.example.org (Postfix) with ESMTPA id 1",
	"from @ ([192.0.2.8]) by mx.example.org (8.15.2/8.15.2) with ESMTP id 1",
	"from @ (c.example.com [192.0.2.8] (may be forged)) by mx.example.org (8.15.2/8.15.2) with ESMTP id 1",
	"from unknown (HELO @) (192.0.2.8) by mx.example.org with SMTP",
	"from c.example.com (HELO @) (u@192.0.2.8) by mx.example.org with SMTP",
	"from c.example.com (EHLO @) [192.0.2.8] by mx.example.org (mp1) with SMTP",
	"from [192.0.2.8] (helo=@) by mx.example.org with esmtp (Exim 4.96) id 1",
	"from [192.0.2.8] (port=25 helo=@) by mx.example.org with esmtp (Exim 4.96) id 1",
	"from c.example.com ([192.0.2.8] helo=@) by mx.example.org with esmtp (Exim 4.96) id 1",
	"from [192.0.2.8] (account u HELO @) by mx.example.org (CommuniGate Pro) with ESMTPA id 1",
	"from @ (c.example.com [192.0.2.8]) by mx.example.org (OpenSMTPD) with ESMTP id 1",
	"from @ (c.example.com [192.0.2.8]) by mx.example.org (Haraka/3.0.3) with ESMTP id 1",
	"from @ (c.example.com [192.0.2.8]) by mx.example.org (envelope-sender <a@example.net>) with ESMTP id 1",
	"from @ (c.example.com [::ffff:192.0.2.8]) by mx.example.org with esmtp id 1",
	"from @ (c.example.com. [192.0.2.8]) by mx.google.com with ESMTPS id 1",
	"from @ (192.0.2.8) by mx.example.org (192.0.2.1) with Microsoft SMTP Server id 1",
	"from @ ([192.0.2.8] verified) by mx.example.org (CommuniGate Pro SMTP 6) with ESMTP id 1",
	"from @ ([192.0.2.8]) by mx.example.org ([192.0.2.1]) via tcp with ESMTP id 1",
	"from [192.0.2.8] (@) by mx.example.org (chasquid) with ESMTP (over SMTP, plain text!, envelope from \"a\")",
}

// checkGreeting looks whether any server's words give another client.
func checkGreeting(t *testing.T, said string) {
	t.Helper()
	want := netip.MustParseAddr("192.0.2.8")
	for _, form := range greetingForms {
		h, ok := parseReceived(strings.Replace(form, "@", said, 1))
		if ok && !h.unclear && h.Client != want {
			t.Errorf("%s, greeting %q: client %s", form, said, h.Client)
		}
	}
	if strings.ContainsAny(said, "\r\n") {
		return // no server writes such into its log
	}
	// A string always has a JSON form.
	text, _ := json.Marshal(said)
	for _, form := range []string{
		"Nov 23 13:00:00 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from c.example.com[192.0.2.8]: 504 5.5.2 " +
			"<@>: no; from=<> to=<b> proto=SMTP helo=<@>",
		"Nov 23 13:00:00 mx postfix/cleanup[9]: 4ABC: warning: header X: y from c.example.com[192.0.2.8]; " +
			"from=<> to=<b> proto=SMTP helo=<@>: why",
		"2026-11-23 13:00:00 1abc-0002-XX <= a@example.net H=c.example.com (@) [192.0.2.8]:25 P=esmtp S=1",
		"2026-11-23 13:00:00 H=(@) [192.0.2.8]:25 F=<a@example.net> rejected RCPT <b@example.org>: no",
		"smtp: incoming message\t" + `{"msg_id":"1","src_host":#,"src_ip":"192.0.2.8:25"}`,
	} {
		line := strings.ReplaceAll(strings.Replace(form, "#", string(text), 1), "@>", said+">")
		line = strings.Replace(line, "(@)", "("+said+")", 1)
		recs, _ := collectText(t, testOptions(), line+"\n")
		for _, r := range recs {
			if r.Client != want {
				t.Errorf("greeting %q: client %s in\n%s", said, r.Client, line)
			}
		}
	}
}

// greetingWords are what can make a greeting look like something else.
var greetingWords = []string{"mail.example.net", "[198.51.100.77]", "198.51.100.77", "(", ")", "[", "]", "<", ">",
	" ", " ", ";", ":", "=", "by", "BY", "with", "from", "for", "id", "helo=", "HELO ", "EHLO ", "Exim 4.96",
	"account u ", "unknown", "mx.example.org", "proto=", "SMTP", "; from=<", " to=<", "\\", `"`, "\t", "ptr ",
	"rejected RCPT", " H=", " P=esmtp", "<=", "{", "port=25", "u@", "IPv6:", "::1", "sasl_username=", ">: "}

// TestGreetingNeverMovesClient writes greetings of any words.
func TestGreetingNeverMovesClient(t *testing.T) {
	checkGreeting(t, "x (198.51.100.77) via y")
	checkGreeting(t, "x(198.51.100.77)BY")
	random := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		said := ""
		for range 1 + random.IntN(8) {
			said += greetingWords[random.IntN(len(greetingWords))]
		}
		checkGreeting(t, said)
		if t.Failed() {
			return
		}
	}
}

// TestGreetingHidesNoHop writes greetings of any words above a field that the sender has
// forged in the name of the same server: that one is never read in its place.
func TestGreetingHidesNoHop(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		said := ""
		for range 1 + random.IntN(3) {
			said += greetingWords[random.IntN(len(greetingWords))]
		}
		form := strings.Replace(greetingForms[random.IntN(len(greetingForms))], " by ", "\n\tby ", 1)
		by := "mx.example.org"
		if strings.Contains(form, "google") {
			by = "mx.google.com"
		}
		opt := testOptions()
		opt.By = []string{by}
		recs, _ := collectText(t, opt, "Received: "+strings.Replace(form, "@", said, 1)+
			"\nReceived: from forged (forged.example.com [203.0.113.66]) by "+by+" with ESMTP id 2\n\n")
		if len(recs) > 0 && recs[0].Helo == "forged" {
			t.Errorf("%s, greeting %q: the field below is read", form, said)
		}
	}
}

func FuzzGreeting(f *testing.F) {
	for _, s := range []string{"mail.example.net", "[198.51.100.77]", "x) (y [198.51.100.77]",
		"x) [198.51.100.77] (y", "[198.51.100.77] (HELO z)", "a ([198.51.100.77]) by mx.example.org with ESMTP id 1",
		"[198.51.100.77]) (198.51.100.77", "x helo=y", "(", ")", "\\", "account u HELO z", "a by b",
		"x (c.example.com [198.51.100.77]) by mx.example.org with ESMTP; a"} {
		f.Add(s)
	}
	f.Fuzz(checkGreeting)
}

func TestBorderHop(t *testing.T) {
	for value, want := range map[string]bool{
		"from a (b [192.0.2.8]) by c with ESMTP id 1":                 true,
		"from a (b [192.0.2.8]) by c id 1":                            true,
		"from a (192.0.2.8) by c with Microsoft SMTP Server id 1":     true,
		"from a (b [192.0.2.8]) by c with LMTP id 1":                  false,
		"from a (b [192.0.2.8]) by c with POP3 (fetchmail-6.4) for d": false,
		"from a (192.0.2.8) by c with HTTPS id 1":                     false,
		"from a (b [127.0.0.1]) by c with ESMTP id 1":                 false,
		"from a (b [10.1.2.3]) by c with ESMTP id 1":                  false,
		"from a (b [100.64.2.3]) by c with ESMTP id 1":                false,
		"from a (b [169.254.1.1]) by c with ESMTP id 1":               false,
		"from a (b [IPv6:fe80::1]) by c with ESMTP id 1":              false,
		"from a (b [IPv6:::1]) by c with ESMTP id 1":                  false,
	} {
		h, ok := parseReceived(value)
		if !ok || h.outside() != want {
			t.Errorf("%s: parsed %v, border %v", value, ok, !want)
		}
	}
}

func TestOwn(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  bool
	}{
		{"from a (mx1.example.org [192.0.2.8]) by mx2.example.org with ESMTP id 1", true},
		{"from mx1.example.org (unknown [192.0.2.8]) by mx2.example.org with ESMTP id 1", false},
		{"from a (mx1.example.net [192.0.2.8]) by mx2.example.org with ESMTP id 1", false},
		{"from a (x.example.co.uk [192.0.2.8]) by mx.example.co.uk with ESMTP id 1", true},
		{"from a (x.other.co.uk [192.0.2.8]) by mx.example.co.uk with ESMTP id 1", false},
		{"from a (mx1.example.org [192.0.2.8] (may be forged)) by mx2.example.org id 1", false},
	} {
		if h, ok := parseReceived(tt.value); !ok || (&run{}).isBorder(&h) == tt.want {
			t.Errorf("%s: own %v", tt.value, !tt.want)
		}
	}
}

// hopsMail is a mail that came from outside to mx, from there to store, and
// that claims a path before.
func hopsMail(n int) string {
	return fmt.Sprintf(`Return-Path: <a@example.net>
Received: from store.example.org (localhost [127.0.0.1])
	by store.example.org with LMTP id 1; Mon, 23 Nov 2026 13:31:18 +0000
Received: from mx.example.org (mx.example.org [203.0.113.1])
	by store.example.org (Postfix) with ESMTPS id 2; Mon, 23 Nov 2026 13:31:17 +0000
Received: from h%d.example.net (out.example.net [192.0.2.8])
	by mx.example.org (Postfix) with ESMTPS id 3
	for <bob@example.org>; Mon, 23 Nov 2026 13:31:16 +0000
Received: from forged (forged.example.com [192.0.2.66])
	by mx2.example.org with ESMTP id 4
Subject: test

Received: from body (body.example.com [192.0.2.67]) by mx.example.org with ESMTP
`, n)
}

func TestBorderFoundAndGiven(t *testing.T) {
	var mbox strings.Builder
	for n := range 600 {
		mbox.WriteString("From a@example.net Mon Nov 23 13:31:16 2026\n" + hopsMail(n) + "\n")
	}
	recs, st := collectText(t, testOptions(), mbox.String())
	if len(recs) != 600 || st.Skipped[SkippedBorder] != 0 {
		t.Fatalf("%d records, %d skipped", len(recs), st.Skipped[SkippedBorder])
	}
	for n, r := range recs {
		if want := fmt.Sprintf("h%d.example.net", n); r.Helo != want || r.Self != "mx.example.org" {
			t.Fatalf("mail %d: %s", n, show(&r))
		}
	}
	for by, want := range map[string]string{
		"store.example.org":  "mx.example.org",
		"MX.example.org":     "h7.example.net",
		".example.org":       "mx.example.org",
		"mx2.example.org":    "forged",
		"other.example.com":  "",
		"ample.org":          "",
		".store.example.org": "",
	} {
		opt := testOptions()
		opt.By = []string{by}
		recs, st := collectText(t, opt, hopsMail(7))
		got := ""
		if len(recs) > 0 {
			got = recs[0].Helo
		}
		if got != want || (st.Skipped[SkippedBorder] == 1) != (want == "") {
			t.Errorf("--by %s: %q, want %q; %d skipped", by, got, want, st.Skipped[SkippedBorder])
		}
	}
}

func TestMailDirectories(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("box/cur/1", hopsMail(1))
	write("box/new/2", hopsMail(2))
	write("box/tmp/3", hopsMail(3))
	write("box/dovecot.index", hopsMail(4))
	write("box/.Junk/cur/5", hopsMail(5))
	write("box/.Junk/new/.keep", "")
	write("eml/6.eml", "\xef\xbb\xbf"+strings.ReplaceAll(hopsMail(6), "\n", "\r\n"))
	write("eml/tmp/7.eml", hopsMail(7))
	write("eml/8.mbox", "From a@example.net Mon Nov 23 13:31:16 2026\n"+hopsMail(8))
	if err := os.Symlink(dir, filepath.Join(dir, "loop")); err != nil {
		t.Fatal(err)
	}
	recs, st := collect(t, testOptions(), dir)
	var got []string
	for _, r := range recs {
		got = append(got, strings.TrimSuffix(r.Helo, ".example.net"))
	}
	if want := "[h5 h1 h2 h6 h8 h7]"; fmt.Sprint(got) != want {
		t.Errorf("read %v, want %s", got, want)
	}
	if st.Inputs != 7 || st.Whole != 6 || st.Broken != 0 {
		t.Errorf("%d of %d inputs, %d broken", st.Whole, st.Inputs, st.Broken)
	}
}

func TestMailEdges(t *testing.T) {
	const from = "From a Mon Nov 23 13:31:16 2026\n"
	long := strings.Repeat("x", 2*maxLine)
	for name, tt := range map[string]struct {
		in                    string
		recs, broken, skipped int64
	}{
		"header only":        {strings.Split(hopsMail(1), "\n\n")[0], 1, 0, 0},
		"no received":        {"Subject: x\n\nbody\n", 0, 0, 1},
		"long header line":   {"Subject: x\nX-Long: " + long + "\n" + hopsMail(1), 1, 1, 0},
		"long body line":     {from + hopsMail(1) + long + "\n", 1, 0, 0},
		"no blank before":    {from + hopsMail(1) + "From b 13:31:16\nx\n", 1, 0, 0},
		"folder data":        {from + "X-IMAP: 1 2\n\ntext\n\n", 0, 0, 1},
		"separator only":     {from, 0, 0, 1},
		"unreadable date":    {strings.ReplaceAll(hopsMail(1), "Mon, 23", "Foo, 99"), 1, 0, 0},
		"received with junk": {"Received: (((\nReceived:\n" + hopsMail(1), 1, 0, 0},
	} {
		recs, st := collectText(t, testOptions(), tt.in)
		if st.Records != tt.recs || st.Broken != tt.broken || st.Skipped[SkippedBorder] != tt.skipped {
			t.Errorf("%s: %d records, %d broken, %d skipped\n%s", name, st.Records, st.Broken,
				st.Skipped[SkippedBorder], showAll(recs))
		}
	}
}
