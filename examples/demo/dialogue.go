package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

const dialogueLimit = 20 * time.Second

// outcome is what became of one greeting.
type outcome struct {
	code int
	text string // of the last reply to a command that matters
	log  string // the verdict in Maddy's log; "" when no rule hit
	rfc  string // what the default policy does with the mail

	Rule, Action string // of that verdict
}

// speak lets one client deliver a message and looks up what the log says about it.
func (s *server) speak(ctx context.Context, g greeting) (outcome, error) {
	before, err := os.Stat(s.logFile())
	if err != nil {
		return outcome{}, fmt.Errorf("demo: log: %w", err)
	}
	code, text, err := s.dialogue(ctx, g)
	if err != nil {
		return outcome{}, fmt.Errorf("demo: HELO %q: %w", g.helo, err)
	}
	o := outcome{code: code, text: text}
	if o.rfc, err = s.byDefault(ctx, g); err != nil {
		return o, err
	}
	return o, s.readVerdict(&o, before.Size())
}

// byDefault asks the server's own command what policy rfc does with a greeting. The empty one never
// gets to the check.
func (s *server) byDefault(ctx context.Context, g greeting) (string, error) {
	if g.helo == "" {
		return "", nil
	}
	// The configuration has two checks: for other servers and, after it, for users.
	before, after, _ := bytes.Cut(configuration, []byte("    helo_fqdn "))
	line := 1 + bytes.Count(before, []byte("\n"))
	args := []string{"helo", "explain", "--policy", "rfc", "--config", s.config(), "--format", "json",
		"--dns", s.dns.LocalAddr().String(), "--ip", g.client, "--rcpt", g.to}
	if g.login {
		before, _, _ = bytes.Cut(after, []byte("    helo_fqdn "))
		line += bytes.Count(before, []byte("\n"))
		args = append(args, "--auth", userName)
	}
	args = append(args, "--check", s.config()+":"+strconv.Itoa(line))
	cmd := s.command(ctx, append(args, "--", g.helo)...)
	text, err := cmd.Output() // the exit status tells the verdict
	exit := new(exec.ExitError)
	if err != nil && !errors.As(err, &exit) {
		return "", fmt.Errorf("demo: explain: %w", err)
	}
	var verdict struct{ Action string }
	if err := json.Unmarshal(text, &verdict); err != nil {
		return "", fmt.Errorf("demo: explain %s: %w\n%s", g.helo, err, exit.Stderr)
	}
	words := map[string]string{"reject": "rejected", "quarantine": "Junk"}
	return cmp.Or(words[verdict.Action], "passes"), nil
}

// dialogue speaks SMTP by hand, since client libraries refuse to send such
// names. It stops at the first refusal and returns the last reply.
func (s *server) dialogue(ctx context.Context, g greeting) (code int, text string, err error) {
	address := s.mx
	if g.login {
		address = s.submission
	}
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(g.client)}, Timeout: dialogueLimit}
	tcp, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return 0, "", err
	}
	// A Ctrl-C ends the dialogue too.
	defer context.AfterFunc(ctx, func() { tcp.Close() })()
	if err = tcp.SetDeadline(time.Now().Add(dialogueLimit)); err != nil {
		return 0, "", errors.Join(err, tcp.Close())
	}
	conn := textproto.NewConn(tcp)
	defer func() { _ = conn.Close() }()

	code, text, err = conn.ReadResponse(220)
	for _, command := range g.commands() {
		if err != nil {
			break
		}
		if err = conn.PrintfLine("%s", command); err != nil {
			break
		}
		code, text, err = conn.ReadResponse(0)
		if code >= 400 {
			break
		}
	}
	if err == nil {
		err = conn.PrintfLine("QUIT")
	}
	return code, text, err
}

// commands is what the client sends, one entry for each reply it gets.
func (g greeting) commands() []string {
	lines := make([]string, 0, 6)
	if g.login {
		secret := base64.StdEncoding.EncodeToString([]byte("\x00" + userName + "\x00" + password))
		lines = append(lines, "EHLO "+g.helo, "AUTH PLAIN "+secret)
	} else {
		lines = append(lines, strings.TrimRight("HELO "+g.helo, " "))
	}
	message := strings.Join([]string{
		"From: <" + g.from + ">",
		"To: <" + g.to + ">",
		"Subject: greeting " + g.helo,
		"Date: " + time.Now().Format(time.RFC1123Z),
		"Message-ID: <" + strconv.FormatInt(time.Now().UnixNano(), 10) + "@example.net>",
		"",
		"Hello!",
		".",
	}, "\r\n")
	return append(lines, "MAIL FROM:<"+g.from+">", "RCPT TO:<"+g.to+">", "DATA", message)
}

// readVerdict finds the last verdict that the log got after offset.
func (s *server) readVerdict(o *outcome, offset int64) error {
	file, err := os.Open(s.logFile())
	if err != nil {
		return fmt.Errorf("demo: log: %w", err)
	}
	defer file.Close()
	const enough = 1 << 20 // octets
	text, err := io.ReadAll(io.NewSectionReader(file, offset, enough))
	if err != nil {
		return fmt.Errorf("demo: log: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if _, fields, found := strings.Cut(line, "helo verdict\t"); found {
			o.log = strings.TrimSpace(line)
			if err := json.Unmarshal([]byte(fields), o); err != nil {
				return fmt.Errorf("demo: log: %w", err)
			}
		}
	}
	return nil
}
