//go:build !unix

package memory

// mayWrite allows everything where files have no Unix owner.
func mayWrite(string) error { return nil }
