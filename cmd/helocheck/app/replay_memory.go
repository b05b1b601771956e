package app

import (
	"context"
	"fmt"
	"slices"
	"time"

	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"
)

const (
	simulatedRows    = 50_000 // of all servers
	simulatedServers = 1000   // further ones are judged without memory
)

// simulation is the memory that each server of the input would have had, at the time of the record
// at hand. Records must come in the order of their times.
type simulation struct {
	settings memory.Memory
	store    *memory.Map               // all servers', to learn from the input; nil: a simulation
	servers  map[string]*memory.Memory // by Record.Server
	now      time.Time
	rows     int // of all servers
	waiting  []retry
	untimed  int64 // messages judged without memory: no time, or too many servers
}

// retry is a message that waits: its client tries again after the delay.
type retry struct {
	rec *replay.Record
	at  time.Time
}

// newSimulation returns nil for a check that has no memory.
func newSimulation(check *module.Check) *simulation {
	kind, _, settings := check.Memory()
	if kind == "" {
		return nil
	}
	s := &simulation{settings: settings, servers: make(map[string]*memory.Memory)}
	if s.settings.Delay == 0 {
		s.settings.Delay = memory.DefaultDelay
	}
	s.settings.Clock = func() time.Time { return s.now }
	return s
}

// with runs do with the memory of a record's server at that time; nil: none.
func (s *simulation) with(rec *replay.Record, at time.Time, do func(*memory.Memory)) {
	if s == nil || s.store != nil && rec.Class == "spam" {
		do(nil)
		return
	}
	m := s.servers[rec.Server]
	if m == nil && len(s.servers) < simulatedServers && !at.IsZero() {
		one := s.settings
		one.Store = s.store
		if s.store == nil {
			one.Store = memory.NewMap(0)
		}
		m = &one
		s.servers[rec.Server] = m
	}
	if m == nil || at.IsZero() {
		s.untimed += int64(rec.Count)
		do(nil)
		return
	}
	s.now = at
	if s.store != nil {
		do(m)
		return
	}
	store := m.Store.(*memory.Map)
	before := store.Len()
	store.Resize(simulatedRows - s.rows + before)
	do(m)
	s.rows += store.Len() - before
}

// dropped returns how many writes found no room.
func (s *simulation) dropped() (n uint64) {
	for _, m := range s.servers {
		n += m.Store.(*memory.Map).Dropped()
	}
	return n
}

// notes tell what the memory could not know.
func (s *simulation) notes() (notes []string) {
	switch {
	case s == nil:
		return []string{"memory is off"}
	case s.untimed > 0 && len(s.servers) == 0:
		return []string{"memory is off: the input has no times"}
	}
	notes = append(notes, fmt.Sprintf("memory is simulated for %d servers", len(s.servers)))
	if s.untimed > 0 {
		notes = append(notes, fmt.Sprintf("%d messages without a time were judged without memory",
			s.untimed))
	}
	if n := s.dropped(); n > 0 {
		notes = append(notes, fullMemory(n))
	}
	return notes
}

func fullMemory(n uint64) string {
	return fmt.Sprintf("memory was full %d times: known senders may count as strangers", n)
}

// wait notes a message that was told to wait. Its client tries again after the delay, and is known
// from then on. That is not learnt.
func (s *simulation) wait(rec *replay.Record) {
	if s.store != nil {
		return
	}
	again := *rec
	again.Rcpts = slices.Clone(rec.Rcpts)
	s.waiting = append(s.waiting, retry{&again, s.now.Add(s.settings.Delay)})
}

// retries judges the messages whose wait is over.
func (j *recordJudge) retries(ctx context.Context, now time.Time) {
	for s := j.memory; s != nil && len(s.waiting) > 0 && !s.waiting[0].at.After(now); {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		f := j.facts(next.rec)
		s.with(next.rec, next.at, func(m *memory.Memory) { _, _, _ = j.session(ctx, next.rec, f, m) })
	}
}
