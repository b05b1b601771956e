package exempt

import (
	"strings"
	"time"
)

const untilWord = "until="

// InForce returns the value of a table entry without its leading until=YYYY-MM-DD, and whether the
// entry still counts at now: it does on that day (UTC) and before. A date that cannot be read
// counts as past, so that a mistake exempts nobody for ever.
func InForce(value string, now time.Time) (rest string, ok bool) {
	text := strings.TrimSpace(value)
	if !strings.HasPrefix(text, untilWord) {
		return value, true
	}
	day, rest, _ := strings.Cut(text[len(untilWord):], " ")
	last, err := time.Parse(time.DateOnly, day)
	return strings.TrimSpace(rest), err == nil && now.Before(last.AddDate(0, 0, 1))
}
