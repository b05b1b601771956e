package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"maddy.example/checkhelo/cmd/lab/bench/probe"
)

const profileSeconds = 20

// takeProfile loads a Maddy under policy strict and writes what its processor time goes into.
func (l *lab) takeProfile(ctx context.Context, path string) error {
	address, err := freePort(clientIP)
	if err != nil {
		return err
	}
	p, err := l.startMaddy(ctx, "maddy-profile", maddyStrict, probe.Variable+"="+address)
	if err != nil {
		return err
	}
	load := l.warmLoad
	if l.cold {
		load = l.coldLoad
	}
	if err := load(ctx, p.address, l.coldMessages()); err != nil {
		return err
	}
	l.say("profiling for %d s", profileSeconds)
	ended := make(chan error, 1)
	go func() { ended <- fetchProfile(ctx, address, path) }()
	for sent := 0; ; sent += l.coldMessages() {
		select {
		case err := <-ended:
			l.say("%d messages; read it with: go tool pprof -top -cum %s", sent, path)
			return err
		default:
			if err := load(ctx, p.address, l.coldMessages()); err != nil {
				return err
			}
		}
	}
}

func fetchProfile(ctx context.Context, address, path string) error {
	ctx, cancel := context.WithTimeout(ctx, (profileSeconds+30)*time.Second)
	defer cancel()
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", address, profileSeconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("bench: profile: %w", err)
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("bench: profile: %s", response.Status)
	}
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	_, err = io.Copy(file, response.Body)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("bench: profile: %w", err)
	}
	return nil
}
