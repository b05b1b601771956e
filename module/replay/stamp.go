package replay

import (
	"bytes"
	"strconv"
	"strings"
	"time"
)

// stamper reads the time at the start of log lines.
type stamper struct {
	zone *time.Location
	now  time.Time // no line is from a later moment
	// The hour as written and its start: many lines share it, and time.Date
	// would cost more than all the rest.
	hour              [13]byte
	hourTime, hourUTC time.Time
}

// setNow fixes the latest moment that a line of the coming input can be from.
func (s *stamper) setNow(given, file time.Time) {
	if s.now = given; s.now.IsZero() {
		s.now = file
	}
	s.hour = [13]byte{}
}

// cut returns the time that line starts with and what follows it. Known are the
// forms of syslog (RFC 3164, 4.1.2; RFC 5424, 6.2.3), journalctl, Maddy, Exim
// and docker.
func (s *stamper) cut(line []byte) (at time.Time, rest []byte, ok bool) {
	rest = cutPriority(line)
	if month, after, found := s.cutMonth(rest); found {
		return month, after, true
	}
	// "journalctl -o short-full" puts the day of the week before the date, and
	// some programs put the date into brackets.
	if len(rest) > 4 && rest[3] == ' ' && isLetter(rest[0]) && digits(rest[4:5]) {
		rest = rest[4:]
	}
	bracket := len(rest) > 0 && rest[0] == '['
	if bracket {
		rest = rest[1:]
	}
	if at, rest, ok = s.cutISO(rest); !ok && !bracket {
		at, rest, ok = cutUnix(cutPriority(line))
	}
	if bracket && ok {
		rest, ok = bytes.CutPrefix(rest, []byte("]"))
		rest = skipSpace(rest)
	}
	return at, rest, ok
}

// cutPriority cuts "<22>" and the version of RFC 5424, 6.2.
func cutPriority(b []byte) []byte {
	if len(b) == 0 || b[0] != '<' {
		return b
	}
	end := bytes.IndexByte(b[:min(len(b), 5)], '>')
	if end < 2 || !digits(b[1:end]) {
		return b
	}
	return bytes.TrimPrefix(b[end+1:], []byte("1 "))
}

// cutMonth reads "Nov 23 13:00:00", a fraction of a second after it or not.
func (s *stamper) cutMonth(b []byte) (time.Time, []byte, bool) {
	if len(b) < 16 || b[3] != ' ' || b[6] != ' ' {
		return time.Time{}, nil, false
	}
	offset, ok := cutMinutes(b[9:15])
	if !ok {
		return time.Time{}, nil, false
	}
	if string(b[:9]) != string(s.hour[:9]) || s.hour[9] != 0 {
		month := monthOf(b[:3])
		day := bytes.TrimPrefix(b[4:6], []byte(" "))
		if month == 0 || !digits(day) || !digits(b[7:9]) {
			return time.Time{}, nil, false
		}
		s.hour = [13]byte{}
		copy(s.hour[:], b[:9])
		s.hourTime = s.yearless(month, number(day), number(b[7:9]))
	}
	frac, rest := cutFraction(b[15:])
	return s.hourTime.Add(offset + frac), skipSpace(rest), true
}

// yearless completes a date with the latest year that is not in the future. A
// day of grace allows for clocks and zones.
func (s *stamper) yearless(month time.Month, day, hour int) time.Time {
	year := s.now.In(s.zone).Year()
	t := time.Date(year, month, day, hour, 0, 0, 0, s.zone)
	if t.After(s.now.Add(24 * time.Hour)) {
		t = time.Date(year-1, month, day, hour, 0, 0, 0, s.zone)
	}
	return t
}

// cutISO reads "2026-11-23T13:00:00" or with a space, with or without a
// fraction and a zone.
func (s *stamper) cutISO(b []byte) (time.Time, []byte, bool) {
	if len(b) < 19 || b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != ' ') {
		return time.Time{}, nil, false
	}
	offset, ok := cutMinutes(b[13:19])
	if !ok {
		return time.Time{}, nil, false
	}
	if string(b[:13]) != string(s.hour[:]) {
		if !digits(b[:4]) || !digits(b[5:7]) || !digits(b[8:10]) || !digits(b[11:13]) {
			return time.Time{}, nil, false
		}
		copy(s.hour[:], b)
		s.hourTime = isoHour(b, s.zone)
		s.hourUTC = isoHour(b, time.UTC)
	}
	frac, rest := cutFraction(b[19:])
	offset += frac
	if east, after, ok := cutZone(rest); ok {
		return s.hourUTC.Add(offset - east), skipSpace(after), true
	}
	return s.hourTime.Add(offset), skipSpace(rest), true
}

func isoHour(b []byte, zone *time.Location) time.Time {
	return time.Date(number(b[:4]), time.Month(number(b[5:7])), number(b[8:10]),
		number(b[11:13]), 0, 0, 0, zone)
}

// cutZone reads "Z", " UTC", "+01:00", "+0100" or " +0100".
func cutZone(b []byte) (east time.Duration, rest []byte, ok bool) {
	if len(b) > 0 && b[0] == 'Z' {
		return 0, b[1:], true
	}
	b = skipSpace(b)
	if after, found := bytes.CutPrefix(b, []byte("UTC ")); found {
		return 0, after, true
	}
	if len(b) < 5 || b[0] != '+' && b[0] != '-' || !digits(b[1:3]) {
		return 0, nil, false
	}
	minutes := b[3:5]
	rest = b[5:]
	if b[3] == ':' && len(b) > 5 {
		minutes, rest = b[4:6], b[6:]
	}
	if !digits(minutes) {
		return 0, nil, false
	}
	east = time.Duration(number(b[1:3])*60+number(minutes)) * time.Minute
	if b[0] == '-' {
		east = -east
	}
	return east, rest, true
}

// cutUnix reads the seconds since 1970 that "journalctl -o short-unix" writes.
func cutUnix(b []byte) (time.Time, []byte, bool) {
	const width = 10 // digits, until the year 2286
	if len(b) < width+2 || !digits(b[:width]) || b[width] != '.' {
		return time.Time{}, nil, false
	}
	sec, err := strconv.ParseInt(string(b[:width]), 10, 64)
	frac, rest := cutFraction(b[width:])
	return time.Unix(sec, int64(frac)), skipSpace(rest), err == nil
}

// cutMinutes reads ":05:30".
func cutMinutes(b []byte) (time.Duration, bool) {
	if b[0] != ':' || b[3] != ':' || !digits(b[1:3]) || !digits(b[4:6]) {
		return 0, false
	}
	return time.Duration(number(b[1:3])*60+number(b[4:6])) * time.Second, true
}

// cutFraction reads ".123456", a comma in place of the point allowed.
func cutFraction(b []byte) (time.Duration, []byte) {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || !digits(b[1:2]) {
		return 0, b
	}
	i, unit, sum := 1, time.Second, time.Duration(0)
	for ; i < len(b) && digits(b[i:i+1]); i++ {
		unit /= 10
		sum += time.Duration(b[i]-'0') * unit
	}
	return sum, b[i:]
}

// number reads digits that the caller has looked at.
func number(b []byte) int {
	n := 0
	for _, c := range b {
		n = n*10 + int(c-'0')
	}
	return n
}

func monthOf(b []byte) time.Month {
	const names = "JanFebMarAprMayJunJulAugSepOctNovDec"
	if i := strings.Index(names, string(b)); i >= 0 && i%3 == 0 {
		return time.Month(i/3 + 1)
	}
	return 0
}

func isLetter(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z'
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}
