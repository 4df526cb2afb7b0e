package complaint

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// read returns what a file gives, one text a row: order|kind|contacted|reporter|channel, or why a line is passed over.
func read(t testing.TB, text string, opt Options) (out []string, err error) {
	t.Helper()
	r, err := NewReader(strings.NewReader(text), opt)
	if err != nil {
		return nil, err
	}
	for {
		row, err := r.Next()
		var bad *LineError
		switch {
		case err == io.EOF:
			return out, nil
		case errors.As(err, &bad):
			out = append(out, bad.Error())
		case err != nil:
			return out, err
		default:
			out = append(out, fmt.Sprintf("%d:%s|%s|%s|%s|%s", row.Line, row.Order, row.Kind, row.ContactedAt, row.Reporter, row.Channel))
		}
	}
}

func TestRead(t *testing.T) {
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	f := func(what, text string, opt Options, want ...string) {
		t.Helper()
		got, err := read(t, text, opt)
		if err != nil {
			got = []string{err.Error()}
		}
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	f("the usual", "order,kind,contacted_at,reporter,channel\nA1,scam_call,2026-03-02T09:30:00Z,r1,hotline\nA2,,,,\n", Options{},
		"2:A1|scam_call|2026-03-02T09:30:00Z|r1|hotline", "3:A2||||")
	f("other names in another order, a note that is not read, CRLF, no end of line", "Note,Call Time,Order No,Type\r\n\"he said \"\"hi\"\", twice\",2026-03-02 09:30,A1,Scam Call\r\n,,A2,spam", Options{},
		"2:A1|scam_call|2026-03-02T09:30:00Z||", "3:A2|spam|||")
	f("a byte order mark, semicolons and Chinese names, local time", "\xef\xbb\xbf订单号;类型;来电时间\nA1;spam;2026/3/2 8:05\n", Options{Location: shanghai}, "2:A1|spam|2026-03-02T00:05:00Z||")
	f("carriage returns alone, and a line feed in quotes", "order;note;kind\rA1;\"a\nb\";spam\r\rA2;\"never closed;fraud\rA3;x;fraud\r", Options{}, "2:A1|spam|||", "line 4: a quote is not closed", "5:A3|fraud|||")
	f("two carriage returns and a line feed", "order,kind\r\r\nA1,spam\r\r\n", Options{}, "2:A1|spam|||")
	f("ids with carriage returns", "A1\rA2\r", Options{}, "1:A1||||", "2:A2||||")
	f("no names", "A1,spam,2026-03-02,r1\nA2,fraud,1772443800\n", Options{}, "1:A1|spam|2026-03-02T00:00:00Z|r1|", "2:A2|fraud|2026-03-02T09:30:00Z||")
	f("ids alone", "A1\n\n A2 \n", Options{}, "1:A1||||", "3:A2||||")
	f("a line break in quotes", "order,note,kind\nA1,\"first\nsecond, \",spam\nA2,x,fraud\n", Options{}, "2:A1|spam|||", "4:A2|fraud|||")
	f("an inch is no quote", "order,note,kind\nA1,a 5\" phone,spam\nA2,\"\",fraud\n", Options{}, "2:A1|spam|||", "3:A2|fraud|||")
	f("a quote that is never closed costs one line", "order,kind\nA1,\"spam\nA2,fraud\nA3,spam\n", Options{}, "line 2: a quote is not closed", "3:A2|fraud|||", "4:A3|spam|||")
	f("a line without end costs one line", "order,kind\nA1,"+strings.Repeat("x", 5*maxRecord)+"\nA2,spam\n", Options{}, "line 2: it has over 65536 bytes", "3:A2|spam|||")
	f("no order, no time", "order,kind,contacted_at\n,spam,\nA2,spam,yesterday\nA3,spam,\n", Options{},
		"line 2: it names no order", "line 3: contacted_at is no time: write 2026-03-02 09:30 or 2026-03-02T09:30:00Z", "4:A3|spam|||")
	f("a broken letter", "order,kind\nA\xff1,spam\nA2,spam\n"+strings.Repeat("B,spam\n", 1000)+"", Options{}, append([]string{"line 2: it is not UTF-8", "3:A2|spam|||"}, lines(1000)...)...)
	f("a dump with names", "name,phone,order_id,kind\nLi,138,A1,x\nWu,139,A2,y\n", Options{Dump: true}, "2:A1|dump|||", "3:A2|dump|||")
	f("a dump of ids", "A1\nA2\n", Options{Dump: true}, "1:A1|dump|||", "2:A2|dump|||")
	f("nothing", "", Options{})
	f("GBK", "\xb6\xa9\xb5\xa5\xba\xc5,\xc0\xe0\xd0\xcd\nA1,spam\n", Options{}, "the file cannot be read: it is not UTF-8 but probably GBK; save it as UTF-8, or: iconv -f GB18030 -t UTF-8 FILE")
	f("UTF-16", "\xff\xfeo\x00r\x00", Options{}, "the file cannot be read: it is UTF-16; save it as UTF-8, or: iconv -f UTF-16 -t UTF-8 FILE")
	f("a workbook", "PK\x03\x04\x00\x00", Options{}, "the file cannot be read: it is no text; a workbook must be saved as CSV (UTF-8) first")
	f("another table", "name,age\nLi,30\n", Options{}, "the file cannot be read: its first line names no column of orders; begin it with order,kind,contacted_at,reporter,channel")
}

func lines(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("%d:B|spam|||", i+4))
	}
	return out
}

