package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// progressEvery is the pause between two signs of life.
const progressEvery = 5 * time.Second

// progress tells what the build does and for how long. All downloads share one line, however many
// there are.
type progress struct {
	mu        sync.Mutex
	out       io.Writer
	since     time.Time
	step      string // the work at hand; "" before the first step
	downloads int    // modules so far
	told      int    // downloads of the last line about them

	done  chan struct{} // closed by end
	ended chan struct{} // closed when nothing more will be printed
}

func newProgress(out io.Writer, ticks <-chan time.Time) *progress {
	p := &progress{
		out: out, since: time.Now(), done: make(chan struct{}), ended: make(chan struct{}),
	}
	go func() {
		defer close(p.ended)
		for {
			select {
			case <-p.done:
				return
			case <-ticks:
				p.tick()
			}
		}
	}()
	return p
}

// tick says what goes on: the modules that came since the last line, else the step.
func (p *progress) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.downloads > p.told:
		p.told = p.downloads
		p.print(fmt.Sprintf("downloading modules, %d so far", p.downloads))
	case p.step == "":
		p.print("waiting for another build")
	default:
		p.print("still " + p.step)
	}
}

// say begins a step, or counts a download.
func (p *progress) say(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.HasPrefix(what, "go: downloading ") {
		if p.downloads++; p.downloads == 1 {
			p.told = 1
			p.print("downloading modules")
		}
		return
	}
	p.step = what
	p.print(what)
}

func (p *progress) print(what string) {
	fmt.Fprintf(p.out, "[%4.0f s] %s\n", time.Since(p.since).Seconds(), what)
}

func (p *progress) end() {
	close(p.done)
	<-p.ended
}
