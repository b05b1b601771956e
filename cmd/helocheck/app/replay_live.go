package app

import (
	"context"
	"sync"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/replay"
)

const (
	liveJudges = 64   // greetings looked up side by side
	liveQueue  = 1024 // greetings read ahead
)

// pending is a greeting on its way through the look-ups.
type pending struct {
	rec   replay.Record
	facts *checkhelo.Facts
	done  chan struct{}
}

// runLive looks up the facts of several greetings at once, and judges them in the order of the
// input, so that neither memory nor counts depend on which answer comes first.
func (r *replaying) runLive(ctx context.Context) (replay.Stats, error) {
	work := make(chan *pending)
	inOrder := make(chan *pending, liveQueue)
	var judges, counter sync.WaitGroup
	for range liveJudges {
		judges.Add(1)
		go func() {
			defer judges.Done()
			for p := range work {
				p.facts = r.judge.look(ctx, &p.rec)
				close(p.done)
			}
		}()
	}
	counter.Add(1)
	go func() {
		defer counter.Done()
		for p := range inOrder {
			<-p.done
			if ctx.Err() == nil { // look-ups that were cut off tell nothing
				m := r.judge.message(ctx, &p.rec, p.facts)
				r.each(&m)
			}
		}
	}()
	stats, err := replay.Read(ctx, r.paths, r.options, func(rec *replay.Record) error {
		p := &pending{rec: *rec, done: make(chan struct{})}
		select {
		case work <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		inOrder <- p
		return nil
	})
	close(work)
	close(inOrder)
	judges.Wait()
	counter.Wait()
	return stats, err
}
