package app

import "maddy.example/checkhelo"

// fact is one answer of the DNS or of a table, for people and programs.
type fact struct {
	name  string
	State string `json:"state"`
	Value any    `json:"value,omitempty"` // of an answer that was found
	Error string `json:"error,omitempty"`
}

func factOf[T any](name string, a checkhelo.Answer[T], value any) fact {
	f := fact{name: name, State: [...]string{"not_asked", "found", "not_found", "failed"}[a.State]}
	if a.State == checkhelo.Found {
		f.Value = value
	}
	if a.Err != nil {
		f.Error = a.Err.Error()
	}
	return f
}

// factsOf returns what is known about a greeting, in the order of a text.
func factsOf(f *checkhelo.Facts) []fact {
	zones := make([]string, 0, len(f.Listed.Value))
	for _, l := range f.Listed.Value {
		zones = append(zones, l.Zone+" "+l.Addr.String()+" "+l.Reason)
	}
	return []fact{
		factOf("forward", f.Forward, f.Forward.Value), factOf("mx", f.MX, f.MX.Value),
		factOf("ptr", f.PTR, f.PTR.Value), factOf("confirmed", f.Confirmed, f.Confirmed.Value),
		factOf("tld", f.TLD, f.TLD.Value), factOf("spf", f.SPF, f.SPF.Value),
		factOf("listed", f.Listed, zones), factOf("denied", f.Denied, f.Denied.Value.Message),
	}
}
