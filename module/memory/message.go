package memory

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// waitKey is the key of one waiting row. scope is a network or an organisation, in clear, so
// that a row can be counted and forgotten by it; hash stands for both addresses.
type waitKey struct{ scope, hash string }

// waitKeys are the rows of one message. org has no scope when the HELO name has no organisation.
type waitKeys struct {
	network, org waitKey
	proven       bool // the row of the organisation counts for this client
}

// keysOf hashes the addresses of a message with the secret of the store. The secret lies in the
// same database, so that the hash is a pseudonym and no more.
func keysOf(secret []byte, s Sender, from, rcpt string) waitKeys {
	from, rcpt = sameMessage(from), foldAddress(rcpt)
	key := func(scope string) waitKey {
		h := hmac.New(sha256.New, secret)
		for _, part := range []string{scope, from, rcpt} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write([]byte(part))
		}
		return waitKey{scope, hex.EncodeToString(h.Sum(nil)[:16])}
	}
	k := waitKeys{network: key(networkOf(s.Client).String()), proven: s.proven()}
	if org := s.org(); org != "" {
		k.org = key(org)
	}
	return k
}

// sameMessage returns a MAIL FROM without the parts that change from one attempt to the next:
// case, the tag of BATV in both orders, hash and time of SRS, "+ext" and whole numbers, as VERP
// has them.
func sameMessage(from string) string {
	local, domain := splitAddress(from)
	local = foldNumbers(cutExt(cutSRS(cutBATV(local))))
	return local + domain
}

// foldAddress returns a recipient in lower case and without "+ext".
func foldAddress(rcpt string) string {
	local, domain := splitAddress(rcpt)
	return cutExt(local) + domain
}

// splitAddress returns both parts in lower case, the second with its "@".
func splitAddress(address string) (local, domain string) {
	address = lower(address)
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[:at], address[at:]
	}
	return address, ""
}

// lower returns s in lower case. Octets that are no UTF-8 stay as they are.
func lower(s string) string {
	if utf8.ValidString(s) {
		return strings.ToLower(s)
	}
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// cutBATV cuts the tag of draft-levine-smtp-batv: prvs=tag=local, and prvs=local=tag, as older
// programs write it.
func cutBATV(local string) string {
	rest, ok := strings.CutPrefix(local, "prvs=")
	if !ok {
		return local
	}
	if tag, name, two := strings.Cut(rest, "="); two && isBATVTag(tag) {
		return name
	}
	if i := strings.LastIndexByte(rest, '='); i >= 0 && isBATVTag(rest[i+1:]) {
		return rest[:i]
	}
	return local
}

// isBATVTag tells whether s is the tag KDDDSSSSSS: a key's number, a day, a hexadecimal hash.
func isBATVTag(s string) bool {
	return len(s) == 10 && strings.Trim(s[:4], "0123456789") == "" &&
		strings.Trim(s[4:], "0123456789abcdef") == ""
}

// cutSRS cuts hash and time stamp of the Sender Rewriting Scheme:
// SRS0=HHH=TT=domain=local and SRS1=HHH=forwarder==HHH=TT=domain=local.
func cutSRS(local string) string {
	if len(local) < 5 || !strings.ContainsRune("=+-", rune(local[4])) {
		return local
	}
	parts := strings.Split(local[5:], "=")
	switch scheme := local[:4]; {
	case scheme == "srs0" && len(parts) >= 4:
		return "srs0=" + strings.Join(parts[2:], "=")
	case scheme == "srs1" && len(parts) >= 7 && parts[2] == "":
		return "srs1=" + parts[1] + "=" + strings.Join(parts[5:], "=")
	}
	return local
}

// cutExt cuts "+ext". A local part that starts with "+" stays.
func cutExt(local string) string {
	if i := strings.IndexByte(local, '+'); i > 0 {
		return local[:i]
	}
	return local
}

// foldNumbers replaces each run of digits between word boundaries by "#". Letters, digits and
// "_" make words.
func foldNumbers(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		end, digits := i, true
		for end < len(s) && isWord(s[end]) {
			digits = digits && s[end] >= '0' && s[end] <= '9'
			end++
		}
		switch {
		case end == i:
			end++
			b.WriteByte(s[i])
		case digits:
			b.WriteByte('#')
		default:
			b.WriteString(s[i:end])
		}
		i = end
	}
	return b.String()
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c == '_' || c >= 0x80
}