func TestHeader(t *testing.T) {
	r, err := NewReader(strings.NewReader("order,phone,note\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if there, dropped := r.Header(); !there || strings.Join(dropped, " ") != "phone note" {
		t.Errorf("header %v, %q dropped", there, dropped)
	}
}

// FuzzRead: whatever a file holds, reading ends, lines go up, and rows are within their bounds. Read a few bytes at a
// time it gives the same.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"order,kind\nA1,spam\n", "A1\nA2", "\"a\"\"b\",c\n\"", "order;kind\r\n\"x\ny\";spam", "\xef\xbb\xbforder\n\n,\n", "a,\"b\"c,d\n", "id\t类型\nA\tspam\n"} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, text string, dump bool) {
		opt := Options{Dump: dump}
		got, err := read(t, text, opt)
		r, err2 := NewReader(&drip{text}, opt)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("whole: %v, in drips: %v", err, err2)
		}
		if err != nil {
			return
		}
		last := 0
		for i := 0; ; i++ {
			row, err := r.Next()
			var bad *LineError
			if errors.As(err, &bad) {
				row.Line = bad.Line
			} else if err != nil {
				if err != io.EOF || i != len(got) {
					t.Fatalf("%d rows in drips, %d at once, %v", i, len(got), err)
				}
				return
			} else if row.Order == "" || !utf8.ValidString(row.Order) || len(row.Order) > maxRecord {
				t.Fatalf("row %+v", row)
			}
			if row.Line <= last {
				t.Fatalf("line %d after %d", row.Line, last)
			}
			last = row.Line
		}
	})
}

// drip gives three bytes at a time.
type drip struct{ s string }

func (d *drip) Read(b []byte) (int, error) {
	if d.s == "" {
		return 0, io.EOF
	}
	n := copy(b[:min(3, len(b))], d.s)
	d.s = d.s[n:]
	return n, nil
}

func BenchmarkRead(b *testing.B) {
	text := "order,kind,contacted_at,reporter,channel,note\n" + strings.Repeat("4401234567890123,scam_call,2026-03-02 09:30:00,\"someone\",hotline,\"he said \"\"hi\"\"\"\n", 1000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := NewReader(strings.NewReader(text), Options{})
		if err != nil {
			b.Fatal(err)
		}
		for n := 0; ; n++ {
			if _, err := r.Next(); err == io.EOF {
				if n != 1000 {
					b.Fatal(n)
				}
				break
			}
		}
	}
}
