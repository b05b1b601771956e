package module

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/foxcpp/maddy/framework/future"
	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo"
)

// Outside of the endpoint's own check block, Maddy's PTR look-up is mostly done when we begin.
func TestMaddysPTRIsReused(t *testing.T) {
	for name, tc := range map[string]struct {
		value any
		err   error
		unset bool
		want  checkhelo.State
	}{
		"none":          {nil, nil, false, checkhelo.NotFound},
		"the HELO name": {"Mail.Example.NET", nil, false, checkhelo.Found},
		"another name":  {"host.example.org", nil, false, checkhelo.Failed}, // asked anew
		"failed":        {nil, errors.New("timeout"), false, checkhelo.Failed},
		"not there yet": {nil, nil, true, checkhelo.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := mustConfigure(t, "helo_fqdn rfc")
			state := conn("mail.example.net")
			state.RDNSName = future.New()
			if !tc.unset {
				state.RDNSName.Set(tc.value, tc.err)
			}
			s, err := c.CheckStateForMsg(context.Background(), &module.MsgMetadata{ID: "1", Conn: state})
			if err != nil {
				t.Fatal(err)
			}
			s.CheckRcpt(context.Background(), "user@example.org")
			if got := state.ModData.Get(c.key, false).(session).Facts().PTR.State; got != tc.want {
				t.Errorf("PTR state %d, want %d", got, tc.want)
			}
		})
	}
}

func TestUnreadableDNSServer(t *testing.T) {
	for conf, want := range map[string]string{
		"dns_servers ns.example.org":            "accepted: ADDRESS or ADDRESS:PORT",
		"dns_timeout 1ms":                       "dns_timeout: found 1ms; accepted: 100ms to 1m",
		"cache_size 0":                          "cache_size: found 0",
		"exempt_dnswl \"\"":                     "exempt_dnswl: found",
		"blocklists":                            "found no zone",
		"blocklists a..b":                       "accepted: the name of a zone",
		"blocklists a.example {\naction off\n}": "leave the list out",
		"dns_error_action retry":                `dns_error_action: found "retry"; accepted: one of ignore, tempfail`,
	} {
		if _, _, err := configured(t, "helo_fqdn {\n"+conf+"\n}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", conf, err, want)
		}
	}
}
