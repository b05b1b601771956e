package replay_test

import (
	"context"
	"fmt"
	"strings"

	"maddy.example/checkhelo/module/replay"
)

func ExampleRead() {
	log := `smtp: incoming message	{"msg_id":"1","src_host":"friend","src_ip":"192.0.2.9:25"}
smtp: RCPT error	{"check":"helo_fqdn","msg_id":"1","rcpt":"bob@example.org","smtp_code":504}
smtp: aborted	{"msg_id":"1"}
`
	opt := replay.Options{Stdin: strings.NewReader(log)}
	st, err := replay.Read(context.Background(), []string{"-"}, opt,
		func(r *replay.Record) error {
			fmt.Println(r.Helo, r.Client, r.Rcpts, r.Outcome, r.Reason)
			return nil
		})
	fmt.Println(st.Records, st.Broken, err)
	// Output:
	// friend 192.0.2.9 [bob@example.org] rejected helo_fqdn
	// 1 0 <nil>
}
