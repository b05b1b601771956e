// Package memory records what this server has seen: which senders it knows, which organisations
// greet from one network, and which messages wait for a greylist delay. It carries out what
// RFC 6647 calls greylisting, but only for greetings that a policy finds unusual.
//
// Memory decides; a Store keeps the rows. A server opens a DB (SQLite or PostgreSQL), a replay of
// old logs makes a Map. Both give the same answers:
//
//	db, err := memory.Open("sqlite3", "/var/lib/maddy/helo_fqdn.db", nil)
//	if err != nil {
//		return err // memory.ErrNoDriver: the binary has no such driver
//	}
//	defer db.Close()
//	m := &memory.Memory{Store: db, Delay: 5 * time.Minute}
//	grade, err := m.Known(ctx, memory.Sender{Helo: heloname.Parse("mail.example.org"), Client: ip})
//
// If the store cannot be read, the methods return an error: no sender is known, has neighbours or
// waits.
package memory

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// How long rows are kept, and how many of one network.
const (
	KnownDays      = 180 // days after the last greeting
	NeighbourDays  = 30  // days after the last greeting
	MaxNeighbours  = 8   // organisations of one network
	MaxNames       = 1024
	MaxWaiting     = 1024           // waiting messages of one network
	Window         = 48 * time.Hour // a retry later than this starts a new wait
	windowSeconds  = int64(Window / time.Second)
	DefaultDelay   = 5 * time.Minute
	seenDays       = 3 // days with a greeting, for the grade Seen
	seenSpan       = 7 // days from the first to the last of them
	defaultMinOrgs = 2
)

// Sender is one greeting. A Sender whose Client is invalid is never stored.
type Sender struct {
	Helo      heloname.Name
	Client    netip.Addr
	Confirmed []string        // PTR names that resolve back to Client; only Wait reads them
	Lists     *heloname.Lists // nil: the built-in lists
}

// Store keeps the rows of a Memory: a DB or a Map.
type Store interface {
	// list returns the rows of a scope, which must not be changed. at is the time to compare their
	// age with: it differs from now if the clock has jumped.
	list(ctx context.Context, s scope, now int64) (rows []row, at int64, err error)
	// put merges a row. It never blocks on the database.
	put(n row, now int64) error
	secret() []byte // HMAC key; nil while the store is away
}

// Memory answers from the rows of a Store. A nil Memory knows no sender and writes nothing. Its
// fields must not change once it is in use; it is then safe for concurrent use.
type Memory struct {
	Store Store
	Clock func() time.Time // nil: time.Now
	// Delay is how long a message waits, in whole seconds; 0 is DefaultDelay.
	Delay time.Duration
	// NeighboursMin is how many organisations of one network it takes to count as neighbours,
	// including the sender's own; 0 means 2.
	NeighboursMin int
}

func (m *Memory) now() int64 {
	if m.Clock == nil {
		return time.Now().Unix()
	}
	return m.Clock().Unix()
}

// Known returns how well a sender is known by HELO name and network. Call it once a session and
// before Greet, so that it does not count the session's own greeting.
func (m *Memory) Known(ctx context.Context, s Sender) (checkhelo.Known, error) {
	k := s.key()
	if m == nil || !k.network.IsValid() || k.name == "" {
		return checkhelo.Stranger, nil
	}
	r, err := m.row(ctx, k, m.now())
	return r.grade(), err
}

// row returns the row of a key, or the zero row if there is none or it is old.
func (m *Memory) row(ctx context.Context, k key, now int64) (row, error) {
	rows, at, err := m.Store.list(ctx, k.scope, now)
	if r := find(rows, k); !r.old(at) {
		return r, err
	}
	return row{}, err
}

func (r row) grade() checkhelo.Known {
	switch {
	case r.accepted:
		return checkhelo.Accepted
	case r.days >= seenDays && r.last-r.first >= seenSpan*daySeconds:
		return checkhelo.Seen
	}
	return checkhelo.Stranger
}

