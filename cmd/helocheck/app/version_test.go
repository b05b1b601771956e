package app

import (
	"bytes"
	"regexp"
	"testing"
)

func TestVersion(t *testing.T) {
	var out, problem bytes.Buffer
	status := Main([]string{"helocheck", "version"}, &out, &problem)
	form := regexp.MustCompile(`^check\.helo_fqdn \S+, for Maddy v0\.9\.5\ngo1\.[0-9.]+\S*, top-level domains of \d{4}-\d\d-\d\d\n$`)
	if status != 0 || !form.MatchString(out.String()) {
		t.Errorf("status %d, %q, %q", status, out.String(), problem.String())
	}
	if status := Main([]string{"helocheck", "version", "x"}, &out, &problem); status != exitUsage {
		t.Errorf("an argument has status %d", status)
	}
}
