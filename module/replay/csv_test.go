package replay

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
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
		"no rdns column": {"IP;Helo;other\n[IPv6:2001:db8::7];a;x\n",
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
		if st.Formats["csv"] != 1 {
			t.Errorf("%s: formats %v", name, st.Formats)
		}
	}
}

func itoa(n int) string {
	if n < 0 || n > 9 {
		return "out of the test's range"
	}
	return string(rune('0' + n))
}

const corpusHead = "group,class," +
	"msg_id_hash,helo,rdns,ip,by_style,count,year,by_host,rcpt_domain,flags\n"

func TestConvertCorpus(t *testing.T) {
	in := corpusHead +
		"g,ham,1,a.example.net,b.example.net,192.0.2.7,postfix,4,2026,mx.example.org,example.org,\n" +
		"g,spam,2,c,d.example.net,192.0.2.8,sendmail,1,2002,mx.example.org,example.org,f\n" +
		"g,ham,3,l,l,192.0.2.9,postfix,1,2026,mx.example.org,example.org,L\n" +
		"g,ham,4,m,-,192.0.2.10,postfix,1,2026,mx.example.org,,hM\n" +
		"g,ham,5,n,n,192.0.2.11,postfix,1,2026,mx.example.org,,aM\n" +
		"g,ham,6,o,o,10.0.0.1,postfix,1,2026,mx.example.org,,i\n"
	want := "helo,ip,rdns,ptr_confirmed,rcpt,self,class,count\n" +
		"a.example.net,192.0.2.7,b.example.net,yes,example.org,mx.example.org,ham,4\n" +
		"c,192.0.2.8,d.example.net,no,example.org,mx.example.org,spam,1\n" +
		"m,192.0.2.10,-,yes,,mx.example.org,ham,1\n"
	var out bytes.Buffer
	if err := ConvertCorpus(strings.NewReader(in), &out); err != nil || out.String() != want {
		t.Errorf("%v, got\n%swant\n%s", err, out.String(), want)
	}
	recs, st := collectText(t, testOptions(), out.String())
	if len(recs) != 3 || st.Broken != 0 || recs[1].PTRState != Unconfirmed ||
		recs[2].PTRState != NotRecorded || recs[0].Count != 4 {
		t.Errorf("read back, %d broken:\n%s", st.Broken, showAll(recs))
	}
}

func TestConvertCorpusErrors(t *testing.T) {
	broken := errors.New("broken")
	row := "g,ham,1,a,b,192.0.2.7,postfix,4,2026,mx.example.org,example.org,\n"
	for name, in := range map[string]io.Reader{
		"empty":        strings.NewReader(""),
		"no column":    strings.NewReader("helo,ip\na,192.0.2.7\n"),
		"ragged":       strings.NewReader(corpusHead + "a,b\n"),
		"reader fails": io.MultiReader(strings.NewReader(corpusHead), iotest.ErrReader(broken)),
	} {
		err := ConvertCorpus(in, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), "replay: corpus: ") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "reader fails" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pr, pw := io.Pipe()
	pr.CloseWithError(broken)
	err := ConvertCorpus(strings.NewReader(corpusHead+strings.Repeat(row, 1000)), pw)
	if !errors.Is(err, broken) {
		t.Errorf("writer fails: %v", err)
	}
}