// Neighbours returns Found with the other organisations that greeted from the client's network
// in the last 30 days, if there are enough of them. Call it only for a PTR fault: the answer
// affects no other rule.
func (m *Memory) Neighbours(ctx context.Context, s Sender) checkhelo.Answer[[]string] {
	own, network := s.org(), networkOf(s.Client)
	if m == nil || own == "" || !network.IsValid() {
		return checkhelo.Answer[[]string]{State: checkhelo.NotFound}
	}
	rows, at, err := m.Store.list(ctx, scope{network: network}, m.now())
	if err != nil {
		return checkhelo.Answer[[]string]{State: checkhelo.Failed, Err: err}
	}
	var others []string
	for _, r := range rows {
		if r.kind == KindNeighbour && r.name != own && !r.old(at) {
			others = append(others, r.name)
		}
	}
	slices.Sort(others)
	if len(others)+1 < cmp.Or(m.NeighboursMin, defaultMinOrgs) {
		return checkhelo.Answer[[]string]{State: checkhelo.NotFound}
	}
	return checkhelo.Answer[[]string]{State: checkhelo.Found, Value: others}
}

// Wait is the state of a message that a policy delays.
type Wait struct {
	Result WaitResult
	// Left is how long the client still has to wait. The reply is 451 while it is above 0.
	Left time.Duration
	// Waited is the time since the first attempt, when Result is WaitOver.
	Waited time.Duration
}

// WaitResult says why a message waits or does not.
type WaitResult uint8

// The results of Memory.Wait.
const (
	NoWait      WaitResult = iota // the attempt cannot be stored: the message passes
	WaitStarted                   // the first attempt
	WaitAgain                     // a retry before the delay has passed
	WaitOver                      // a retry after the delay: the message passes
	WaitShare                     // the network has used its share up: 451, and nothing is stored
)

// String returns the word that metrics, logs and JSON use.
func (r WaitResult) String() string {
	return [...]string{"none", "started", "again", "over", "share"}[r]
}

// Wait starts the wait of a message or returns its state (RFC 6647, section 2.1). The client's
// network, MAIL FROM and the recipient identify a message; sameMessage drops what may change in
// MAIL FROM. If the store fails, Result is NoWait, with the error to log.
//
// From another network a new wait starts, unless the HELO name has the organisation of the
// first attempt, and so has a confirmed PTR name that is not generic.
func (m *Memory) Wait(ctx context.Context, s Sender, from, rcpt string) (Wait, error) {
	if m == nil || !networkOf(s.Client).IsValid() {
		return Wait{}, nil
	}
	secret := m.Store.secret()
	if secret == nil {
		return Wait{}, errAway
	}
	own, org := s.waitKeys(secret, from, rcpt)
	now := m.now()
	ofOrg, fault := m.attempt(ctx, org, now)
	first, err := m.attempt(ctx, own, now) // last, so that put knows the network's share
	if err = cmp.Or(err, fault); err != nil {
		return Wait{}, err
	}
	if ofOrg != 0 && (first == 0 || ofOrg < first) && s.proven() {
		first = ofOrg
	}
	delay := cmp.Or(m.Delay, DefaultDelay)
	if first != 0 {
		waited := time.Duration(now-first) * time.Second
		if waited >= delay {
			return Wait{Result: WaitOver, Waited: waited}, nil
		}
		return Wait{Result: WaitAgain, Left: delay - waited}, nil
	}
	switch err := m.Store.put(row{key: own, last: now}, now); {
	case errors.Is(err, errShare):
		return Wait{Result: WaitShare, Left: delay}, nil
	case err != nil:
		return Wait{}, err
	case org.org != "" && ofOrg == 0:
		_ = m.Store.put(row{key: org, last: now}, now) // optional: the wait works without it
	}
	return Wait{Result: WaitStarted, Left: delay}, nil
}

