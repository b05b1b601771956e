package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// Mail of the past is remembered as the server would have done: in the order of time, all servers in
// one memory, what passes and nothing else. Twice is once.
func TestMemoryLearn(t *testing.T) {
	dir := t.TempDir()
	conf, mail := filepath.Join(dir, "maddy.conf"), filepath.Join(dir, "mail.csv")
	text := "state_dir " + dir + "\nsmtp tcp://192.0.2.1:25 {\ncheck {\nhelo_fqdn {\npolicy strict\n" +
		"max_action ignore\n}\n}\n}\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	today := time.Now().UTC().Truncate(24 * time.Hour)
	ago := func(days int) string { return today.AddDate(0, 0, -days).Format(time.RFC3339) }
	rows := []string{
		"time,server,helo,ip,rdns,rcpt,class",
		ago(1) + ",mx2,mail.example.org,192.0.2.25,mail.example.org,bob@example.net,ham",
		ago(9) + ",mx1,mail.example.org,192.0.2.25,mail.example.org,bob@example.net,ham",
		ago(9) + ",mx1,odd.example.com,203.0.113.9,,bob@example.net,",
		ago(8) + ",mx1,odd.example.com,203.0.113.9,,bob@example.net,",
		ago(2) + ",mx2,odd.example.com,203.0.113.9,,bob@example.net,",
		ago(7) + ",mx1,new.example.com,203.0.113.9,,bob@example.net,",
		ago(3) + ",mx1,localhost,198.51.100.8,,bob@example.net,",
		ago(3) + ",mx1,bad.example.net,198.51.100.9,bad.example.net,bob@example.net,spam",
		",mx1,timeless.example.net,198.51.100.9,timeless.example.net,bob@example.net,",
		ago(400) + ",mx1,old.example.net,198.51.100.9,old.example.net,bob@example.net,",
	}
	if err := os.WriteFile(mail, []byte(strings.Join(rows, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COLUMNS", "200")
	learn := func(want string) {
		t.Helper()
		out, said := runMain(t, 0, "memory", "learn", "--config", conf, mail)
		if !strings.Contains(out, want) || !strings.Contains(said, "1 messages without a time") {
			t.Errorf("got %q, %q, want %q", out, said, want)
		}
	}
	senders := func() {
		t.Helper()
		out, _ := runMain(t, 0, "memory", "list", "--config", conf)
		var got []string
		for _, line := range strings.Split(out, "\n") {
			// 192.0.2.0/24  sender seen, days 3, 2026-01-01 to 2026-01-09: mail.example.org
			if f := strings.Fields(strings.NewReplacer(",", "", ":", "").Replace(line)); len(f) == 9 &&
				f[1] == "sender" {
				got = append(got, fmt.Sprint(f[8], " ", f[4], " ", f[2]))
			}
		}
		want := "mail.example.org 2 accepted,new.example.com 1 unknown,odd.example.com 3 seen"
		if strings.Join(got, ",") != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	learn("4 known senders are new, 2 more are accepted")
	senders()
	// What is older than the memory keeps is gone again.
	learn("1 known senders are new, 1 more are accepted")
	senders()
}
