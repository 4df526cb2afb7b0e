package ingest

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func newNormaliser(t testing.TB) *Normaliser {
	t.Helper()
	n, err := NewNormaliser(testKey)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

const noon = moat.Time(1_750_000_000) * moat.Second

var acme = Caller{Partner: "acme", App: "erp", KeyID: "k1"}

// normal decodes and normalises one event, and returns its JSON.
func normal(t testing.TB, line string, from Caller) (string, *moat.Event, error) {
	t.Helper()
	d := moat.Decoder{AllowPartner: from.Operator}
	e := new(moat.Event)
	if err := d.Decode([]byte(line), e); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	err := newNormaliser(t).Normalise(e, from, noon)
	return string(moat.AppendJSON(nil, e)), e, err
}

func TestNormalise(t *testing.T) {
	const head = `{"id":"1","time":1750000000,"type":"order.access","actor":"a","count":1,`
	tests := []struct{ name, in, want string }{
		{"address is shortened", `"operation":"view","ip":"2001:DB8:0:0::1"`, `"ip":"2001:db8::1"`},
		{"IPv4 in IPv6", `"operation":"view","ip":"::ffff:192.0.2.1"`, `"ip":"192.0.2.1"`},
		{"IPv4 stays", `"operation":"view","ip":"192.0.2.1"`, `"ip":"192.0.2.1"`},
		{"no device", `"operation":"view","device":"0000000000"`, `"device":""`},
		{"a device", `"operation":"view","device":"0000000001"`, `"device":"0000000001"`},
		{"free text", `"operation":"批量导出订单"`, `"operation":"export_list"`},
		{"free text is kept", `"operation":"批量导出订单"`, `"extra":{"operation_text":"批量导出订单"}`},
		{"free text joins extra", `"operation":"Print \"A\"","extra":{"x":1}`, `"extra":{"x":1,"operation_text":"Print \"A\""}`},
		{"unknown text stays", `"operation":"摇一摇"`, `"operation":"摇一摇"`},
		{"system", `"operation":"view","actor":"系统"`, `"actor":"system","actor_kind":"system"`},
		{"SYSTEM", `"operation":"view","actor":"SYSTEM"`, `"actor":"system","actor_kind":"system"`},
		{"actor is verbatim", `"operation":"view","actor":"13800138000"`, `"actor":"13800138000"`},
		{"url", `"operation":"view","url":"https://u:p@h.example/a/b?order=12&x#top"`, `"url":"https://h.example/a/b?order=&x"`},
		{"phone in a reason", `"operation":"view","reason":"call 13800138000 now"`, `"reason":"call [phone:`},
		{"user agent is verbatim", `"operation":"view","user_agent":"x 13800138000"`, `"user_agent":"x 13800138000"`},
		{"no outcome", `"operation":"view","status":404`, `"outcome":"failure"`},
		{"refused", `"operation":"view","status":403`, `"outcome":"denied"`},
		{"an outcome counts more than a status", `"operation":"view","status":404,"outcome":"success"`, `"outcome":"success"`},
		{"app from the key", `"operation":"view"`, `"app":"erp"`},
		{"partner from the key", `"operation":"view"`, `"partner":"acme"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := head + tt.in + "}"
			got, e, err := normal(t, in, acme)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if e.Received != noon || e.Flags != 0 {
				t.Errorf("received %v, flags %b", e.Received, e.Flags)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
		})
	}
}

func TestRefusedEvents(t *testing.T) {
	operator := Caller{Operator: true}
	tests := []struct {
		name, line string
		from       Caller
		code       string
	}{
		{"another app", `{"time":1750000000,"type":"auth.logout","actor":"a","app":"oms"}`, acme, moat.CodeForbidden},
		{"more orders than there are", `{"time":1750000000,"type":"order.access","actor":"a","operation":"export","count":1000000001}`, acme, moat.CodeValue},
		{"more rows than there are", `{"time":1750000000,"type":"order.access","actor":"a","operation":"export","count":1,"rows":9223372036854775807}`, acme, moat.CodeValue},
		{"a sighting by a partner", `{"time":1750000000,"type":"sighting","kind":"warning","name":"across.campaign_address","extra":{}}`, acme, moat.CodeForbidden},
		{"a sighting by the operator", `{"time":1750000000,"type":"sighting","kind":"met","outlet":"x","partner":"acme"}`, operator, moat.CodeForbidden},
		{"a sighting of everyone", `{"time":1750000000,"type":"sighting","kind":"met","outlet":"x","partner":"*"}`, operator, moat.CodeForbidden},
		{"no partner at all", `{"time":1750000000,"type":"auth.logout","actor":"a"}`, operator, moat.CodeMissing},
		{"strange partner", `{"time":1750000000,"type":"auth.logout","actor":"a","partner":"a b"}`, operator, moat.CodeValue},
		{"not a partner's to say", `{"time":1750000000,"type":"complaint","orders":["1"]}`, acme, moat.CodeForbidden},
		{"nor this", `{"time":1750000000,"type":"order.served","app":"erp","count":1}`, acme, moat.CodeForbidden},
		{"bad address", `{"time":1750000000,"type":"auth.logout","actor":"a","ip":"300.1.1.1"}`, acme, moat.CodeValue},
		{"address with port", `{"time":1750000000,"type":"auth.logout","actor":"a","ip":"192.0.2.1:80"}`, acme, moat.CodeValue},
		{"address with zone", `{"time":1750000000,"type":"auth.logout","actor":"a","ip":"fe80::1%eth0"}`, acme, moat.CodeValue},
	}
	for _, tt := range tests {
		_, _, err := normal(t, tt.line, tt.from)
		var p *moat.Problem
		if !errors.As(err, &p) || p.Code != tt.code {
			t.Errorf("%s: got %v, want code %s", tt.name, err, tt.code)
		}
	}
	if got, _, err := normal(t, `{"time":1750000000,"type":"complaint","orders":["1"],"partner":"b"}`, operator); err != nil || !strings.Contains(got, `"partner":"b"`) {
		t.Errorf("operator: %s, %v", got, err)
	}
}

func TestClockFlag(t *testing.T) {
	for d, want := range map[moat.Time]bool{0: false, 5 * moat.Minute: false, 5*moat.Minute + 1: true, -30 * moat.Day: false, -30*moat.Day - 1: true, 3650 * moat.Day: true, -3650 * moat.Day: true} {
		e := moat.Event{Type: moat.AuthLogout, Actor: "a", Time: noon + d}
		if err := newNormaliser(t).Normalise(&e, acme, noon); err != nil {
			t.Fatal(err)
		}
		if got := e.Flags&moat.FlagClock != 0; got != want {
			t.Errorf("clock %v s off: flagged %v", d/moat.Second, got)
		}
	}
}

// TestID: without an id an event is named by its content, and by nothing else.
func TestID(t *testing.T) {
	const a = `{"time":1750000000,"type":"http.request","method":"GET","path":"/a?x=1"}`
	_, e1, _ := normal(t, a, acme)
	_, e2, _ := normal(t, a, acme)
	_, e3, _ := normal(t, strings.Replace(a, "x=1", "x=2", 1), acme)
	_, e4, _ := normal(t, a, Caller{Partner: "b", App: "erp"})
	if e1.ID != e2.ID || !regexp.MustCompile(`^[a-z2-7]{26}$`).MatchString(e1.ID) {
		t.Errorf("ids %s and %s", e1.ID, e2.ID)
	}
	if e3.ID == e1.ID || e4.ID == e1.ID || e3.Path != e1.Path {
		t.Errorf("different events have the same id, or a stripped value came in")
	}
}

func TestLocation(t *testing.T) {
	for in, want := range map[string]string{
		"/":                                      "/",
		"/a?":                                    "/a?",
		"/a?x=1&y=2":                             "/a?x=&y=",
		"/a?x=1;y=2&&z":                          "/a?x=&y=&z",
		"/a?x=1?y=2":                             "/a?x=&y=",
		"/a;jsessionid=ABC/b;v=1?q=%20#frag?z=1": "/a;jsessionid=/b;v=?q=",
		"https://me:secret@h.example:8/p?q=a@b":  "https://h.example:8/p?q=",
		"https://me:secret@h.example":            "https://h.example",
		"https://a@b@h.example/":                 "https://h.example/",
		"/a?13800138000":                         "/a?_",
		"/a?" + strings.Repeat("k", 65) + "=1":   "/a?_=",
		"/a?wsdl":                                "/a?wsdl",
		"/a?eyJhbGciOiJIUzI1NiJ9abcdefghijklmnop": "/a?_",
		"订单导出?单号=123":                             "订单导出?单号=",
		"#13800138000":                            "",
	} {
		if got := string(appendLocation(nil, in)); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestOperation(t *testing.T) {
	for in, want := range map[string]string{
		"view": "view", "api_pull": "api_pull", "export_list": "export_list",
		"打印": "print", "批量打印快递单": "print_list", "导出": "export", "导出订单列表": "export_list", "下载": "download", "查询": "search",
		"查看": "view", "查看订单列表": "view_list", "订单列表": "view_list", "解密": "decrypt", "查看明文": "decrypt", "修改": "modify", "删除": "delete", "发送": "send", "推送": "send",
		"exportOrders": "export", "ORDER_EXPORT_ALL": "export_list", "reprint": "print", "getOrderDetail": "view", "QueryOrder": "search", "re-send": "send",
		"download excel": "download", "deleteOrder": "delete", "thread": "", "摇一摇": "", "blueprint": "", "": "",
	} {
		if got := operationOf(in); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestScrub(t *testing.T) {
	tests := []struct {
		in  string
		url bool
		out string // P and E stand for a phone's and an e-mail's token
	}{
		{"13800138000", false, "P"},
		{"tel:13800138000.", false, "tel:P."},
		{"联系13800138000谢谢", false, "联系P谢谢"},
		{"138-0013-8000 138 0013 8000", false, "P P"},
		{"+8613800138000 and 8613800138000 and 008613800138000", false, "P and P and P"},
		{"+1 (415) 555-0123, +44 20 7946 0958; +33.6.12.34.56.78", false, "P, P; P"},
		{"order 138001380001 12800138000 1750000000 1750000000000", false, "order 138001380001 12800138000 1750000000 1750000000000"},
		{"1+1 = 2, C++ +12 +1234567", false, "1+1 = 2, C++ +12 +1234567"},
		{"a.b+c@mail.example.com", false, "E"},
		{"写给foo@bar.cn。", false, "写给E。"},
		{"write to Foo@Bar.CN.", false, "write to E."},
		{"张三@例子.中国", false, "E"},
		{"root@10.0.0.1 user@host @x a@ @", false, "root@10.0.0.1 user@host @x a@ @"},
		{"/u/a%40b.com/x", true, "/u/E/x"},
		{"/u/%2B14155550123/x", true, "/u/P/x"},
		{"/u/13800138000/orders/4412345678901", true, "/u/P/orders/4412345678901"},
		{"a@b.com,c@d.com", false, "E,E"},
		{"", false, ""},
	}
	token := regexp.MustCompile(`\[(phone|email):[0-9a-f]{8}\]`)
	for _, tt := range tests {
		n := newNormaliser(t)
		got := n.scrub(tt.in, tt.url, moat.FieldArgs)
		short := token.ReplaceAllStringFunc(got, func(s string) string { return strings.ToUpper(s[1:2]) })
		if short != tt.out {
			t.Errorf("%s: got %s, want %s", tt.in, got, tt.out)
		}
	}
	n := newNormaliser(t)
	same := n.scrub("13800138000|+8613800138000|138-0013-8000|+86 138 0013 8000", false, moat.FieldArgs)
	parts := strings.Split(same, "|")
	for _, p := range parts {
		if p != parts[0] {
			t.Errorf("one phone has several tokens: %s", same)
		}
	}
	if a, b := n.scrub("A@b.com", false, moat.FieldArgs), n.scrub("a%40B.com", true, moat.FieldURL); a != b {
		t.Errorf("one address has two tokens: %s %s", a, b)
	}
	other, _ := NewNormaliser([]byte("another key of it"))
	if other.scrub("13800138000", false, moat.FieldArgs) == parts[0] {
		t.Error("the hash does not depend on the key")
	}
}

func TestScrubExtra(t *testing.T) {
	for in, want := range map[string]string{
		`{"phone":13800138000,"n":[8613800138000, 5]}`:    `{"phone":"P","n":["P", 5]}`,
		`{"a":"x\n13800138000\"b@c.com"}`:                 `{"a":"x\nP\"E"}`,
		`{"a":"\u4e2013800138000\u002B14155550123"}`:      `{"a":"\u4e20P\u002B14155550123"}`,
		`{"a":"x \u002B14155550123 a\u0040b.com \u0022"}`: `{"a":"x P E \u0022"}`,
		`{"13800138000":1.5e3,"z":-13800138000}`:          `{"P":1.5e3,"z":-13800138000}`,
		`{"a":"\\13800138000\\"}`:                         `{"a":"\\P\\"}`,
		`{"a":true}`:                                      `{"a":true}`,
	} {
		e := &moat.Event{Extra: in}
		n := newNormaliser(t)
		n.extra(e)
		got := regexp.MustCompile(`\[(phone|email):[0-9a-f]{8}\]`).ReplaceAllStringFunc(e.Extra, func(s string) string { return strings.ToUpper(s[1:2]) })
		if strings.Contains(in, `0\u002B1`) { // digits before: the + begins a number all the same
			want = strings.Replace(want, `\u002B14155550123`, `P`, 1)
		}
		if got != want || !json.Valid([]byte(e.Extra)) {
			t.Errorf("%s:\ngot  %s\nwant %s", in, got, want)
		}
	}
}

func TestTemplate(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"SELECT * FROM Orders WHERE id=12 AND name = '张三'":              "select * from orders where id = ? and name = ?",
		"select a,b from t where x in (1, 2,3)  -- tail 5":              "select a, b from t where x in (?)",
		"select a , b from t where x IN('a','b')":                       "select a, b from t where x in (?)",
		"INSERT INTO t(a,b) VALUES (1,'x'),(2,'y''z') ;":                "insert into t(a, b) values (?);",
		"select count( * ) from t /* by bob */ limit 10,20":             "select count(*) from t limit ?",
		"select /*!50001 -1 */, +2, a-1, a - 1":                         "select ?, a - ?, a - ?",
		"select 0x1F, 1.5e-10, .5, X'ab', N'x', _utf8'y', 1e5":          "select ?",
		`select "name" from "public"."orders" where "c"."x" = "secret"`: "select ? from public.orders where c.x = ?",
		"select `order`.`id` from `my-db`.t":                            "select order.id from my_db.t",
		"select $1, :name, ?, $tag$se'cret$tag$ , x":                    "select ? …",
		"select $1, :name, ?, $$secret$$, x::text":                      "select ?, x :: text",
		`select * from t where a = 'O\'Brien' and b = 'x'`:              "select * from t where a = ? …",
		`select * from t where a = 'c:\dir' and b = '\\'`:               "select * from t where a = ? and b = ?",
		"select q'[it]', x from t where a = q'(it's)'":                  "select ?, x from t where a = ? …",
		"select 'unterminated":                                          "select ?",
		"a# comment 'x\nb":                                              "a b",
		"/* a /* b */ 'secret' */ select 1":                             "select ?",
		"select trim(both 'x' from \"Alice\") from \"orders\"":          "select trim(both ? from ?) from orders",
		"update t set a=a+1,b='x' where c>=-5":                          "update t set a = a + ?, b = ? where c >= ?",
		"select 'a' 'b'\n'c' from t":                                    "select ? from t",
		"select * from t where d between '1' and '2'":                   "select * from t where d between ? and ?",
		"select 张三 from 订单":                                             "select 张三 from 订单",
		"call p(1,(2),((3)))":                                           "call p(?, (?), ((?)))",
	} {
		got := string(appendTemplate(nil, in))
		if got != want {
			t.Errorf("%s\ngot  %s\nwant %s", in, got, want)
		}
		if again := string(appendTemplate(nil, got)); again != got {
			t.Errorf("%s: twice gives %s", got, again)
		}
	}
	long := "select " + strings.Repeat("订a=1 and ", 4000)
	if got := appendTemplate(nil, long); len(got) > moat.Fields[moat.FieldTemplate].Max || !strings.HasSuffix(string(got), "…") {
		t.Errorf("%d bytes, ends with %q", len(got), got[len(got)-8:])
	}
}

// statement writes a random statement with secrets in every place for literals.
func statement(r *rand.Rand) (sql string, secrets []string) {
	var b strings.Builder
	secret := func() string {
		s := "zq" + strings.Repeat(string(rune('a'+r.IntN(26))), 3) + "x"
		secrets = append(secrets, s)
		return s
	}
	number := func() string {
		s := "77" + strings.Repeat(string(rune('0'+r.IntN(10))), 4)
		secrets = append(secrets, s)
		return s
	}
	literal := func() string {
		switch r.IntN(16) {
		case 0:
			return number()
		case 1:
			return "-" + number() + ".5e3"
		case 2:
			return "0x" + number()
		case 3:
			return `"` + secret() + `"`
		case 4:
			return `'` + secret() + `\' or ` + secret() + `'`
		case 5:
			return `'it''s ` + secret() + `'`
		case 6:
			return "$a$" + secret() + "$a$"
		case 7:
			return "q'[" + secret() + "]'"
		case 8:
			return "e'" + secret() + `\\'`
		case 9:
			return "_utf8'" + secret() + "'"
		case 10:
			return "trim(both '" + secret() + "' from \"" + secret() + "\")"
		case 11:
			return `"` + secret() + `\" ` + secret() + `"`
		case 12:
			return "'/* " + secret() + "'"
		case 13:
			return "'-- " + secret() + "'"
		case 14:
			return "/* " + secret() + " '*/ " + number() + " -- " + secret() + "\n"
		}
		return "'" + secret() + "'"
	}
	b.WriteString("select a from t where x = ")
	b.WriteString(literal())
	for range r.IntN(5) {
		switch r.IntN(4) {
		case 0:
			b.WriteString(" and y in (" + literal() + ", " + literal() + ")")
		case 1:
			b.WriteString(" or f(" + literal() + ") <> " + literal())
		case 2:
			b.WriteString(" union select " + literal() + "," + literal() + " from `u`")
		case 3:
			b.WriteString(" and z like " + literal())
		}
	}
	sql = b.String()
	if r.IntN(4) == 0 { // as cut by a logger
		cut := r.IntN(len(sql))
		sql = sql[:cut]
	}
	return sql, secrets
}

// checkTemplate says what in a template cannot be right.
func checkTemplate(t *testing.T, in string) {
	t.Helper()
	got := string(appendTemplate(nil, in))
	if strings.ContainsAny(got, "'\"`") {
		t.Errorf("a quote survived: %q\nof %q", got, in)
	}
	for i := range len(got) {
		if isDigit(got[i]) && (i == 0 || !isWord(got[i-1])) {
			t.Errorf("a number survived: %q\nof %q", got, in)
		}
	}
	if len(got) > moat.Fields[moat.FieldTemplate].Max {
		t.Errorf("template of %d bytes", len(got))
	}
}

func TestNoLiteralSurvives(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		sql, secrets := statement(r)
		got := string(appendTemplate(nil, sql))
		for _, s := range secrets {
			if strings.Contains(got, s) {
				t.Fatalf("%q survived\n%s\n%s", s, sql, got)
			}
		}
		checkTemplate(t, sql)
	}
}

