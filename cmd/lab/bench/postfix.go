package bench

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
)

// postfixMain takes mail for one domain and discards it. The accounts are ones that every Debian
// has: an unpacked Postfix has none of its own. in_flow_delay is off, since Postfix else holds up
// senders that are faster than its queue.
const postfixMain = `compatibility_level = 3.6
queue_directory = %[1]s/queue
data_directory = %[1]s/data
command_directory = %[2]s/usr/sbin
daemon_directory = %[3]s
shlib_directory = %[4]s
meta_directory = %[2]s/etc/postfix
sendmail_path = %[2]s/usr/sbin/sendmail
mail_owner = daemon
default_privs = nobody
setgid_group = mail
import_environment = MAIL_CONFIG MAIL_LOGTAG TZ LANG=C LD_LIBRARY_PATH
maillog_file = %[1]s/postfix.log
maillog_file_prefixes = %[1]s
myhostname = %[5]s
mydestination =
mynetworks = 127.255.0.1/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
local_recipient_maps =
relay_domains = %[6]s
relay_transport = discard
default_transport = discard
smtpd_relay_restrictions = reject_unauth_destination
in_flow_delay = 0
bench_helo_restrictions = reject_invalid_helo_hostname,
    reject_non_fqdn_helo_hostname, reject_unknown_helo_hostname
`

const postfixMaster = `%[1]s inet n - n - - smtpd
%[2]s inet n - n - - smtpd
    -o smtpd_helo_required=yes
    -o smtpd_helo_restrictions=$bench_helo_restrictions
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
`

// startPostfix starts one with two listeners: without restrictions, and with the strict ones.
func (l *lab) startPostfix(ctx context.Context) (p *process, off, on string, err error) {
	dir := filepath.Join(l.dir, "postfix")
	if err = postfixFolders(dir); err != nil {
		return nil, "", "", err
	}
	if off, err = freePort(serverIP); err != nil {
		return nil, "", "", err
	}
	if on, err = freePort(serverIP); err != nil {
		return nil, "", "", err
	}
	d := l.debian
	for name, text := range map[string]string{
		"main.cf": fmt.Sprintf(postfixMain, dir, d.root, d.daemons(), d.postfixLibs(),
			serverMX, domain),
		"master.cf": fmt.Sprintf(postfixMaster, off, on),
	} {
		if err = writeFile(filepath.Join(dir, name), text); err != nil {
			return nil, "", "", err
		}
	}
	p, err = l.start(ctx, program{
		name: "postfix", argv: []string{d.daemons() + "/master", "-c", dir, "-d"},
		env: append(d.env(), "MAIL_CONFIG="+dir), address: on, dir: dir,
	})
	return p, off, on, err
}

// postfixFolders makes the queue as `postfix check` would.
func postfixFolders(dir string) error {
	owner, err := user.Lookup("daemon")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	group, err := user.LookupGroup("mail")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for _, f := range []struct {
		name     string
		mode     os.FileMode
		uid, gid int
	}{
		{"", 0o755, 0, 0}, {"queue", 0o755, 0, 0}, {"queue/pid", 0o755, 0, 0}, {"data", 0o700, uid, 0},
		{"queue/public", 0o710, uid, gid}, {"queue/maildrop", 0o730, uid, gid},
		{"queue/private", 0o700, uid, 0}, {"queue/incoming", 0o700, uid, 0},
		{"queue/active", 0o700, uid, 0}, {"queue/bounce", 0o700, uid, 0},
		{"queue/corrupt", 0o700, uid, 0}, {"queue/defer", 0o700, uid, 0},
		{"queue/deferred", 0o700, uid, 0}, {"queue/flush", 0o700, uid, 0},
		{"queue/hold", 0o700, uid, 0}, {"queue/saved", 0o700, uid, 0}, {"queue/trace", 0o700, uid, 0},
	} {
		path := filepath.Join(dir, f.name)
		if err := os.Mkdir(path, 0o700); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if err := os.Chown(path, f.uid, f.gid); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		if err := os.Chmod(path, f.mode); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	return nil
}
