package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// harakaChecks switches on all that the plugin can check and refuse.
const harakaChecks = `[check]
match_re=true
bare_ip=true
dynamic=true
big_company=true
literal_mismatch=1
valid_hostname=true
forward_dns=true
rdns_match=true
host_mismatch=true
proto_mismatch=true

[reject]
host_mismatch=true
proto_mismatch=true
rdns_match=true
dynamic=true
bare_ip=true
literal_mismatch=true
valid_hostname=true
forward_dns=true
big_company=true

[skip]
private_ip=false
relaying=false
`

// startHaraka starts one that takes mail for one domain and discards it.
func (l *lab) startHaraka(ctx context.Context, name string, checks bool) (*process, error) {
	dir := filepath.Join(l.dir, name)
	config := filepath.Join(dir, "config")
	if err := os.MkdirAll(config, 0o700); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	address, err := freePort(serverIP)
	if err != nil {
		return nil, err
	}
	plugins := "rcpt_to.in_host_list\nqueue/discard\n"
	if checks {
		plugins = "helo.checks\n" + plugins
	}
	for file, text := range map[string]string{
		"smtp.ini":        "listen=" + address + "\nnodes=0\n",
		"log.ini":         "[main]\nlevel=notice\nformat=default\n",
		"me":              serverMX + "\n",
		"host_list":       domain + "\n",
		"plugins":         plugins,
		"helo.checks.ini": harakaChecks,
	} {
		if err := writeFile(filepath.Join(config, file), text); err != nil {
			return nil, err
		}
	}
	modules := filepath.Join(l.haraka, "node_modules")
	const connection = "connection.ini" // without one of its own Haraka 3.3.4 fails
	for from, to := range map[string]string{
		modules: filepath.Join(dir, "node_modules"),
		filepath.Join(modules, "Haraka", "config", connection): filepath.Join(config, connection),
	} {
		if err := os.Symlink(from, to); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	bin := filepath.Join(modules, "Haraka", "bin", "haraka")
	return l.start(ctx, program{
		name: name, argv: []string{"node", bin, "-c", dir}, dir: dir, address: address,
		env: []string{"YES_REALLY_DO_DISCARD=1"},
	})
}