// attempt returns the Unix time of the first attempt of a message, or 0. It ignores a time in the
// future: that was written before the clock was set back.
func (m *Memory) attempt(ctx context.Context, k key, now int64) (int64, error) {
	if k.scope == (scope{}) {
		return 0, nil
	}
	r, err := m.row(ctx, k, now)
	if r.last > now || now-r.last > windowSeconds {
		return 0, err
	}
	return r.last, err
}

// Greet records a session that reached RCPT TO. taken means that at least one recipient got a
// 250 reply: only then the day counts for the sender. It never blocks on the store.
func (m *Memory) Greet(s Sender, taken bool) { m.see(s, taken, false) }

// Accept records that a message of the sender was accepted under this server's own policy. It
// never blocks on the store.
func (m *Memory) Accept(s Sender) { m.see(s, true, true) }

func (m *Memory) see(s Sender, taken, accepted bool) {
	if m == nil {
		return
	}
	k := s.key()
	if !k.network.IsValid() {
		return
	}
	now := m.now()
	today := dayOf(now)
	// The store counts the rows that it rejects.
	if org := s.org(); org != "" {
		_ = m.Store.put(row{key: key{k.scope, KindNeighbour, org}, last: today}, now)
	}
	if taken && k.name != "" {
		_ = m.Store.put(row{k, today, today, 1, accepted}, now)
	}
}

// key returns the key of a known sender.
func (s *Sender) key() key {
	k := key{scope{network: networkOf(s.Client)}, KindKnown, s.Helo.ASCII}
	if k.name == "" && s.Helo.Addr.IsValid() {
		k.name = s.Helo.Addr.String()
		if s.Helo.Kind == heloname.Literal {
			k.name = "[" + k.name + "]"
		}
	}
	return k
}

// org returns the organisational domain of an FQDN, otherwise "".
func (s *Sender) org() string {
	if s.Helo.Kind != heloname.FQDN {
		return ""
	}
	return heloname.OrgDomain(s.Helo.ASCII)
}

// proven tells whether a confirmed PTR name has the organisation of the HELO name. A generic PTR
// name proves nothing: the owner of the network gave it.
func (s *Sender) proven() bool {
	for _, ptr := range s.Confirmed {
		if s.Helo.Kind == heloname.FQDN && heloname.SameOrg(ptr, s.Helo.ASCII) &&
			!s.Lists.GenericPTR(ptr, s.Client) {
			return true
		}
	}
	return false
}

// networkOf returns the /24 or /48 of a client.
func networkOf(addr netip.Addr) netip.Prefix {
	addr = heloname.Unmap(addr)
	bits := 48
	if addr.Is4() {
		bits = 24
	}
	network, _ := addr.Prefix(bits) // an invalid address has no network
	return network
}

const daySeconds = 24 * 60 * 60

// dayOf returns the start of the day (UTC) of a Unix time.
func dayOf(unix int64) int64 { return unix - unix%daySeconds }

// waitKeys returns the keys of a message by network and by organisation. The scope of org is empty
// if the HELO name has no organisation. The addresses are hashed with the store's secret. The
// secret is in the same database, so the hash is only a pseudonym.
func (s *Sender) waitKeys(secret []byte, from, rcpt string) (own, org key) {
	from, rcpt = sameMessage(from), foldAddress(rcpt)
	hashed := func(in scope) key {
		h := hmac.New(sha256.New, secret)
		for _, part := range []string{in.String(), from, rcpt} {
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			h.Write([]byte(part))
		}
		return key{in, KindWaiting, hex.EncodeToString(h.Sum(nil)[:16])}
	}
	own = hashed(scope{network: networkOf(s.Client)})
	return own, hashed(scope{org: s.org()})
}

// changing are the parts of a lower-case local part in MAIL FROM that change between attempts.
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

// extension matches a local part with "+ext", unless it starts with "+".
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
