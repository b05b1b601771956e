package module

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	parser "github.com/foxcpp/maddy/framework/cfgparser"
	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/log"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// opensFiles: an input may name any file of this machine, or a device.
func opensFiles(nodes []config.Node) bool {
	file := func(arg string) bool { return strings.Contains(arg, "file") }
	return slices.ContainsFunc(nodes, func(n config.Node) bool {
		return file(n.Name) || slices.ContainsFunc(n.Args, file) || opensFiles(n.Children)
	})
}

// unreadable parses text. Skip is true for a text that Maddy's parser rejects,
// and for one that names other files.
func unreadable(t *testing.T, text string) (nodes []config.Node, skip bool) {
	t.Helper()
	if strings.Contains(text, "import") {
		return nil, true
	}
	defer func() {
		if recover() != nil { // Maddy's parser panics on some macros
			nodes, skip = nil, true
		}
	}()
	nodes, err := parser.Read(strings.NewReader(text), "maddy.conf")
	return nodes, err != nil || opensFiles(nodes)
}

// configure makes a check of one node as Maddy does, without a log.
func configure(tb testing.TB, node config.Node) (*Check, error) {
	tb.Helper()
	c := container.New()
	c.DefaultLogger = &log.Logger{Out: log.WriterOutput(io.Discard, false)}
	container.Global = c
	made, err := New(c, modName, "")
	if err != nil {
		tb.Fatal(err)
	}
	check := made.(*Check)
	globals := map[string]any{"hostname": "mx.example.org"}
	if err := check.Configure(node.Args, config.NewMap(globals, node)); err != nil {
		return nil, err
	}
	check.judge.Gatherer.Exchange = func(context.Context, *dns.Msg) (*dns.Msg, error) {
		return nil, errors.New("no DNS in this test")
	}
	return check, nil
}

var place = regexp.MustCompile(`^maddy\.conf:(\d+): .`)

// checkPlace: an error says at which line of the text it is.
func checkPlace(t *testing.T, text string, err error) {
	t.Helper()
	m := place.FindStringSubmatch(err.Error())
	if m == nil {
		t.Fatalf("no file and line in %q", err)
	}
	line, _ := strconv.Atoi(m[1])
	if line < 1 || line > strings.Count(text, "\n")+1 {
		t.Errorf("line %d of %d: %q", line, strings.Count(text, "\n")+1, err)
	}
}

// checkRules: what was accepted can be said in one line of SMTP.
func checkRules(t *testing.T, p *checkhelo.Policy, f *checkhelo.Facts) {
	t.Helper()
	for _, r := range p.Rules() {
		v := checkhelo.Verdict{Action: checkhelo.Reject, Hits: []checkhelo.Hit{{Rule: r}}}
		reply := p.Reply(v, f.Helo)
		if reply.Code < 400 || reply.Code > 599 || reply.Enhanced[0] != reply.Code/100 {
			t.Errorf("%s: code %d %v", r.Name, reply.Code, reply.Enhanced)
		}
		const lineOctets = 512 - len("550 5.7.25 \r\n (msg ID = 01234567)")
		if len(reply.Text) > lineOctets || strings.ContainsFunc(reply.Text, notPrintable) {
			t.Errorf("%s: reply %q", r.Name, reply.Text)
		}
	}
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

// FuzzConfigure reads any text as maddy.conf and takes each block in it for a
// helo_fqdn block: nothing panics, an error says where it is, the same text
// always means the same, and what is accepted can judge.
func FuzzConfigure(f *testing.F) {
	seeds, err := filepath.Glob("../examples/*.conf")
	if err != nil || len(seeds) == 0 {
		f.Fatalf("no example configurations: %v", err)
	}
	for _, path := range seeds {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		nodes, skip := unreadable(t, text)
		if skip {
			t.Skip()
		}
		for _, node := range nodes {
			c, err := configure(t, node)
			_, again := configure(t, node)
			if (err == nil) != (again == nil) || err != nil && err.Error() != again.Error() {
				t.Errorf("first %v, then %v", err, again)
			}
			if err != nil {
				checkPlace(t, text, err)
				continue
			}
			for _, helo := range []string{"mx.example.org", "a\r\n\x00<b>", "[192.0.2.7]"} {
				facts := factsOf(c, helo, netip.MustParseAddr("192.0.2.7"), netip.Addr{})
				v := c.judge.Policy.Evaluate(&facts)
				if p := c.judge.Policy; p.Ceiling != checkhelo.Off && v.Action > p.Ceiling {
					t.Errorf("action %s above the ceiling %s", v.Action, p.Ceiling)
				}
				checkRules(t, c.judge.Policy, &facts)
			}
		}
	})
}
