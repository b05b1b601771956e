package app

import (
	"context"
	"sync"

	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/replay"
)

const (
	liveJudges = 64   // greetings looked up side by side
	liveQueue  = 1024 // greetings read ahead
)

// pending is a greeting on its way through the look-ups.
type pending struct {
	rec     replay.Record
	message report.Message
	done    chan struct{}
}

// runLive judges with look-ups, several at once, and counts in the order of
// the input, so that the counts never depend on who answers first.
func (r *replaying) runLive(ctx context.Context) (replay.Stats, error) {
	work := make(chan *pending)
	inOrder := make(chan *pending, liveQueue)
	var judges, counter sync.WaitGroup
	for range liveJudges {
		judges.Add(1)
		go func() {
			defer judges.Done()
			for p := range work {
				p.message = r.judge.message(ctx, &p.rec)
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
				r.tally.Add(&p.message)
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
