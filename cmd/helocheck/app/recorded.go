package app

import (
	"context"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

// Recorded judges greetings of the past as "replay --dns recorded" does: the
// input's PTR is all that it knows of the DNS, and it remembers nothing. One goroutine may use it.
type Recorded struct{ judge *recordJudge }

// NewRecorded judges by a preset, or by the maddy.conf at that path.
func NewRecorded(policy string) (*Recorded, error) {
	check, err := maddyconf.FromPolicy(policy)
	if err != nil {
		conf, fault := maddyconf.Load(policy, "")
		if fault != nil {
			return nil, fault
		}
		check = conf.Check
	}
	j, err := newJudge(check, "recorded")
	if err != nil {
		return nil, err
	}
	j.memory = nil
	return &Recorded{j}, nil
}

// Policy is what judges. The Rules of a report.Message are bits by the index in its Rules.
func (r *Recorded) Policy() *checkhelo.Policy { return r.judge.Policy }

// Read passes on each greeting of a file with its verdict. It leaves out what
// it cannot read as a greeting, and returns the error of the file.
func (r *Recorded) Read(
	ctx context.Context, path string, each func(*replay.Record, *report.Message),
) error {
	_, err := replay.Read(ctx, []string{path}, replay.Options{}, func(rec *replay.Record) error {
		m := r.judge.message(ctx, rec, nil)
		each(rec, &m)
		return nil
	})
	return err
}
