package module_test

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// sink is the mail server that a Maddy under test delivers to.
type sink struct {
	addr string

	mu         sync.Mutex
	messages   []string
	recipients int
	keep       bool // false: count only
}

func startSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), keep: true}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &sinkSession{s: s}, nil
	}))
	server.Domain = "sink.receiver-bench.org"
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = l.Close() // where Serve had not begun yet, the server does not know it
		<-ended
	})
	return s
}

// module is the sink as a delivery target in maddy.conf.
func (s *sink) module() string { return fmt.Sprintf("smtp tcp://%s {\nstarttls no\n}", s.addr) }

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

// sinkSession is one connection to a sink. It takes everything.
type sinkSession struct {
	s     *sink
	rcpts int
}

func (*sinkSession) AuthMechanisms() []string             { return nil }
func (*sinkSession) Logout() error                        { return nil }
func (*sinkSession) Mail(string, *smtp.MailOptions) error { return nil }
func (x *sinkSession) Reset()                             { x.rcpts = 0 }
func (x *sinkSession) Rcpt(string, *smtp.RcptOptions) error {
	x.rcpts++
	return nil
}

func (x *sinkSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if !x.s.keep {
		text = nil
	}
	x.s.messages = append(x.s.messages, string(text))
	x.s.recipients += x.rcpts
	return nil
}
