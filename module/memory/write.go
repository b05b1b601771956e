package memory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"
)

var errJumped = errors.New("memory: the clock is more than two days ahead of the newest entry;" +
	" nothing expires until entries have been written for an hour")

// run writes a batch a second until the last Close.
func (s *shared) run() {
	defer close(s.done)
	ticker := time.NewTicker(s.opts.Every)
	defer ticker.Stop()
	s.tick(writeTime)
	close(s.ready)
	for {
		select {
		case <-ticker.C:
			s.tick(writeTime)
		case <-s.stop:
			s.tick(closeTime)
			s.shut()
			return
		}
	}
}

func (s *shared) tick(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := s.Flush(ctx)
	if err == nil {
		err = s.expire(ctx)
	}
	if err != nil {
		s.say(err)
	}
}

// say reports an error, at most once a minute.
func (s *shared) say(err error) {
	now := s.now()
	s.saying.Lock()
	again := s.reported != 0 && now >= s.reported && now-s.reported < reportEvery
	if !again {
		s.reported = now
	}
	s.saying.Unlock()
	if again {
		return
	}
	registry.Lock()
	var report func(error)
	for _, d := range s.handles { // the newest instance of a reload
		if d.report != nil {
			report = d.report
		}
	}
	registry.Unlock()
	if report != nil {
		report(s.clean(err))
	}
}

func (s *shared) shut() {
	if db := s.db.Swap(nil); db != nil {
		_ = db.Close() // all is written, or nothing can be
	}
}

