package replay

import (
	"strings"
	"testing"
)

func TestCSV(t *testing.T) {
	const head = "helo,ip,rdns,ptr_confirmed,rcpt,self,class,count\n"
	for name, tt := range map[string]struct {
		in, want string // records as "helo client ptr/state rcpt self class count", one a line
		broken   int64
	}{
		"full": {head + "a,192.0.2.7,b.example.net,yes,example.org,mx.example.org,ham,3\n",
			"a 192.0.2.7 b.example.net/confirmed example.org mx.example.org ham 3", 0},
		"states": {head + "a,192.0.2.7,b.,no\na,192.0.2.7,b,\na,192.0.2.7,,no\na,192.0.2.7,-,yes\n",
			"a 192.0.2.7 b/unconfirmed    1\na 192.0.2.7 b/confirmed    1\n" +
				"a 192.0.2.7 /none    1\na 192.0.2.7 /unknown    1", 0},
		"no rdns column": {"\xef\xbb\xbfIP;Helo;other\n[IPv6:2001:db8::7];a;x\n",
			"a 2001:db8::7 /unknown    1", 0},
		"quoted": {"helo,ip,class\r\n\"a,\"\"b\",192.0.2.7,spam\r\n",
			"a,\"b 192.0.2.7 /unknown   spam 1", 0},
		"tabs": {"helo\tip\na\t192.0.2.7\n\n", "a 192.0.2.7 /unknown    1", 0},
		"broken": {head + "a,nowhere,\n,192.0.2.7,\na\n\"a,192.0.2.7\na,192.0.2.7,b,maybe\n" +
			"a,192.0.2.7,,,,,,0\na,192.0.2.7,,,,,,x\na,192.0.2.7,,,,,,-1\nb,192.0.2.7,,,,,,2\n",
			"b 192.0.2.7 /none    2", 8},
	} {
		recs, st := collectText(t, testOptions(), tt.in)
		var got []string
		for _, r := range recs {
			got = append(got, strings.Join([]string{r.Helo, r.Client.String(),
				r.PTR + "/" + r.PTRState.String(), strings.Join(r.Rcpts, ","), r.Self, r.Class, itoa(r.Count)}, " "))
		}
		if s := strings.Join(got, "\n"); s != tt.want || st.Broken != tt.broken {
			t.Errorf("%s: %d broken, got\n%s\nwant\n%s", name, st.Broken, s, tt.want)
		}
	}
}

func itoa(n int) string {
	if n < 0 || n > 9 {
		return "out of the test's range"
	}
	return string(rune('0' + n))
}