func FuzzTemplate(f *testing.F) {
	f.Add(uint64(1), "select * from t where a='x'")
	f.Add(uint64(2), `"a".'b'\'`+"`c`--")
	f.Add(uint64(3), "((((1")
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		checkTemplate(t, text)
		r := rand.New(rand.NewPCG(seed, 7))
		sql, secrets := statement(r)
		got := string(appendTemplate([]byte("before "), sql))
		for _, s := range secrets {
			if strings.Contains(got, s) {
				t.Fatalf("%q survived\n%s\n%s", s, sql, got)
			}
		}
	})
}

// FuzzScrub: what is scrubbed stays valid, holds no plain phone number or
// address any more, and does not change when scrubbed again.
func FuzzScrub(f *testing.F) {
	f.Add("a 13800138000 b@c.de +14155550123", false)
	f.Add(`{"a":"\u002b8613800138000","b":13800138000}`, true)
	f.Add(`a%40b.com@@+++138-0013-8000`, true)
	phone := regexp.MustCompile(`(^|[^0-9])1[3-9][0-9]{9}($|[^0-9])`)
	email := regexp.MustCompile(`[A-Za-z0-9]@[a-z0-9]+\.[a-z]{2}`)
	f.Fuzz(func(t *testing.T, s string, url bool) {
		n := newNormaliser(t)
		got := n.scrub(s, url, moat.FieldExtra)
		if phone.MatchString(got) || email.MatchString(got) {
			t.Errorf("%q left %q", s, got)
		}
		if json.Valid([]byte(s)) && strings.HasPrefix(s, "{") {
			e := &moat.Event{Extra: s}
			n.extra(e)
			if !json.Valid([]byte(e.Extra)) || phone.MatchString(e.Extra) && !strings.Contains(e.Extra, "-") && !strings.Contains(e.Extra, ".") && !strings.Contains(e.Extra, `\`) {
				t.Errorf("%q left %q", s, e.Extra)
			}
		}
	})
}

func FuzzLocation(f *testing.F) {
	f.Add("https://u:p@h/a;b=1/c?x=1&y#z")
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendLocation(nil, s))
		if strings.ContainsRune(got, '#') || len(got) > len(s)+1+strings.Count(s, ";")+strings.Count(s, "&")+strings.Count(s, "?") {
			t.Errorf("%q: %q", s, got)
		}
		if _, query, ok := strings.Cut(got, "?"); ok {
			for part := range strings.SplitSeq(query, "&") {
				if _, v, ok := strings.Cut(part, "="); ok && v != "" {
					t.Errorf("%q: value %q survived", s, v)
				}
			}
		}
	})
}

func TestNormaliseAllocatesNothing(t *testing.T) {
	d := moat.NewDecoder()
	n := newNormaliser(t)
	e := new(moat.Event)
	line := []byte(`{"id":"1","time":1750000000,"type":"order.access","actor":"a","count":1,"operation":"导出","ip":"::ffff:1.2.3.4","url":"/a?b=1","reason":"13800138000"}`)
	if allocs := testing.AllocsPerRun(100, func() {
		if d.Decode(line, e) != nil || n.Normalise(e, acme, noon) != nil {
			t.Fatal("refused")
		}
		d.Release()
	}); allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}

func BenchmarkNormalise(b *testing.B) {
	for name, line := range map[string]string{
		"plain": string(sampleLine(1)),
		"dirty": `{"id":"1","time":1750000000,"type":"order.access","actor":"a","count":1,"operation":"导出","ip":"::ffff:1.2.3.4","url":"/a?b=1","reason":"13800138000"}`,
		"no id": `{"time":1750000000,"type":"order.access","actor":"a","count":1,"operation":"view","ip":"1.2.3.4","url":"/a"}`,
		"sql":   `{"id":"1","time":1750000000,"type":"db.query","actor":"a","statement":"select id, name, phone, address from trade_order where shop_id = 12 and created >= '2025-01-01' and status in (1,2,3,4) limit 100"}`,
	} {
		b.Run(name, func(b *testing.B) {
			d, n, first, e := moat.NewDecoder(), newNormaliser(b), new(moat.Event), new(moat.Event)
			if err := d.Decode([]byte(line), first); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				*e = *first
				if err := n.Normalise(e, acme, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What looks like an IPv4 address in its one form must be one.
func FuzzPlainIPv4(f *testing.F) {
	for _, s := range []string{"1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "01.2.3.4", "1.2.3", "1.2.3.4.5", "1..2.3", "1.2.3.", ".1.2.3",
		"1.2.3.00", "1.2.3.4 ", "::ffff:1.2.3.4", "1.2.3.4%eth0", "٣.2.3.4", "99999999999999999999.1.1.1", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := netip.ParseAddr(s)
		if want := err == nil && a.Is4() && a.String() == s; plainIPv4(s) != want {
			t.Errorf("%q: %v, want %v", s, plainIPv4(s), want)
		}
	})
}
