//go:build race

package dnsfacts

import "time"

// The race detector makes everything slower and larger.
const (
	raced = true
	slack = 60 * time.Millisecond
)
