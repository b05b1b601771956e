package heloname

import (
	"strings"
	"sync"
	"testing"
)

func TestWith(t *testing.T) {
	l := (*Lists)(nil).With(Extension{
		Providers: []Provider{
			{Name: "Google", Helo: []string{"google.com"}, PTR: []string{".PTR.example.net."}},
			{Name: "mine", Helo: []string{"relay.example.org"}, PTR: []string{"example.org"}},
			{Name: "family", Helo: []string{".Mine.*"}, PTR: []string{"example.org"}},
			{Name: "microsoft", Helo: []string{"example.com"}, PTR: []string{"example.com"}},
			{Name: "broken", Helo: []string{"-"}, PTR: []string{"example.org"}},
		},
		DynamicWords: []string{"Einwahl", "no-word"},
		StaticWords:  []string{"standleitung", "dsl"},
		ReservedTLDs: []string{".Office", "branch.example.net", ".."},
		NotReserved:  []string{"local", "good.corp"},
	})
	d := DefaultLists()
	for _, tc := range []struct {
		what      string
		got, want bool
	}{
		{"replaced provider owns", l.Provider("mx.google.com").Owns("a.ptr.example.net"), true},
		{"replaced provider disowns", l.Provider("mx.google.com").Owns("mx.google.com"), false},
		{"replaced suffix is gone", l.Provider("gmail.com") == nil, true},
		{"other providers stay", l.Provider("mail.qq.com") != nil, true},
		{"own provider", l.Provider("mx.relay.example.org") != nil, true},
		{"own provider above", l.Provider("example.org") == nil, true},
		{"default keeps provider", d.Provider("gmail.com") != nil, true},
		{"default has no new one", d.Provider("mx.relay.example.org") == nil, true},
		{"own provider is strong", l.Provider("relay.example.org").Strong, true},
		{"own family", l.Provider("mx.mine.co.uk").Domain("mine.co.uk"), true},
		{"replaced family is gone", l.Provider("live.nl") == nil, true},
		{"default keeps family", d.Provider("live.nl") != nil, true},
		{"own rented word", l.GenericPTR("einwahl1.example.net", addr("192.0.2.1")), true},
		{"own rented word, default", d.GenericPTR("einwahl1.example.net", addr("192.0.2.1")), false},
		{"own static word is not rented", l.GenericPTR("dsl1.example.net", addr("192.0.2.1")), false},
		{"own word, other lists stay", defaultHost(l, "vps123.example.net"), true},
		{"empty lists, default host", defaultHost(new(Lists), "vps123.example.net"), false},
		{"own word", dynamic(l, "einwahl-192-0-2-1.example.net"), true},
		{"own word, default", dynamic(d, "einwahl-192-0-2-1.example.net"), false},
		{"own static word", dynamic(l, "ppp-192-0-2-1.standleitung.example.net"), false},
		{"word of another class", dynamic(l, "dsl-192-0-2-1.ppp.example.net"), false},
		{"default word", dynamic(d, "dsl-192-0-2-1.ppp.example.net"), true},
		{"own TLD", reserved(l, "mail.office"), true},
		{"own suffix", reserved(l, "mail.branch.example.net"), true},
		{"beside own suffix", reserved(l, "mail.example.net"), false},
		{"taken out", reserved(l, "mail.example.local"), false},
		{"taken out below", reserved(l, "mx.good.corp"), false},
		{"beside taken out", reserved(l, "mx.bad.corp"), true},
		{"default unchanged", reserved(d, "mail.example.local"), true},
		{"empty lists", reserved(new(Lists), "mail.example.local"), false},
		{"empty lists, provider", new(Lists).Provider("google.com") == nil, true},
		{"empty lists, extended", reserved(new(Lists).With(Extension{
			ReservedTLDs: []string{"x"}}), "mail.x"), true},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", tc.what, tc.got)
		}
	}
}

func dynamic(l *Lists, name string) bool {
	_, ok := l.Dynamic(name, addr("192.0.2.1"))
	return ok
}

func defaultHost(l *Lists, name string) bool {
	_, ok := l.DefaultHost(name)
	return ok
}

func reserved(l *Lists, name string) bool {
	_, _, ok := l.Reserved(name)
	return ok
}

func TestExtensionCheck(t *testing.T) {
	names := []string{"example.com"}
	for _, tc := range []struct {
		ext  Extension
		want string
	}{
		{Extension{}, ""},
		{Extension{
			Providers:    []Provider{{Name: "p", Helo: names, PTR: names}},
			DynamicWords: []string{"DSL"}, StaticWords: []string{"fest"},
			ReservedTLDs: []string{".office"}, NotReserved: []string{"local."},
		}, ""},
		{Extension{Providers: []Provider{{Helo: names, PTR: names}}}, "needs a name"},
		{Extension{Providers: []Provider{{Name: "p", PTR: names}}}, "needs a name"},
		{Extension{Providers: []Provider{{Name: "p", Helo: names}}}, "needs a name"},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"a b"}, PTR: names}}}, `"a b"`},
		{Extension{Providers: []Provider{{Name: "p", Helo: names, PTR: []string{""}}}}, `""`},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"p.*"}, PTR: names}}}, ""},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"a.p.*"}, PTR: names}}}, `"a.p.*"`},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"*"}, PTR: names}}}, `"*"`},
		{Extension{DynamicWords: []string{"dsl2"}}, `"dsl2"`},
		{Extension{StaticWords: []string{""}}, `""`},
		{Extension{ReservedTLDs: []string{"192.0.2.1"}}, `"192.0.2.1"`},
		{Extension{NotReserved: []string{"a..b"}}, `"a..b"`},
	} {
		err := tc.ext.Check()
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc.ext, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: error %v, want %s", tc.ext, err, tc.want)
		}
	}
}

// TestListsConcurrently is of use under the race detector.
func TestListsConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l := DefaultLists().With(Extension{DynamicWords: []string{"einwahl"}})
			if !reserved(nil, "mail.local") || !reserved(l, "mail.local") {
				t.Error("mail.local is not reserved")
			}
		}()
	}
	wg.Wait()
}
