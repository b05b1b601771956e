package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

// maddyConf is a Maddy that takes mail for one domain and throws it away, as its log says.
const maddyConf = `state_dir %[1]s/state
runtime_dir %[1]s/run
log %[1]s/maddy.log
hostname %[2]s
tls off

smtp tcp://%[3]s {
%[4]s    destination %[5]s {
        deliver_to dummy
    }
    default_destination {
        reject 554 5.7.1 "Relay access denied"
    }
}
`

// The checks of Maddy's settings. All clients are on loopback, which is exempt unless something
// else is set.
const (
	maddyNothing = "bench_nothing"
	maddyRFC     = "helo_fqdn rfc {\n            exempt_networks 10.0.0.0/8\n        }"
	maddyStrict  = "helo_fqdn strict {\n            exempt_networks 10.0.0.0/8\n        }"
)

func maddyConfig(dir, address, check string) string {
	if check != "" {
		check = "    check {\n        " + check + "\n    }\n"
	}
	return fmt.Sprintf(maddyConf, dir, serverMX, address, check, domain)
}

// buildMaddy returns the binary, with the probe in it.
func (b *bench) buildMaddy(ctx context.Context) (string, error) {
	if b.maddy != "" {
		return b.maddy, nil
	}
	return maddybin.Build(ctx, build.Builder{
		With:     []build.Module{{Package: "maddy.example/checkhelo/cmd/lab/bench/probe"}},
		Progress: func(step string) { b.say("%s", step) },
	})
}

// startMaddy starts one with a check, "" for none.
func (l *lab) startMaddy(ctx context.Context, name, check string, env ...string) (*process, error) {
	dir := filepath.Join(l.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	address, err := freePort(serverIP)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "maddy.conf")
	if err := writeFile(conf, maddyConfig(dir, address, check)); err != nil {
		return nil, err
	}
	argv := []string{l.maddy, "--config", conf, "run"}
	return l.start(ctx, program{name: name, argv: argv, env: env, address: address})
}
