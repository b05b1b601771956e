package heloname

import (
	"net/netip"
	"testing"

	"golang.org/x/net/publicsuffix"
)

const benchName = "mta01.yourcompany.com"

func BenchmarkOfflineParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if n := Parse(benchName); n.Kind != FQDN {
			b.Fatal(n.Kind)
		}
	}
}

func BenchmarkOfflinePublicSuffix(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if s, _ := publicsuffix.PublicSuffix(benchName); s != "com" {
			b.Fatal(s)
		}
	}
}

// BenchmarkOfflineNames is all that runs for the name of an ordinary good
// server; to be held against BenchmarkOfflinePublicSuffix of the same run.
func BenchmarkOfflineNames(b *testing.B) {
	l, client := DefaultLists(), addr("192.0.2.1")
	b.ReportAllocs()
	for b.Loop() {
		if namesHit(l, client) {
			b.Fatal("a good name was hit")
		}
	}
}

func namesHit(l *Lists, client netip.Addr) bool {
	name := Parse(benchName).ASCII
	reserved := l.Reserved(name) != ""
	_, byDefault := l.DefaultHost(name)
	_, dynamic := l.Dynamic(name, client)
	return Localhost(name) || reserved || !KnownTLD(name) || NewTLD(name) || byDefault ||
		l.Provider(name) != nil || OrgDomain(name) == name || dynamic
}

func BenchmarkDefaultHost(b *testing.B) {
	l := DefaultLists()
	for _, name := range []string{benchName, "mail-lj1-x236.google.com", "vps-1234.example.com"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.DefaultHost(name)
			}
		})
	}
}

func BenchmarkEmbedsAddr(b *testing.B) {
	for _, client := range []string{"192.0.2.1", "2001:db8::1"} {
		b.Run(client, func(b *testing.B) {
			a := addr(client)
			b.ReportAllocs()
			for b.Loop() {
				if EmbedsAddr("mail-lj1-x236.example.com", a) {
					b.Fatal("hit")
				}
			}
		})
	}
}

func TestNoAllocation(t *testing.T) {
	l, v4, v6 := DefaultLists(), addr("192.0.2.1"), addr("2001:db8::1")
	sink := 0
	count := func(b bool) {
		if b {
			sink++
		}
	}
	// The least of many single runs: under -race the sync.Pool of a regular expression forgets at
	// random what it should keep.
	least := func(f func()) float64 {
		n := testing.AllocsPerRun(1, f)
		for range 99 {
			n = min(n, testing.AllocsPerRun(1, f))
		}
		return n
	}
	// A lookup of a public suffix allocates from x/net 0.55 on, which custom builds have.
	lookups := 2 * least(func() { publicsuffix.PublicSuffix(benchName) })
	for name, tc := range map[string]struct {
		f    func()
		want float64
	}{
		"Parse":             {func() { sink += len(Parse(benchName).ASCII) }, 0},
		"Parse dot":         {func() { sink += len(Parse(benchName + ".").ASCII) }, 0},
		"Parse upper":       {func() { sink += len(Parse("MTA01.YourCompany.COM").ASCII) }, 1},
		"Parse bare":        {func() { sink += int(Parse("192.0.2.1").Kind) }, 0},
		"Parse literal":     {func() { sink += int(Parse("[IPv6:2001:db8::1]").Kind) }, 0},
		"Parse bad":         {func() { sink += len(Parse("a..b").Problem) }, 0},
		"Clean":             {func() { sink += len(Clean(benchName, 64)) }, 0},
		"KnownTLD":          {func() { count(KnownTLD(benchName)) }, 0},
		"KnownTLD wildcard": {func() { count(KnownTLD("mail.example.ck")) }, 0},
		"SameOrg":           {func() { count(SameOrg(benchName, "mx.example.co.uk")) }, 0},
		"Localhost":         {func() { count(Localhost(benchName)) }, 0},
		"Special":           {func() { count(Special(v4) && Special(v6)) }, 0},
		"EmbedsAddr 4":      {func() { count(EmbedsAddr("mail-lj1-x236.example.com", v4)) }, 0},
		"EmbedsAddr 6":      {func() { count(EmbedsAddr("mail-lj1-x236.example.com", v6)) }, 0},
		"DefaultHost":       {func() { _, ok := l.DefaultHost("vps-1.example.com"); count(ok) }, 0},
		"Names":             {func() { count(!namesHit(l, v4)) }, 0},
		"NewTLD":            {func() { count(NewTLD("mail.example.online")) }, 0},
		"Related":           {func() { count(Related(benchName, "mx1.a.example.net")) }, 0},
		"GenericPTR 4":      {func() { count(l.GenericPTR("vps1.example.net", v4)) }, 0},
		"GenericPTR 6":      {func() { count(l.GenericPTR("mail1.example.net", v6)) }, 0},
		"Provider domain":   {func() { count(l.Provider("yahoo.co.uk").Domain("yahoo.co.uk")) }, 0},
		"Provider":          {func() { count(l.Provider("mail-lj1-x236.google.com") != nil) }, 0},
		"Reserved":          {func() { count(l.Reserved("a.b.local") != "") }, 0},
		"Dynamic miss":      {func() { _, ok := l.Dynamic("dsl1.example.com", v4); count(ok) }, 0},
	} {
		if got := least(tc.f); got > tc.want+lookups {
			t.Errorf("%s: %v allocations, want at most %v", name, got, tc.want+lookups)
		}
	}
	if sink == 0 {
		t.Error("nothing ran")
	}
}
