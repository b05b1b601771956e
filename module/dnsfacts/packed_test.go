package dnsfacts

import (
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestPacked(t *testing.T) {
	addr := netip.MustParseAddr
	long := strings.Repeat("x", 1<<16)
	tests := map[string]struct {
		key    key
		record record
	}{
		"found, nothing": {key{name: "a.example", qtype: dns.TypeA}, record{}},
		"addresses": {key{name: "a.example", qtype: dns.TypeA},
			record{addrs: []netip.Addr{addr("192.0.2.1"), addr("2001:db8::1")}, secure: true}},
		"names":    {key{addr: addr("192.0.2.1"), qtype: dns.TypePTR}, record{texts: []string{"a.example", "b.example"}}},
		"long":     {key{name: "a.example", qtype: dns.TypeTXT}, record{texts: []string{"", long, "\x00\xff"}}},
		"spf":      {key{name: "a.example", addr: addr("2001:db8::1"), qtype: typeSPF}, record{texts: []string{"pass"}}},
		"spf else": {key{name: "a.example", addr: addr("2001:db8::1"), qtype: typeSPF}, record{texts: []string{"permerror"}}},
		"nodata":   {key{name: "a.example", qtype: dns.TypeMX}, record{denied: KindNoData, secure: true}},
		"nxdomain": {key{name: long[:255], qtype: dns.TypeMX}, record{denied: KindNXDomain}},
		"failed": {key{name: "a.example", qtype: dns.TypeMX},
			record{err: &Error{Kind: KindTimeout, Name: "b.example", Type: dns.TypeTXT, Err: errors.New("late")}}},
		"failed for no reason": {key{name: "a.example", qtype: dns.TypeMX}, record{err: &Error{Kind: KindRefused}}},
	}
	c := NewCache(10_000)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := tt.record
			c.put(tt.key, &want, time.Minute)
			for range 2 {
				var got record
				if !c.get(tt.key, &got) || !reflect.DeepEqual(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
				c.put(key{name: "other.example", qtype: dns.TypeA}, new(record), time.Minute)
			}
			other := tt.key
			other.qtype = dns.TypeNone
			if c.get(other, new(record)) {
				t.Error("found under another type")
			}
		})
	}
}

func TestCacheLongName(t *testing.T) {
	c := NewCache(10)
	k := key{name: strings.Repeat("x", 1<<16+1), qtype: dns.TypeA}
	if c.put(k, new(record), time.Minute); c.get(k, new(record)) || c.Len() != 0 {
		t.Error("a name that is none is in the cache")
	}
}

// Two keys whose hashes are the same by chance are not taken for one another.
func TestCacheCollision(t *testing.T) {
	c := NewCache(10)
	k := key{name: "a.example", qtype: dns.TypeA}
	c.put(k, new(record), time.Minute)
	for hash := range c.known.index {
		if !c.find(hash, packKey(nil, k), k.qtype, new(record)) {
			t.Error("not found by its own hash")
		}
		other := key{name: "b.example", qtype: dns.TypeA}
		if c.find(hash, packKey(nil, other), other.qtype, new(record)) {
			t.Error("found by the hash of another")
		}
	}
}

// No two keys are packed alike.
func TestPackKey(t *testing.T) {
	packed := make(map[string]key)
	for _, k := range []key{
		{}, {qtype: 1}, {qtype: 256}, {name: "\x00"}, {name: "\x04abcd"}, {name: "a"}, {name: "ab"},
		{addr: netip.MustParseAddr("0.0.0.0")}, {addr: netip.MustParseAddr("::")},
		{addr: netip.MustParseAddr("::ffff:0.0.0.0")}, {addr: netip.MustParseAddr("0.0.0.0"), name: "a"},
	} {
		b := string(packKey(nil, k))
		if other, ok := packed[b]; ok {
			t.Errorf("%+v and %+v are both %q", k, other, b)
		}
		packed[b] = k
	}
}
