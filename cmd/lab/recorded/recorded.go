// Package recorded judges files of greetings as "helocheck replay --memory off" does: the input's
// PTR is all that it knows of the DNS, and it remembers nothing.
package recorded

import (
	"context"

	"maddy.example/checkhelo/cmd/helocheck/app"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

// Judge judges by one policy. One goroutine may use it.
type Judge struct{ *app.Recorded }

// New judges by a preset, or by the maddy.conf at that path.
func New(policy string) (*Judge, error) {
	check, err := maddyconf.FromPolicy(policy)
	if err != nil {
		conf, fault := maddyconf.Load(policy, "")
		if fault != nil {
			return nil, fault
		}
		check = conf.Check
	}
	j, err := app.NewRecorded(check, "recorded", false)
	return &Judge{j}, err
}

// Read passes on each greeting of a file with its verdict. It leaves out what
// it cannot read as a greeting, and returns the error of the file.
func (j *Judge) Read(
	ctx context.Context, path string, each func(*replay.Record, *report.Message),
) error {
	_, err := replay.Read(ctx, []string{path}, replay.Options{}, func(rec *replay.Record) error {
		m := j.Message(ctx, rec, nil)
		each(rec, &m)
		return nil
	})
	return err
}
