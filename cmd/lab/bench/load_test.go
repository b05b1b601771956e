package bench

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"
)

// mailbox is a server that notes who came, and refuses bare addresses if it is strict.
type mailbox struct {
	strict bool

	mu    sync.Mutex
	names map[string]string // address: greeting
	mails int
}

func serve(t *testing.T, m *mailbox) string {
	t.Helper()
	m.names = make(map[string]string)
	s := smtp.NewServer(m)
	s.Domain = serverMX
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l)
	}()
	t.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return l.Addr().String()
}

func (m *mailbox) NewSession(c *smtp.Conn) (smtp.Session, error) {
	host, _, err := net.SplitHostPort(c.Conn().RemoteAddr().String())
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[host] = c.Hostname()
	return &visit{m, c.Hostname()}, nil
}

type visit struct {
	*mailbox
	name string
}

func (v *visit) Rcpt(to string, _ *smtp.RcptOptions) error {
	if v.strict && v.name == badName || to != recipient {
		return &smtp.SMTPError{Code: 550, Message: "no"}
	}
	return nil
}

func (v *visit) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if len(text) < bodyOctets {
		return errors.Join(err, errors.New("too short"))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mails++
	return err
}

func (*visit) Mail(string, *smtp.MailOptions) error { return nil }
func (*visit) Reset()                               {}
func (*visit) Logout() error                        { return nil }

// needLoopback skips where the machine has only 127.0.0.1.
func needLoopback(t *testing.T) {
	t.Helper()
	if l, err := net.Listen("tcp", serverIP+":0"); err != nil {
		t.Skip("not all of 127.0.0.0/8 is here: ", err)
	} else if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestColdLoad(t *testing.T) {
	needLoopback(t)
	m := &mailbox{}
	address := serve(t, m)
	l := &lab{bench: &bench{sessions: 4}}
	for range 2 {
		if err := l.coldLoad(t.Context(), address, 10); err != nil {
			t.Fatal(err)
		}
	}
	if m.mails != 20 || len(m.names) != 20 {
		t.Errorf("%d messages of %d clients", m.mails, len(m.names))
	}
	for i := range 20 {
		if got := m.names[freshAddr(i).String()]; got != freshName(i) {
			t.Errorf("client %d said %q", i, got)
		}
	}
}

func TestColdLoadFails(t *testing.T) {
	needLoopback(t)
	address, err := freePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{bench: &bench{sessions: 2}}
	if err := l.coldLoad(t.Context(), address, 4); err == nil {
		t.Error("sent to nobody")
	}
}

func TestRefuses(t *testing.T) {
	for _, strict := range []bool{false, true} {
		got, err := refuses(t.Context(), serve(t, &mailbox{strict: strict}))
		if err != nil || got != strict {
			t.Errorf("strict %t: refuses %t, %v", strict, got, err)
		}
	}
	address, err := freePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := refuses(t.Context(), address); err == nil {
		t.Errorf("nobody refuses: %t", got)
	}
}

// idle stands for the process of a server that runs in the test.
func idle(t *testing.T) *process {
	t.Helper()
	if _, err := treeCPU(os.Getpid()); err != nil {
		t.Skip("no /proc here: ", err)
	}
	p := startSelf(t)
	t.Cleanup(func() {
		if err := p.stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func TestAlternate(t *testing.T) {
	needLoopback(t)
	p := idle(t)
	contests := []contest{{server: "Test", setting: "strict", cold: true,
		off: side{"off", serve(t, &mailbox{}), p},
		on:  side{"on", serve(t, &mailbox{strict: true}), p}}}
	l := &lab{bench: &bench{pairs: 3, messages: 16, sessions: 2, err: io.Discard}}
	if err := l.warmUp(t.Context(), contests); err != nil {
		t.Fatal(err)
	}
	results, err := l.alternate(t.Context(), contests)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for i := range results {
		r := &results[i]
		order = append(order, r.Side)
		if r.Messages != 4 || r.Seconds <= 0 || r.CPU < 0 || r.Pair != i/2+1 || r.Order != i%2+1 ||
			r.Cache != "cold" || r.Server != "Test" {
			t.Errorf("%+v", r)
		}
	}
	if got := strings.Join(order, " "); got != "off on on off off on" {
		t.Error(got)
	}
	if l.fresh != 8*4 {
		t.Errorf("%d clients used", l.fresh)
	}
}

// A setting that does not do what it says would be measured in vain.
func TestWarmUpSeesWrongSettings(t *testing.T) {
	needLoopback(t)
	p := idle(t)
	soft, hard := side{"off", serve(t, &mailbox{}), p}, side{"on", serve(t, &mailbox{strict: true}), p}
	l := &lab{bench: &bench{pairs: 1, messages: 2, sessions: 1, err: io.Discard}}
	for name, c := range map[string]contest{
		"on is soft":    {cold: true, off: soft, on: side{"on", soft.address, p}},
		"off is hard":   {cold: true, off: side{"off", hard.address, p}, on: hard},
		"plain is hard": {cold: true, plain: true, off: soft, on: hard},
	} {
		err := l.warmUp(t.Context(), []contest{c})
		if err == nil || !strings.Contains(err.Error(), "refuses "+badName) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNames(t *testing.T) {
	seen := make(map[string]bool)
	for _, i := range []int{0, 1, 255, 256, 65535, 65536, maxFresh - 1} {
		a := freshAddr(i)
		if !a.IsLoopback() || seen[a.String()] || seen[freshName(i)] || a.String() == serverIP {
			t.Errorf("%d: %s", i, a)
		}
		seen[a.String()], seen[freshName(i)] = true, true
	}
	if got := reverse(freshAddr(258)); got != "2.1.100.127.in-addr.arpa" {
		t.Error(got)
	}
	var b strings.Builder
	writeZone(&b, 2)
	for _, want := range []string{
		"local-data: 'loop.sender-bench.com. 3600 IN A 127.0.0.1'\n",
		"local-data: '1.0.0.127.in-addr.arpa. 3600 IN PTR loop.sender-bench.com.'\n",
		"local-data: 'mta1.sender-bench.com. 3600 IN A 127.100.0.1'\n",
		"local-data: '1.0.100.127.in-addr.arpa. 3600 IN PTR mta1.sender-bench.com.'\n",
	} {
		if strings.Count(b.String(), want) != 1 {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
