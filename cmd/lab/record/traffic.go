package record

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"strings"
	"time"
)

// client is one sender of the synthetic traffic.
type client struct {
	helo string
	host string // last octet of the address
}

// Everyday traffic: mostly good servers, some that no rule lets pass, and a
// scanner of the house that is exempt.
var everyday = []client{
	{"mail.example.net", "7"},
	{"mx3.example.com", "8"},
	{"mail.example.net", "7"},
	{"out.example.com", "9"},
	{"mx3.example.com", "8"},
	{"hostnameonly", "66"},
	{"mail.example.net", "7"},
	{"nas.lan", "67"},
	{"mx1.example.org", "68"},
	{"scanner", "200"},
}

// forger tries to put the address of somebody else into the log.
var forger = client{`x","src_ip":"198.51.100.1"}`, "98"}

// record lets the clients write and scrapes meanwhile. In the third quarter
// comes a burst of refused clients; in the last the DNS fails.
func (r *recorder) record(ctx context.Context, path string) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	// One host that tries again and again.
	burst := client{r.clients + ".99", "99"}
	series := &scraper{url: "http://" + r.metrics + "/metrics", out: bufio.NewWriter(file)}
	begin := time.Now()
	all, scrapes := int(r.duration/r.pause), max(1, int(r.every/r.pause))
	for n := 0; err == nil && ctx.Err() == nil; n++ {
		if n%scrapes == 0 {
			err = errors.Join(err, series.scrape(ctx, time.Since(begin)))
		}
		if n == all {
			break
		}
		quarter := 4 * n / all
		r.dns.broken.Store(quarter >= 3)
		who := everyday[n%len(everyday)]
		if quarter == 2 && n%3 != 0 {
			who = burst
		}
		if n%50 == 49 {
			who = forger
		}
		if quarter >= 3 && n%2 == 0 { // names that no cache has
			who = client{fmt.Sprintf("m%d.example.com", n), "9"}
		}
		err = errors.Join(err, r.deliver(ctx, who))
		time.Sleep(r.pause)
	}
	return errors.Join(err, ctx.Err(), series.out.Flush(), file.Close())
}

// ready waits for both listeners.
func (r *recorder) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, address := range []string{r.smtp, r.metrics} {
		for {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				conn.Close()
				break
			}
			if ctx.Err() != nil {
				return fmt.Errorf("record: Maddy does not answer on %s: %w", address, err)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// deliver sends a message from one client, up to the first refusal.
func (r *recorder) deliver(ctx context.Context, who client) error {
	from := net.ParseIP(r.clients + "." + who.host)
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: from}, Timeout: startLimit}
	tcp, err := dialer.DialContext(ctx, "tcp", r.smtp)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer tcp.Close()
	conn := textproto.NewConn(tcp)
	code, _, err := conn.ReadResponse(220)
	for _, command := range []string{
		"EHLO " + who.helo, "MAIL FROM:<alice@example.net>", "RCPT TO:<bob@example.org>", "DATA",
		"From: <alice@example.net>\r\nTo: <bob@example.org>\r\nSubject: test\r\n\r\nHello\r\n.", "QUIT",
	} {
		if err == nil {
			err = conn.PrintfLine("%s", command)
		}
		if err == nil {
			code, _, err = conn.ReadResponse(0)
		}
		if err != nil || code >= 400 {
			break
		}
	}
	return err
}

// scraper keeps the check's metrics, each line only when it changed.
type scraper struct {
	url  string
	out  *bufio.Writer
	last map[string]bool
}

func (s *scraper) scrape(ctx context.Context, passed time.Duration) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	fmt.Fprintf(s.out, "# scrape %.1f\n", passed.Seconds())
	seen := make(map[string]bool)
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "maddy_helo_fqdn_") || strings.Contains(line, "_bucket{") {
			continue
		}
		seen[line] = true
		if !s.last[line] {
			fmt.Fprintln(s.out, line)
		}
	}
	s.last = seen
	return lines.Err()
}
