package dnsfacts

import (
	"context"
	"sync"
	"time"
)

// flight is one look-up under way, shared by all who wait for it.
type flight struct {
	done    chan struct{} // closed once rec is set
	rec     record
	waiting int // guarded by flights.mu
	begun   time.Time
	cancel  context.CancelFunc
}

// flights are the look-ups under way. A look-up whose last waiter leaves is
// cancelled, which golang.org/x/sync/singleflight cannot do: clients that
// greet and hang up would leave theirs behind.
type flights struct {
	mu sync.Mutex
	m  map[key]*flight
}

// share returns the answer to k: from the look-up under way or from ask, run
// with a time-out of its own in a goroutine of its own. A cancelled ctx ends
// the wait of this caller only.
func (s *flights) share(
	ctx context.Context, k key, timeout time.Duration, ask func(context.Context, key) record,
) record {
	if err := ctx.Err(); err != nil {
		return record{err: wrap(err, k.question(), k.qtype), fleeting: true}
	}
	f := s.join(k, timeout, ask)
	select {
	case <-f.done:
		s.leave(k, f)
		return f.rec
	case <-ctx.Done():
		s.leave(k, f)
		return record{err: wrap(ctx.Err(), k.question(), k.qtype), fleeting: true}
	}
}

func (s *flights) join(
	k key, timeout time.Duration, ask func(context.Context, key) record,
) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.m[k]; f != nil {
		f.waiting++
		return f
	}
	f := &flight{done: make(chan struct{}), waiting: 1, begun: time.Now()}
	var ctx context.Context
	ctx, f.cancel = context.WithTimeout(context.Background(), timeout)
	if s.m == nil {
		s.m = make(map[key]*flight)
	}
	s.m[k] = f
	go func() {
		defer s.land(k, f)
		f.rec = ask(ctx, k)
	}()
	return f
}

// leave gives up one wait for f.
func (s *flights) leave(k key, f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.cancel()
		if s.m[k] == f {
			delete(s.m, k)
		}
	}
}

// land ends f, also after a panic in what it asked.
func (s *flights) land(k key, f *flight) {
	if v := recover(); v != nil {
		f.rec = record{err: panicked(v, k)}
	}
	s.mu.Lock()
	if s.m[k] == f {
		delete(s.m, k)
	}
	s.mu.Unlock()
	f.cancel()
	close(f.done)
}
