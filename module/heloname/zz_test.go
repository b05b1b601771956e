package heloname
import "testing"
func BenchmarkZ(b *testing.B) {
	l := DefaultLists(); c := addr("192.0.2.1")
	for n, f := range map[string]func(){
		"KnownTLD": func() { KnownTLD(benchName) }, "Org": func() { OrgDomain(benchName) },
		"Reserved": func() { l.Reserved(benchName) }, "Provider": func() { l.Provider(benchName) },
		"New": func() { l.NewTLD(benchName) }, "Dyn": func() { l.Dynamic(benchName, c) }, "Default": func() { l.DefaultHost(benchName) },
		"Local": func() { Localhost(benchName) },
	} {
		b.Run(n, func(b *testing.B) { for b.Loop() { f() } })
	}
}
