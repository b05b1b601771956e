package replay

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"time"
)

// stampForms are the forms of a time at the start of a log line, up to the seconds.
var stampForms = []string{
	"2006-01-02T15:04:05", // RFC 3339: syslog, docker, Maddy
	time.Stamp,            // "Jan _2 15:04:05", RFC 3164, 4.1.2
	time.DateTime,         // Exim, journalctl -o short-full
	"Jan _2 2006 15:04:05",
	"02-Jan-2006 15:04:05",
	"2006/01/02 15:04:05",
}

// stamper reads the time at the start of log lines.
type stamper struct {
	zone *time.Location // of times written without a zone
	now  time.Time      // no line is from a later moment
	// The latest text read, as a time in zone and in UTC: many lines share a
	// second, and time.Parse would cost more than the rest of the line.
	text       string
	local, utc time.Time
}

// priority is that of a syslog message, with the version of RFC 5424, 6.2.
var priority = regexp.MustCompile(`^<\d{1,3}>(?:1 )?`)

// cut returns the time that line starts with and what follows it.
func (s *stamper) cut(line []byte) (at time.Time, rest []byte, ok bool) {
	if bytes.HasPrefix(line, []byte("<")) {
		line = line[len(priority.Find(line)):]
	}
	if len(line) > 6 && line[3] == ' ' && line[6] != ' ' { // the day of the week
		line = line[4:]
	}
	b, bracket := bytes.CutPrefix(line, []byte("["))
	for _, form := range stampForms {
		n := len(form)
		if len(b) < n || b[n-3] != ':' || b[n-9] != form[n-9] ||
			string(b[:n]) != s.text && !s.parse(form, string(b[:n])) {
			continue
		}
		frac, rest := cutFraction(b[n:])
		at = s.local.Add(frac)
		if east, after, zoned := cutZone(rest); zoned {
			at, rest = s.utc.Add(frac-east), after
		}
		rest, closed := bytes.CutPrefix(rest, []byte("]"))
		return at, skipSpace(rest), closed == bracket
	}
	if len(b) > 10 && b[10] == '.' && !bracket { // journalctl -o short-unix
		word, rest := cutWord(b)
		at, ok = unixTime(word)
		return at, rest, ok
	}
	return at, nil, false
}

// value reads a time that stands alone: a number since 1970 or a form of cut.
func (s *stamper) value(b []byte) (time.Time, bool) {
	if at, ok := unixTime(b); ok {
		return at, true
	}
	at, rest, ok := s.cut(b)
	return at, ok && len(rest) == 0
}

// parse reads a time without a zone. A date without a year gets the latest that is not in the
// future, with a day of grace for clocks and zones.
func (s *stamper) parse(form, text string) bool {
	local, err := time.ParseInLocation(form, text, s.zone)
	if err != nil {
		return false
	}
	utc, _ := time.Parse(form, text) // as valid
	if local.Year() == 0 {
		year, latest := s.now.In(s.zone).Year(), s.now.Add(24*time.Hour)
		for at := local.AddDate(year, 0, 0); at.After(latest) || at.Day() != local.Day(); {
			year-- // which may have no February 29
			at = local.AddDate(year, 0, 0)
		}
		local, utc = local.AddDate(year, 0, 0), utc.AddDate(year, 0, 0)
	}
	s.text, s.local, s.utc = text, local, utc
	return true
}

// cutZone reads "Z", " UTC ", "+01:00", "+0100" or " +0100".
func cutZone(b []byte) (east time.Duration, rest []byte, ok bool) {
	for _, utc := range []string{"Z", " UTC "} {
		if rest, ok = bytes.CutPrefix(b, []byte(utc)); ok {
			return 0, rest, true
		}
	}
	zone, form := skipSpace(b), "-0700"
	if len(zone) > 3 && zone[3] == ':' {
		form = "-07:00"
	}
	if len(zone) < len(form) || zone[0] != '+' && zone[0] != '-' {
		return 0, nil, false
	}
	t, err := time.Parse(form, string(zone[:len(form)]))
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second, zone[len(form):], err == nil
}

// cutFraction reads ".123456", a comma in place of the point allowed.
func cutFraction(b []byte) (time.Duration, []byte) {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || b[1]-'0' > 9 {
		return 0, b
	}
	i, unit, sum := 1, time.Second, time.Duration(0)
	for ; i < len(b) && b[i]-'0' < 10; i++ {
		unit /= 10
		sum += time.Duration(b[i]-'0') * unit
	}
	return sum, b[i:]
}

// unixTime reads seconds since 1970, a fraction behind them or not, or as many
// milliseconds, microseconds or nanoseconds.
func unixTime(b []byte) (time.Time, bool) {
	n, err := strconv.ParseFloat(string(b), 64)
	if err != nil || n < 0 || n >= 1e20 || n != n {
		return time.Time{}, false
	}
	for n >= 1e11 {
		n /= 1000
	}
	return time.UnixMicro(int64(math.Round(n * 1e6))), true
}
