package module

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
)

const maxDeniedAddrs = 8 // addresses of one name that are looked up

const acceptedTables = "accepted: file, static, regexp, sql_query or another table of Maddy," +
	" or &NAME of a table's own block"

// tableOf declares a directive that takes one of Maddy's tables. Of most
// errors about a table Maddy itself does not say where they are.
func tableOf(cfg *config.Map, name string, store *module.Table) {
	cfg.Custom(name, false, false, func() (any, error) { return nil, nil },
		func(m *config.Map, node config.Node) (any, error) {
			if len(node.Args) == 0 || node.Args[0] == "&" { // Maddy panics on the latter
				return nil, config.NodeErr(node, "%s: found no table; %s", name, acceptedTables)
			}
			table, err := modconfig.TableDirective(m, node)
			if err != nil {
				return nil, tableErr(node, err)
			}
			return table, nil
		}, store)
}

// tableErr is err with the place of node, unless it has a nearer one.
func tableErr(node config.Node, err error) error {
	text := strings.TrimPrefix(err.Error(), fmt.Sprintf("%s:%d: ", node.File, node.Line))
	if strings.HasPrefix(text, node.File+":") {
		return err
	}
	kind := strings.TrimPrefix(node.Args[0], "table.")
	if modules.Get("table."+kind) == nil {
		text += "; " + acceptedTables
	}
	return config.NodeErr(node, "%s: found %q: %s", node.Name, node.Args[0], text)
}

// askDenyNames looks the HELO name, or the address said instead, up in deny_names once a session.
func (c *Check) askDenyNames(ctx context.Context, f *checkhelo.Facts) {
	if c.denyNames == nil || f.Denied.State != checkhelo.NotAsked {
		return
	}
	key := f.Helo.ASCII
	if f.Helo.Addr.IsValid() {
		key = f.Helo.Addr.String()
	}
	c.askDenied(ctx, c.denyNames, key, &f.Denied)
}

// askDenied looks key up and then its parents, nearest first, unless denied is Found. A parent may
// stand with or without a leading dot. A table that fails denies nobody.
func (c *Check) askDenied(
	ctx context.Context, table module.Table, key string, denied *checkhelo.Answer[checkhelo.Rule],
) {
	keys := exempt.Ancestry(key)
	if _, err := netip.ParseAddr(key); err == nil {
		keys = slices.Values([]string{key})
	}
	for entry := range keys {
		if denied.State == checkhelo.Found {
			return
		}
		name, below := strings.CutPrefix(entry, ".")
		value, found, err := table.Lookup(ctx, name)
		if err == nil && !found && below {
			value, found, err = table.Lookup(ctx, entry)
		}
		if err != nil {
			*denied = checkhelo.Answer[checkhelo.Rule]{State: checkhelo.Failed, Err: err}
			c.tableFailed("deny_names", err)
			return
		}
		if found {
			denied.State, denied.Value = checkhelo.Found, c.deniedReply(value)
		}
	}
	if denied.State == checkhelo.NotAsked {
		denied.State = checkhelo.NotFound
	}
}

// deniedReply reads the value of a deny_names entry: [CODE [ENHANCED]] TEXT.
// A value that is no reply leaves the rule's own one in force.
func (c *Check) deniedReply(value string) (r checkhelo.Rule) {
	text := strings.TrimSpace(value)
	var code, class, subject, detail int
	if n, _ := fmt.Sscanf(text, "%3d", &code); n == 1 && code >= 400 && code < 600 {
		r.Code, r.Detail = code, [2]int{7, 1}
		text = strings.TrimSpace(text[3:])
		if n, _ := fmt.Sscanf(text, "%d.%d.%d", &class, &subject, &detail); n == 3 && class == code/100 {
			r.Detail = [2]int{subject, detail}
			_, text, _ = strings.Cut(text, " ")
		}
	}
	if err := checkText(text); err != nil {
		if c.quiet.allows("deny_names value", time.Now()) {
			c.log.Error("value is no reply, the rule's own is given", err, "table", "deny_names")
		}
		return checkhelo.Rule{}
	}
	r.Message = strings.TrimSpace(text)
	return r
}

// quiet lets one line a minute and source into the log.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time
}

const quietFor = time.Minute

func (q *quiet) allows(source string, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if last, ok := q.last[source]; ok && now.Sub(last) < quietFor && !now.Before(last) {
		return false
	}
	if q.last == nil {
		q.last = make(map[string]time.Time)
	}
	q.last[source] = now
	return true
}

// tableFailed logs the failure of an operator's table, not once a message.
func (c *Check) tableFailed(table string, err error) {
	if c.quiet.allows(table, time.Now()) {
		c.log.Error("table failed, nobody is refused for that", err, "table", table)
	}
}
