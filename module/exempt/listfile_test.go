package exempt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListFileThatLostItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "networks")
	for _, step := range []struct{ text, err string }{
		{"", ""},
		{"10.0.0.0/8\n127.0.2.16", ""}, // never had one
		{"10.0.0.0/8\n127.0.2.16\n", ""},
		{"10.0.0.0/8\n127.0.2.1", path + ":2: "},
		{"", path + ":1: "},
		{"10.0.0.0/8\n", ""},
	} {
		if err := os.WriteFile(path, []byte(step.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := addFile(path, func(string) error { return nil })
		switch {
		case step.err == "" && err != nil:
			t.Errorf("%q: %v", step.text, err)
		case step.err != "" && (err == nil || !strings.HasPrefix(err.Error(), step.err)):
			t.Errorf("%q: error %v, want %s", step.text, err, step.err)
		}
	}
}
