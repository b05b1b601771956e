package module

import (
	"context"

	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo"
)

// CheckConnection implements module.EarlyCheck. Maddy calls it at each
// greeting, before anything is known but the name and the address. It begins
// the look-ups, and refuses when `enforce_at ehlo` says so.
//
// A panic here would end the whole server: Maddy does not guard early checks.
func (c *Check) CheckConnection(_ context.Context, conn *module.ConnState) (refusal error) {
	defer func() {
		if broken := recover(); broken != nil {
			refusal = nil
			c.report("at EHLO, client passes", broken)
		}
	}()
	s := c.greeting(conn)
	if s == nil {
		return nil
	}
	// Maddy cancels the context of early checks as soon as they return.
	ctx := context.Background()
	if _, ok := c.plain.Conn(ctx, s.facts.Client, "", ""); ok {
		return nil
	}
	conn.ModData.Set(c.key, false, s)
	if !c.early {
		c.prefetch(s)
		return nil
	}
	o := c.judge(ctx, s, "")
	if o.Action != checkhelo.Reject {
		return nil
	}
	c.count(o.Verdict)
	c.logVerdict(o.Verdict, &s.facts, "")
	return c.refusal(o.Verdict, &s.facts)
}
