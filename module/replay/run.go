package replay

import (
	"bufio"
	"cmp"
	"context"
	"hash/maphash"
	"io"
	"net/netip"
	"os"
	"strings"
	"time"
)

// run is the state of one Read.
type run struct {
	ctx     context.Context
	opt     Options
	fn      func(*Record) error
	st      Stats
	err     error // ends the run: fn's or ctx's
	rec     Record
	raw     *bufio.Reader // the current input as stored
	flat    *bufio.Reader // unpacked
	br      *bufio.Reader // the one of them that is read
	stamp   stamper
	line    entry           // the current line of a log
	seen    map[string]bool // whose lines the current log holds
	named   bool            // a client is named by its PTR record
	pending pending
	unnamed []Record          // wait for the first client with a name
	several bool              // more than one input
	events  map[uint64]int64  // the first input with each event, see repeated
	name    string            // of the current input
	notes   map[string]Record // the latest note of a PTR name, by process of Postfix
	members members           // of the current line
}

func newRun(ctx context.Context, opt Options, fn func(*Record) error) *run {
	r := &run{ctx: ctx, opt: opt, fn: fn}
	r.opt.Stdin = cmp.Or[io.Reader](opt.Stdin, os.Stdin)
	r.st.Skipped = make(map[string]int64)
	r.stamp.zone = cmp.Or(opt.Zone, time.Local)
	r.raw, r.flat = bufio.NewReaderSize(nil, maxLine), bufio.NewReaderSize(nil, maxLine)
	r.notes, r.events = make(map[string]Record), make(map[uint64]int64)
	r.pending.index = make(map[uint64]*held)
	return r
}

// emit hands out a record of a log. A server that never looks up names writes the
// same as for a client without one, so that records wait for the first name.
func (r *run) emit(rec *Record) {
	if rec.Helo == "" {
		r.st.Skipped[SkippedEmpty]++
		return
	}
	if r.several && r.repeated(rec) {
		r.st.Skipped[SkippedDuplicate]++
		return
	}
	if rec.PTRState == None && !r.named || len(r.unnamed) > 0 {
		if r.unnamed = append(r.unnamed, *rec); len(r.unnamed) < maxUnnamed && !r.named {
			return
		}
		r.decideNames()
		return
	}
	r.hand(rec)
}

// repeated reports an event that an input before holds, such as Exim's mainlog and rejectlog: with
// the same time, client and all else that the record says.
func (r *run) repeated(rec *Record) bool {
	if rec.Time.IsZero() {
		return false
	}
	key := maphash.Comparable(seed, struct {
		at     int64
		client netip.Addr
		texts  [7]string
	}{rec.Time.UnixNano(), rec.Client, [...]string{
		rec.Server, rec.Helo, rec.From, rec.MsgID, rec.Outcome, rec.Reason,
		strings.Join(rec.Rcpts, "\x00"),
	}})
	first, known := r.events[key]
	switch {
	case known:
		return first != r.st.Inputs
	case len(r.events) == maxEvents:
		r.st.Unsure++
	default:
		r.events[key] = r.st.Inputs
	}
	return false
}

// decideNames hands out the records that wait for a client with a name. Without
// one it is not known whether anybody looked.
func (r *run) decideNames() {
	n := len(r.st.NoNames)
	if len(r.unnamed) > 0 && !r.named && n < maxErrs && (n == 0 || r.st.NoNames[n-1] != r.name) {
		r.st.NoNames = append(r.st.NoNames, r.name)
	}
	for i := range r.unnamed {
		rec := &r.unnamed[i]
		if rec.PTRState == None && !r.named {
			rec.PTRState = NotRecorded
		}
		r.hand(rec)
	}
	clear(r.unnamed)
	r.unnamed = r.unnamed[:0]
}

// hand hands out one record unless its time is out of bounds.
func (r *run) hand(rec *Record) {
	if r.err != nil {
		return
	}
	since, until := r.opt.Since, r.opt.Until
	if at := rec.Time; !at.IsZero() && (at.Before(since) || !until.IsZero() && !at.Before(until)) {
		r.st.Skipped[SkippedTime]++
		return
	}
	rec.Class = cmp.Or(rec.Class, r.opt.Class)
	rec.Count = max(rec.Count, 1)
	rec.Client = rec.Client.Unmap()
	r.st.Records++
	r.err = r.fn(rec)
}
