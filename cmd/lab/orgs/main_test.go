package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Two names of one organisation count once, a name without one for itself.
func TestOrganisations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.csv")
	mail := `helo,ip,rdns,ptr_confirmed,rcpt,self,class,count
mail.example.org,192.0.2.1,mail.example.org,yes,u@example.net,mx.example.net,ham,5
mx2.example.org,192.0.2.2,mx2.example.org,yes,u@example.net,mx.example.net,ham,1
localhost,192.0.2.3,host.example.com,yes,u@example.net,mx.example.net,ham,2
mx.example.net,198.51.100.1,,no,u@example.net,mx.example.net,spam,3
`
	if err := os.WriteFile(path, []byte(mail), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, bad bytes.Buffer
	if status := run(t.Context(), []string{"-lost", path}, &out, &bad); status != 0 {
		t.Fatalf("status %d: %s", status, &bad)
	}
	for _, want := range []string{
		"| lenient | ham | 2 | 1, 50.00 % | 8 | 0 | 2 | 2, 25.000 % | 90.547 % |",
		"| rfc | ham | 2 | 1, 50.00 % | 8 | 2 | 0 | 2, 25.000 % |",
		"| rfc | spam | 1 | 1, 100.00 % | 3 | 3 | 0 | 3, 100.000 % |",
		"rfc: 2 localhost localhost reject",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q in\n%s", want, &out)
		}
	}
}

func TestUpper(t *testing.T) {
	for _, tt := range []struct {
		n, total int
		want     float64
	}{{0, 300, 0.01}, {0, 1, 1}, {0, 0, 1}, {8, 1000, 0.0157}, {50, 100, 0.5962}} {
		if got := upper(tt.n, tt.total); math.Abs(got-tt.want) > 0.0001 {
			t.Errorf("%d of %d: %f, want %f", tt.n, tt.total, got, tt.want)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"-x"}} {
		if status := run(t.Context(), args, &bytes.Buffer{}, &bytes.Buffer{}); status != 2 {
			t.Errorf("%v: status %d", args, status)
		}
	}
	missing := []string{filepath.Join(t.TempDir(), "none.csv")}
	if status := run(t.Context(), missing, &bytes.Buffer{}, &bytes.Buffer{}); status != 1 {
		t.Errorf("a missing file: status %d", status)
	}
}
