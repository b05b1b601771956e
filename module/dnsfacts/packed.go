package dnsfacts

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"blitiri.com.ar/go/spf"
)

// A packed record begins with one of these, and packedSecure.
const (
	packedFound uint8 = iota
	packedNoData
	packedNXDomain
	packedFailed

	packedSecure uint8 = 0x80
)

// spfTexts has the results that most sessions need, RFC 7208, section 2.6.
var spfTexts = map[string][]string{
	string(spf.None):     {string(spf.None)},
	string(spf.Neutral):  {string(spf.Neutral)},
	string(spf.Pass):     {string(spf.Pass)},
	string(spf.Fail):     {string(spf.Fail)},
	string(spf.SoftFail): {string(spf.SoftFail)},
}

// packKey appends k to b. No two keys are packed alike.
func packKey(b []byte, k key) []byte {
	b = binary.LittleEndian.AppendUint16(b, k.qtype)
	return append(packAddr(b, k.addr), k.name...)
}

// packRecord appends r to b, without its expiry.
func packRecord(b []byte, r *record) []byte {
	first, texts := packedFound, r.texts
	switch {
	case r.failed():
		first = packedFailed
		texts = []string{r.err.Kind, r.err.Name}
		if r.err.Err != nil {
			texts = append(texts, r.err.Err.Error())
		}
	case r.denied == KindNoData:
		first = packedNoData
	case !r.found():
		first = packedNXDomain
	}
	if r.secure {
		first |= packedSecure
	}
	b = append(b, first)
	if r.failed() {
		b = binary.LittleEndian.AppendUint16(b, r.err.Type)
	}
	b = binary.AppendUvarint(b, uint64(len(r.addrs)))
	for _, addr := range r.addrs {
		b = packAddr(b, addr)
	}
	b = binary.AppendUvarint(b, uint64(len(texts)))
	for _, text := range texts {
		b = binary.AppendUvarint(b, uint64(len(text)))
	}
	for _, text := range texts {
		b = append(b, text...)
	}
	return b
}

func packAddr(b []byte, addr netip.Addr) []byte {
	octets := addr.As16()
	switch {
	case !addr.IsValid():
		return append(b, 0)
	case addr.Is4():
		return append(append(b, 4), octets[12:]...)
	}
	return append(append(b, 16), octets[:]...)
}

// unpacker reads what packRecord has written.
type unpacker []byte

func (u *unpacker) take(n int) []byte {
	taken := (*u)[:n]
	*u = (*u)[n:]
	return taken
}

func (u *unpacker) number() int {
	v, n := binary.Uvarint(*u)
	*u = (*u)[n:]
	return int(v) //nolint:gosec // a length of ours
}

// record sets r to the answer to a question for qtype. Nothing of it is in u.
func (u *unpacker) record(r *record, qtype uint16) {
	*r = record{}
	first := u.take(1)[0]
	r.secure = first&packedSecure != 0
	first &^= packedSecure
	switch first {
	case packedFailed:
		r.err = &Error{Type: binary.LittleEndian.Uint16(u.take(2))}
	case packedNoData:
		r.denied = KindNoData
	case packedNXDomain:
		r.denied = KindNXDomain
	}
	if n := u.number(); n > 0 {
		r.addrs = make([]netip.Addr, n)
		for i := range r.addrs {
			r.addrs[i], _ = netip.AddrFromSlice(u.take(int(u.take(1)[0])))
		}
	}
	r.texts = u.texts(qtype == typeSPF)
	if r.err != nil {
		r.err.Kind, r.err.Name = r.texts[0], r.texts[1]
		if len(r.texts) > 2 {
			r.err.Err = errors.New(r.texts[2])
		}
		r.texts = nil
	}
}

// texts reads the texts, which share one piece of memory.
func (u *unpacker) texts(isSPF bool) []string {
	n := u.number()
	if n == 0 {
		return nil
	}
	lengths := *u
	for range n {
		u.number()
	}
	if ready := spfTexts[string(*u)]; isSPF && ready != nil {
		return ready
	}
	all, list := string(*u), make([]string, n)
	for i := range list {
		length := lengths.number()
		list[i], all = all[:length], all[length:]
	}
	return list
}
