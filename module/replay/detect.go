package replay

import (
	"bytes"
	"slices"
)

// headSize is how much of an input decides about its format, in bytes.
const headSize = 4 << 10

type format uint8

const (
	formatUnknown format = iota
	formatLog
	formatMbox
	formatMail
	formatCSV
)

// String returns the name that Stats.Formats uses. Logs are named by the
// server that wrote them.
func (f format) String() string {
	switch f {
	case formatMbox:
		return "mbox"
	case formatMail:
		return "mail"
	case formatCSV:
		return "csv"
	case formatLog:
		return "log"
	default:
		return "unknown"
	}
}

// detect tells the format by the first bytes of the text. What is neither mail
// nor CSV is taken for a log, since nobody knows what else is in syslog.
func detect(head []byte) format {
	head = bytes.TrimPrefix(head, byteOrderMark)
	first, _, _ := bytes.Cut(head, []byte("\n"))
	first = chomp(first)
	switch {
	case bytes.IndexByte(first, 0) >= 0:
		return formatUnknown
	case isFromLine(first):
		return formatMbox
	case isCSVHeader(first):
		return formatCSV
	case isHeader(head):
		return formatMail
	default:
		return formatLog
	}
}

// commonFields are header fields of which every stored mail has one early on.
var commonFields = []string{
	"received", "return-path", "delivered-to", "from", "to", "date",
	"message-id", "subject", "mime-version", "envelope-to", "x-original-to",
}

// isHeader reports whether head starts as a mail header does (RFC 5322, 2.2):
// nothing but fields and folded lines, one of the common fields among them.
func isHeader(head []byte) bool {
	fields := 0
	for line := range bytes.SplitSeq(head, []byte("\n")) {
		line = chomp(line)
		if fields > 0 && len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
			continue
		}
		name := fieldName(line)
		if name == nil {
			return false
		}
		if slices.Contains(commonFields, string(bytes.ToLower(name))) {
			return true
		}
		fields++
	}
	return false
}

// fieldName returns the name of a header field (RFC 5322, 2.2), nil when line
// does not start one.
func fieldName(line []byte) []byte {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return nil
	}
	for _, c := range line[:i] {
		if c <= ' ' || c >= 0x7f {
			return nil
		}
	}
	return line[:i]
}

// isFromLine reports whether line separates two mails of an mbox (RFC 4155,
// appendix A): "From ", somebody, and a date with a time of day.
func isFromLine(line []byte) bool {
	if !bytes.HasPrefix(line, []byte("From ")) {
		return false
	}
	for i := len("From "); i+4 < len(line); i++ {
		if line[i+2] == ':' && digits(line[i:i+2]) && digits(line[i+3:i+5]) {
			return true
		}
	}
	return false
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}
