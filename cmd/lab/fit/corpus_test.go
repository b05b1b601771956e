package fit

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const corpusHead = "group,class," +
	"msg_id_hash,helo,rdns,ip,by_style,count,year,by_host,rcpt_domain,flags\n"

func TestConvert(t *testing.T) {
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
	if err := convert(strings.NewReader(in), &out); err != nil || out.String() != want {
		t.Errorf("%v, got\n%swant\n%s", err, out.String(), want)
	}
}

func TestConvertErrors(t *testing.T) {
	broken := errors.New("broken")
	row := "g,ham,1,a,b,192.0.2.7,postfix,4,2026,mx.example.org,example.org,\n"
	for name, in := range map[string]io.Reader{
		"empty":        strings.NewReader(""),
		"no column":    strings.NewReader("helo,ip\na,192.0.2.7\n"),
		"ragged":       strings.NewReader(corpusHead + "a,b\n"),
		"reader fails": io.MultiReader(strings.NewReader(corpusHead), iotest.ErrReader(broken)),
	} {
		err := convert(in, io.Discard)
		if err == nil || !strings.HasPrefix(err.Error(), "corpus: ") {
			t.Errorf("%s: %v", name, err)
		}
		if name == "reader fails" && !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
	pr, pw := io.Pipe()
	pr.CloseWithError(broken)
	err := convert(strings.NewReader(corpusHead+strings.Repeat(row, 1000)), pw)
	if !errors.Is(err, broken) {
		t.Errorf("writer fails: %v", err)
	}
}

func TestCorpus(t *testing.T) {
	const row = "a.example.net,192.0.2.7,b.example.net,yes,example.org,mx.example.org,ham,4\n"
	in := tableFile(t, "in.csv", corpusHead+
		"g,ham,1,a.example.net,b.example.net,192.0.2.7,postfix,4,2026,mx.example.org,example.org,\n")
	for _, test := range []struct {
		args   []string
		status int
		want   string // in what is printed
	}{
		{[]string{in}, 0, "count\n" + row},
		{[]string{"-h"}, 0, "usage: "},
		{nil, 2, "lab corpus takes one file, not 0"},
		{[]string{in, in}, 2, "lab corpus takes one file, not 2"},
		{[]string{"-x", in}, 2, "-x"},
		{[]string{in + ".not"}, 2, "no such file"},
		{[]string{tableFile(t, "other.csv", table)}, 1, `no column "flags"`},
	} {
		var said bytes.Buffer
		status := Corpus(t.Context(), test.args, &said, &said)
		if status != test.status || !strings.Contains(said.String(), test.want) {
			t.Errorf("%q: status %d, %q", test.args, status, said.String())
		}
	}
}