// Flush writes what is queued, now. Tools call it; in a server, a batch a second goes by itself.
func (s *shared) Flush(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	db, err := s.connect(ctx)
	if err != nil {
		s.away.Store(true)
		return s.clean(err)
	}
	s.mu.Lock()
	batch := s.queue
	if batch.size != 0 {
		s.flying, s.queue = batch, newRows()
	}
	now := s.era.sure
	s.mu.Unlock()

	m, err := readMeta(ctx, db)
	var added counts
	var over uint64
	if err == nil && batch.size != 0 {
		added, over, err = s.write(ctx, db, batch, m.counts, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unwritten = err != nil
	if err != nil {
		if s.flying != nil {
			s.count.Dropped += batch.add(s.queue, limits{queueRows, queueNames, MaxWaiting})
			s.queue, s.flying = batch, nil
		}
		return s.clean(err)
	}
	if s.flying != nil {
		s.count.Written += uint64(batch.size) //nolint:gosec // a size is not negative
		s.count.OverShare += over
		s.flying = nil
	}
	s.count.Known = m.known + added.known
	s.count.Neighbours = m.neighbours + added.neighbours
	s.count.Waiting = m.waiting + added.waiting
	return nil
}

// connect returns the open database, or opens it: for the first time, after a failure, or when
// another file has taken its place.
func (s *shared) connect(ctx context.Context) (*sql.DB, error) {
	if db := s.db.Load(); db != nil {
		var version int
		gone := s.replaced(s.file)
		if !gone && !s.away.Load() {
			return db, nil
		}
		if !gone && db.QueryRowContext(ctx, readVersion).Scan(&version) == nil {
			s.back()
			return db, nil
		}
		s.shut()
		if gone { // what was kept there is forgotten
			s.mu.Lock()
			s.senders = newRecent[greeting, senderEntry](cacheEntries)
			s.networks = newRecent[netip.Prefix, networkEntry](cacheEntries)
			s.mu.Unlock()
		}
	}
	if !s.readOnly {
		file, err := s.prepare()
		if err != nil {
			return nil, err
		}
		s.file = file
	}
	db, err := s.open(s.readOnly, s.lockTime)
	if err != nil {
		return nil, err
	}
	m, err := meta{}, upgrade(ctx, db, s.readOnly)
	if err == nil {
		m, err = readMeta(ctx, db)
	}
	if err != nil {
		_ = db.Close() // the first error tells
		return nil, err
	}
	s.mu.Lock()
	if s.era.sure == 0 {
		s.era.sure = m.newest
	}
	s.mu.Unlock()
	s.key.Store(&m.key)
	s.db.Store(db)
	s.back()
	return db, nil
}

func (s *shared) back() {
	s.failed.Store(0)
	s.away.Store(false)
}

// pair is one row for an INSERT and, where the row exists, for an UPDATE.
type pair struct{ insert, update []any }

// write writes a batch in one transaction, sorted, so that two servers never wait for each other.
func (s *shared) write(
	ctx context.Context, db *sql.DB, r *rows, have counts, now int64,
) (added counts, over uint64, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return added, 0, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing

	known, orgs, waits := s.pairs(r, have)
	var missed int64
	added.known, missed, err = put(ctx, tx, insertKnown, updateKnown, known)
	if err == nil {
		added.neighbours, _, err = put(ctx, tx, insertNeighbour, updateNeighbour, orgs)
	}
	if err == nil {
		added.waiting, _, err = put(ctx, tx, insertWaiting, updateWaiting, waits)
	}
	if err == nil && now != 0 {
		_, err = tx.ExecContext(ctx, setMeta, now, "newest")
	}
	if err == nil {
		err = addCounts(ctx, tx, added)
	}
	if err != nil {
		return counts{}, 0, err
	}
	return added, uint64(missed), tx.Commit() //nolint:gosec // a number of rows
}

// pairs returns the rows of a batch in the order of their keys.
func (s *shared) pairs(r *rows, have counts) (known, orgs, waits []pair) {
	names, neighbours := MaxNames, MaxNeighbours
	if have.known >= s.opts.MaxRows {
		names = 0
	}
	if have.neighbours >= s.opts.MaxRows {
		neighbours = 0
	}
	for k, v := range r.known {
		network, accepted, share := k.network.String(), 0, names
		if v.accepted {
			accepted, share = 1, 2*names
		}
		known = append(known, pair{
			[]any{network, k.name, v.first, v.last, v.days, accepted, share},
			[]any{v.last, v.first, v.days, accepted, network, k.name},
		})
	}
	for k, list := range r.orgs {
		network := k.String()
		for _, o := range list {
			orgs = append(orgs, pair{
				[]any{network, o.org, o.last, neighbours}, []any{o.last, network, o.org},
			})
		}
	}
	for scope, hashes := range r.waits {
		for hash, first := range hashes {
			waits = append(waits, pair{[]any{scope, hash, first}, []any{first, scope, hash}})
		}
	}
	for _, list := range [][]pair{known, orgs, waits} {
		slices.SortFunc(list, func(a, b pair) int {
			return cmp.Or(strings.Compare(a.insert[0].(string), b.insert[0].(string)),
				strings.Compare(a.insert[1].(string), b.insert[1].(string)))
		})
	}
	return known, orgs, waits
}

// put inserts or updates rows and returns how many are new and how many were not taken.
func put(
	ctx context.Context, tx *sql.Tx, insert, update string, list []pair,
) (added, missed int64, err error) {
	if len(list) == 0 {
		return 0, 0, nil
	}
	ins, err := tx.PrepareContext(ctx, insert)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = ins.Close() }() // the transaction ends with it
	upd, err := tx.PrepareContext(ctx, update)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = upd.Close() }() // the transaction ends with it
	for _, p := range list {
		n, err := affected(ins.ExecContext(ctx, p.insert...))
		if err != nil {
			return 0, 0, err
		}
		added += n
		if n == 0 {
			if n, err = affected(upd.ExecContext(ctx, p.update...)); err != nil {
				return 0, 0, err
			}
			missed += 1 - n
		}
	}
	return added, missed, nil
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func addCounts(ctx context.Context, tx *sql.Tx, n counts) error {
	for _, c := range []struct {
		name string
		n    int64
	}{{"known", n.known}, {"neighbours", n.neighbours}, {"waiting", n.waiting}} {
		if c.n == 0 {
			continue
		}
		if _, err := tx.ExecContext(ctx, addTo, c.n, c.name); err != nil {
			return err
		}
	}
	return nil
}

// expire deletes a portion of the old rows. While there are more, the next tick goes on;
// otherwise it looks again after a minute.
func (s *shared) expire(ctx context.Context) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	now, db := s.now(), s.db.Load()
	if db == nil || now < s.expires && s.expires-now <= 60 {
		return nil
	}
	s.mu.Lock()
	at, full := s.era.at(now), s.count.Known >= s.opts.MaxRows
	s.mu.Unlock()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return s.clean(err)
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	today, more := dayOf(at), false
	remove := func(statement string, args ...any) (n int64) {
		if err == nil {
			n, err = affected(tx.ExecContext(ctx, statement, args...))
			more = more || n == portion
		}
		return n
	}
	var n counts
	n.known = -remove(expireKnown, 0, today-KnownDays) - remove(expireKnown, 1, today-KnownDays)
	if full {
		n.known -= remove(expireStrangers, today)
	}
	n.neighbours = -remove(expireNeighbours, today-NeighbourDays)
	n.waiting = -remove(expireWaiting, at-windowSeconds)
	if err == nil {
		err = addCounts(ctx, tx, n)
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return s.clean(err)
	}
	if s.expires = now + 60; more {
		s.expires = 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Expired += uint64(-n.known - n.neighbours - n.waiting) //nolint:gosec // rows that went
	s.count.Known += n.known
	s.count.Neighbours += n.neighbours
	s.count.Waiting += n.waiting
	return nil
}
