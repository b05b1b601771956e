package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progressEvery is the pause between two signs of life.
const progressEvery = 5 * time.Second

// progress tells how long the build has been at work.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	since time.Time
	last  string // what is being done; "" before the first step

	done  chan struct{} // closed by end
	ended chan struct{} // closed when nothing more will be printed
}

func newProgress(out io.Writer, every time.Duration) *progress {
	p := &progress{
		out: out, since: time.Now(), done: make(chan struct{}), ended: make(chan struct{}),
	}
	go p.tick(every)
	return p
}

func (p *progress) tick(every time.Duration) {
	defer close(p.ended)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return
		case <-ticker.C:
			p.mu.Lock()
			p.print(p.last)
			p.mu.Unlock()
		}
	}
}

// step begins a new line of work.
func (p *progress) step(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = what
	p.print(what)
}

func (p *progress) print(what string) {
	if what == "" {
		what = "waiting for another build"
	}
	fmt.Fprintf(p.out, "[%4.0f s] %s\n", time.Since(p.since).Seconds(), what)
}

func (p *progress) end() {
	close(p.done)
	<-p.ended
}
