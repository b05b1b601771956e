// Package probe is what the bench links into Maddy besides the check: a check that does nothing,
// which shows what Maddy's own handling of checks costs, and Go's profiles over HTTP. Maddy's flag
// for profiles, --debug.pprof, is not accepted by v0.9.5: its command line is made before the build
// tag debugflags takes effect.
package probe

import (
	"context"
	"log"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // served on the address asked for only
	"os"

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/buffer"
	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"
)

// Variable is the environment variable with the host:port that serves profiles.
const Variable = "BENCH_PPROF"

const modName = "check.bench_nothing"

func init() {
	modules.Register(modName, func(_ *container.C, _, instName string) (module.Module, error) {
		return &nothing{instName}, nil
	})
	address := os.Getenv(Variable)
	if address == "" {
		return
	}
	go func() {
		log.Println(http.ListenAndServe(address, nil)) //nolint:gosec // ends with its Maddy
	}()
}

// nothing lets all pass, at the greeting and for each message.
type nothing struct{ instName string }

func (*nothing) Configure([]string, *config.Map) error { return nil }

func (*nothing) Name() string { return modName }

func (n *nothing) InstanceName() string { return n.instName }

func (*nothing) CheckConnection(context.Context, *module.ConnState) error { return nil }

func (*nothing) CheckStateForMsg(context.Context, *module.MsgMetadata) (module.CheckState, error) {
	return message{}, nil
}

type message struct{}

func (message) CheckConnection(context.Context) (res module.CheckResult) { return res }

func (message) CheckSender(context.Context, string) (res module.CheckResult) { return res }

func (message) CheckRcpt(context.Context, string) (res module.CheckResult) { return res }

func (message) CheckBody(
	context.Context, textproto.Header, buffer.Buffer,
) (res module.CheckResult) {
	return res
}

func (message) Close() error { return nil }

var _ module.EarlyCheck = (*nothing)(nil)
