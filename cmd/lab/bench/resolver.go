package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
)

// common is what both resolvers have.
const common = `server:
	directory: %[1]q
	chroot: ""
	username: ""
	pidfile: ""
	use-syslog: no
	do-daemonize: no
	interface: %[2]s
	access-control: 127.0.0.0/8 allow
	do-ip6: no
	module-config: "iterator"
remote-control:
	control-enable: no
`

// The front is the resolver that servers ask. It knows nothing by itself and
// asks the back, so it has a cold and a warm state. Nothing is asked outside.
const front = common + `server:
	do-not-query-localhost: no
	unblock-lan-zones: yes
	insecure-lan-zones: yes
	local-zone: "127.in-addr.arpa." nodefault
	msg-cache-size: 64m
	rrset-cache-size: 128m
	outgoing-range: 4096
	num-queries-per-thread: 2048
forward-zone:
	name: "."
	forward-addr: %[3]s
`

// The back has all names there are.
const back = common + `server:
	local-zone: "." static
	local-zone: "127.in-addr.arpa." static
	include: %[3]q
`

const soa = " 3600 IN SOA ns.sender-bench.com. hostmaster.sender-bench.com. 1 3600 600 86400 3600"

// writeZone writes the names as unbound's local-data, those of fresh clients included.
func writeZone(w io.Writer, fresh int) {
	line := func(data string) { fmt.Fprintf(w, "local-data: '%s'\n", data) }
	host := func(name string, a netip.Addr) {
		line(fmt.Sprintf("%s. 3600 IN A %s", name, a))
		line(fmt.Sprintf("%s. 3600 IN PTR %s.", reverse(a), name))
	}
	line("." + soa)
	line("127.in-addr.arpa." + soa)
	line(domain + ". 3600 IN MX 10 " + serverMX + ".")
	host(serverMX, netip.MustParseAddr(serverIP))
	host(warmName, netip.MustParseAddr(clientIP))
	for i := range fresh {
		host(freshName(i), freshAddr(i))
	}
}

// startResolver starts both unbounds; the first process returned is the back.
func startResolver(ctx context.Context, d debian, dir string, fresh int) ([]*process, error) {
	zone := filepath.Join(dir, "zone.conf")
	file, err := os.Create(zone)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	w := bufio.NewWriter(file)
	writeZone(w, fresh)
	if err := errors.Join(w.Flush(), file.Close()); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	var running []*process
	for _, s := range []struct{ name, ip, form, more string }{
		{"unbound-back", backIP, back, zone},
		{"unbound-front", frontIP, front, backIP},
	} {
		conf := filepath.Join(dir, s.name+".conf")
		if err := writeFile(conf, fmt.Sprintf(s.form, dir, s.ip, s.more)); err != nil {
			return running, err
		}
		p, err := start(ctx, program{
			name: s.name, argv: []string{d.sbin("unbound"), "-d", "-c", conf}, env: d.env(),
			address: s.ip + ":53",
		}, dir)
		if err != nil {
			return running, err
		}
		running = append(running, p)
	}
	return running, nil
}
