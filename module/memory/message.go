package memory

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"regexp"
	"strings"
	"unicode/utf8"
)

// waitKeys returns the keys of a message, by network and by organisation. The scope of the second
// one has no organisation when the HELO name has none. The addresses are hashed with the secret of
// the store. It lies in the same database, so that the hash is a pseudonym and no more.
func (s *Sender) waitKeys(secret []byte, from, rcpt string) (own, org key) {
	from, rcpt = sameMessage(from), foldAddress(rcpt)
	hashed := func(in scope) key {
		h := hmac.New(sha256.New, secret)
		for _, part := range []string{in.String(), from, rcpt} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write([]byte(part))
		}
		return key{in, waitingRow, hex.EncodeToString(h.Sum(nil)[:16])}
	}
	own = hashed(scope{network: networkOf(s.Client)})
	return own, hashed(scope{org: s.org()})
}

// What changes in a MAIL FROM from one attempt to the next. The local part is in lower case.
var changing = []struct {
	part *regexp.Regexp
	by   string
}{
	// draft-levine-smtp-batv: prvs=tag=local, and prvs=local=tag, as older programs write it. The
	// tag is KDDDSSSSSS: a key's number, a day, a hexadecimal hash.
	{regexp.MustCompile(`(?s)^prvs=(?:[0-9]{4}[0-9a-f]{6}=(.*)|(.*)=[0-9]{4}[0-9a-f]{6})$`), "$1$2"},
	// Sender Rewriting Scheme: SRS0=HHH=TT=domain=local, SRS1=HHH=forwarder==HHH=TT=domain=local
	{regexp.MustCompile(`(?s)^srs0[=+-][^=]*=[^=]*=([^=]*=.*)$`), "srs0=$1"},
	{regexp.MustCompile(`(?s)^srs1[=+-][^=]*=([^=]*)==[^=]*=[^=]*=([^=]*=.*)$`), "srs1=$1=$2"},
	{extension, "$1"},
	// VERP: whole numbers between word boundaries
	{regexp.MustCompile(`\b[0-9]+\b`), "#"},
}

// extension is "+ext". A local part that starts with "+" stays.
var extension = regexp.MustCompile(`(?s)^([^+]+)\+.*$`)

// sameMessage returns a MAIL FROM without the parts that change from one attempt to the next:
// case, the tag of BATV in both orders, hash and time of SRS, "+ext" and whole numbers, as VERP
// has them.
func sameMessage(from string) string {
	local, domain := splitAddress(from)
	for _, c := range changing {
		local = c.part.ReplaceAllString(local, c.by)
	}
	return local + domain
}

// foldAddress returns a recipient in lower case and without "+ext".
func foldAddress(rcpt string) string {
	local, domain := splitAddress(rcpt)
	return extension.ReplaceAllString(local, "$1") + domain
}

// splitAddress returns both parts in lower case, the second with its "@".
func splitAddress(address string) (local, domain string) {
	if utf8.ValidString(address) { // ToLower replaces other octets, which are data here
		address = strings.ToLower(address)
	}
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[:at], address[at:]
	}
	return address, ""
}
