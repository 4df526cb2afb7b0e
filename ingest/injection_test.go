package ingest

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

var injections = []string{
	"1' OR 1=1--", "1' OR '1'='1", "1 or 1=1", "-1' and 1=1 union/* foo */select load_file('/etc/passwd')--", "1 UNION SELECT name,phone,addr FROM orders LIMIT 50,50--",
	"12' UNION SELECT name,phone,addr FROM orders--", "1' AND SLEEP(3)--", "1) AND SLEEP(5)#", "1;DROP TABLE orders", "1'; EXEC xp_cmdshell('dir');--", "1 AND 1=2 UNION ALL SELECT NULL,NULL",
	"1 AND extractvalue(1,concat(0x7e,(select version())))", "' or ''='", "admin'--", "1' ORDER BY 12--", "1 and (select count(*) from information_schema.tables) > 0",
	"1'/**/union/**/select/**/1,2,3", "x' WAITFOR DELAY '0:0:5'--", "1' || pg_sleep(3)--", "\" or 1=1#", "1' and benchmark(5000000,md5(1))--",
}

var plain = []string{
	"", "1", "20250615120001", "O'Brien", "Zoë d'Arc", "St. John's Rd, 12", "red shoes (size 42)", "select", "order by phone", "union jack flag", "Romeo & Juliet", "a+b=c", "100% cotton",
	"2025-06-15 12:00:00", "2025-06-15T12:00:00+08:00", "a;b;c", "name,phone,address", "-created_at", "*", "x*y", "{\"state\":\"paid\",\"page\":2}", "[1,2,3]", "status:open AND shop:12", "it's 5 o'clock",
	"张三", "北京市朝阳区 (东门)", "\"exact phrase\"", "C++ & C#", "https://shop.example/a?b=c&d=e", "50-60", "1-800-555-0100", "what is a union, and who may select one?", "drop shipping", "table 4", "eyJhbGciOiJIUzI1NiJ9.e30.abc_-",
	"Mozilla/5.0 (X11; Linux x86_64)", "10 or more", "this or that", "1 and 2",
}

// hexed escapes every byte.
func hexed(s string) string {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02x", s[i])
	}
	return b.String()
}

// TestInjected: an injection is seen in a path and in a query, however it is escaped, and ordinary values are not taken for one.
func TestInjected(t *testing.T) {
	var buf [maxInjected]byte
	forms := []func(string) string{
		func(s string) string { return s },
		url.QueryEscape,
		url.PathEscape,
		func(s string) string { return url.PathEscape(url.PathEscape(s)) },
		hexed,
	}
	for _, list := range [][]string{injections, plain} {
		for _, s := range list {
			for i, form := range forms {
				want := &list[0] == &injections[0]
				v := form(s)
				if i == 0 && want && strings.ContainsAny(s, "?&#") { // these end a value that is not escaped
					continue
				}
				if got := injected("/track?page=2&no="+v+"&x=1", &buf); got != want {
					t.Errorf("in a query, form %d: %q is an injection: %t", i, s, got)
				}
				if i > 0 && !strings.Contains(v, "/") && !strings.Contains(v, "+") {
					if got := injected("/track/"+v, &buf); got != want {
						t.Errorf("in a path, form %d: %q is an injection: %t", i, s, got)
					}
				}
			}
		}
	}
}

// TestMark: the mark goes where detectors look, beside what a firewall said, and the values go.
func TestMark(t *testing.T) {
	for _, x := range []struct{ in, want string }{
		{`"type":"http.request","method":"GET","path":"/track?no=1' UNION SELECT name FROM orders--","waf":["920100"]`, `"path":"/track?no=","waf":["920100","moat.sqli"]`},
		{`"type":"http.request","method":"GET","path":"/track","url":"https://s.example/track?no=1%27%20or%201%3D1--"`, `"waf":["moat.sqli"]`},
		{`"type":"api.call","method":"orders.get","url":"/orders?id=1+or+1%3D1"`, `"waf":["moat.sqli"]`},
		{`"type":"http.request","method":"GET","path":"/track?no=O%27Brien"`, `"path":"/track?no="`},
	} {
		got, e, err := normal(t, `{"id":"1","time":1750000000,`+x.in+`}`, acme)
		if err != nil || !strings.Contains(got, x.want) || strings.Contains(got, "SELECT") || strings.Contains(got, "or+1") {
			t.Errorf("%s: %s, %v", x.in, got, err)
		}
		if want := strings.Contains(x.want, InjectionMark); e.Has(moat.FieldWAF) != want {
			t.Errorf("%s: has a waf field: %t", x.in, !want)
		}
	}
}

// FuzzInjected: nothing stops it, and escaping changes nothing.
func FuzzInjected(f *testing.F) {
	for _, s := range append(injections, plain...) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var buf [maxInjected]byte
		injected(s, &buf)
		if len(s) > maxInjected/3 || strings.Contains(s, "%") || !mayInject(s) { // without a sign only what is escaped is looked at
			return
		}
		if a, b := injected("/?a="+url.QueryEscape(s), &buf), injected("/?a="+hexed(s), &buf); a != b {
			t.Errorf("%q is an injection as a form escapes it: %t, in hexadecimal: %t", s, a, b)
		}
	})
}

func BenchmarkInjected(b *testing.B) {
	var buf [maxInjected]byte
	for name, s := range map[string]string{
		"none":      "https://erp.example/orders/list?page=2&size=50&state=paid&from=2025-06-15&shop=12",
		"escaped":   "https://erp.example/orders/list?page=2&name=O%27Brien%20and%20sons&from=2025-06-15T12%3A00%3A00",
		"injection": "/track?no=1%27+UNION+SELECT+name%2Cphone+FROM+orders--",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				injected(s, &buf)
			}
		})
	}
}
