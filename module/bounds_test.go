package module

import (
	"net/netip"
	"strings"
	"testing"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// Labels in front of a listed domain do not hide it.
func TestDenyNamesUnderAnyNumberOfLabels(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn")
	c.judge.DenyNames = fakeTable{entries: map[string]string{"denied.example": ""}}
	for n := range 100 {
		name := strings.Repeat("a.", n) + "denied.example"
		o := c.greet(conn(name), false).Rcpt(t.Context(), "", "", "user@example.com")
		if len(o.Hits) == 0 || o.Hits[0].Rule.Name != "deny_name" {
			t.Fatalf("not denied with %d labels in front", n)
		}
	}
}

// factsOf is what a greeting tells by itself.
func factsOf(c *Check, helo string, client, local netip.Addr) checkhelo.Facts {
	return checkhelo.Facts{Helo: heloname.Parse(helo), Client: client, Local: local,
		Self: &c.judge.Self, Lists: c.judge.Lists}
}
