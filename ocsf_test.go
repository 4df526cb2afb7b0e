package moat

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// golden compares got with the file, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	var b bytes.Buffer
	if err := json.Indent(&b, got, "", "\t"); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	b.WriteByte('\n')
	file := filepath.Join("testdata", "ocsf", name+".json")
	if *update {
		if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, b.Bytes()) {
		t.Errorf("%s differs (go test -run OCSF -update writes it):\n%s", file, b.String())
	}
}

// fullEvents has for each type an event with what the contract says it may carry.
var fullEvents = map[string]string{
	"auth.login":     `"actor":"li","outcome":"denied","method":"password","mfa":false,"ip":"203.0.113.57","device":"d-1","user_agent":"Mozilla/5.0","reason":"wrong password","app":"erp","session":"s1","role":"packer","extra":{"try":3}`,
	"auth.logout":    `"actor":"li","session":"s1"`,
	"auth.challenge": `"actor":"li","outcome":"challenged","method":"passkey","host":"web-1"`,
	"account.change": `"actor":"boss","actor_kind":"admin","object":"li","change":"role","before":"packer","after":"manager","ip":"203.0.113.57"`,
	"order.access":   `"actor":"li","operation":"export","orders":["o1","o2"],"shops":["s-1"],"count":2,"fields":["name","phone"],"encrypted":false,"bytes":2310,"file_hash":"9f86d081","url":"https://erp.example/export","ip":"203.0.113.57","outlet":"out-9","server_name":"web-1"`,
	"order.transmit": `"orders":["o1"],"destination":"sms-gateway","destination_kind":"sms","fields":["phone"],"encrypted":true,"bytes":80,"actor":"system","actor_kind":"system","app":"erp"`,
	"order.served":   `"app":"erp","orders":["o1","o2"],"shops":["s-1"],"method":"trade.fullinfo.get"`,
	"data.decrypt":   `"actor":"li","count":40,"purpose":"print waybill","fields":["phone"],"outcome":"success","orders":["o1"],"ip":"2001:db8::1"`,
	"data.delete":    `"count":1200,"reason":"retention","actor":"system","actor_kind":"system"`,
	"db.query":       `"actor":"dba","statement":"SELECT * FROM t_order WHERE id = ?","db":"orders-rw","tables":["t_order"],"rows":9000,"duration_ms":1250,"client":"navicat","bytes":120000,"ip":"10.0.0.7"`,
	"api.call":       `"method":"erp.order.get","status":200,"latency_ms":35,"orders":["o1"],"key_id":"k-7","actor":"svc","actor_kind":"service","app":"erp"`,
	"http.request":   `"method":"post","path":"/orders/export","url":"https://erp.example/orders/export?page=","status":403,"bytes":512,"referer":"https://erp.example/","waf":["942100"],"latency_ms":7,"ip":"203.0.113.57","user_agent":"curl/8","host":"web-1","app":"erp"`,
	"host.login":     `"actor":"root","host":"db-1","outcome":"failure","method":"publickey","service":"sshd","ip":"203.0.113.57"`,
	"host.process":   `"host":"db-1","exe":"/usr/bin/mysqldump","args":"--all-databases","parent":"/bin/bash","user":"mysql","pid":4711,"hash":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"`,
	"host.file":      `"host":"web-1","path":"/var/www/up/x.jsp","operation":"create","hash":"d41d8cd98f00b204e9800998ecf8427e","user":"www","verdict":"webshell"`,
	"host.network":   `"host":"db-1","peer":"198.51.100.9","port":443,"direction":"out","bytes":1048576,"exe":"/usr/bin/curl"`,
	"host.malware":   `"host":"web-1","path":"C:\\up\\x.exe","name":"Trojan.Gen","hash":"da39a3ee5e6b4b0d3255bfef95601890afd80709","action":"quarantined"`,
	"client.signal":  `"device":"d-1","webdriver":true,"headless":true,"tampered":false,"script":"https://evil.example/x.js","timezone":"Asia/Shanghai","language":"zh-CN","ip":"203.0.113.57","actor":"li"`,
	"complaint":      `"orders":["o1"],"kind":"scam_call","contacted_at":"2025-11-20T02:00:00Z"`,
	"canary.touch":   `"orders":["o-canary"],"token":"tok-1","channel":"erp:list"`,
	"heartbeat":      `"host":"web-1","app":"agent","version":"1.2.3","seq":7,"sent":900`,
	"sighting":       `"kind":"met","outlet":"x1","ip":"x2","token":"x3"`,
}

// requiredByClass are the attributes that the schema requires, at the paths where they must be.
var requiredByClass = map[int][]string{
	ocsfFile:           {"actor", "device.type_id", "file.name", "file.type_id"},
	ocsfProcess:        {"actor", "device.type_id", "process.name"},
	ocsfDetection:      {"finding_info.uid"},
	ocsfIncident:       {"finding_info_list", "status_id", "assignee_group"},
	ocsfDataSecurity:   {"finding_info.uid", "data_security.data_lifecycle_state_id"},
	ocsfAccountChange:  {"user.uid"},
	ocsfAuthentication: {"user.uid"},
	ocsfNetwork:        {"src_endpoint", "dst_endpoint", "connection_info.direction_id"},
	ocsfHTTP:           {"http_request.url", "src_endpoint"},
	ocsfInventory:      {"device.type_id"},
	ocsfWebResources:   {"web_resources"},
	ocsfLifecycle:      {"app.name"},
	ocsfAPI:            {"actor", "api.operation", "src_endpoint"},
	ocsfDatastore:      {"actor", "src_endpoint", "type_id"},
}

var requiredByAll = []string{"activity_id", "category_uid", "class_uid", "metadata.product.name", "metadata.version", "severity_id", "status_id", "time", "type_uid"}

// checkOCSF fails unless b has what its class requires and consistent numbers.
func checkOCSF(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(b, &o); err != nil {
		t.Fatal(err)
	}
	number := func(name string) int { f, _ := o[name].(float64); return int(f) }
	class := number("class_uid")
	if requiredByClass[class] == nil {
		t.Fatalf("class %d is not in the test's table", class)
	}
	for _, path := range slices.Concat(requiredByAll, requiredByClass[class]) {
		var at any = o
		for _, name := range strings.Split(path, ".") {
			in, _ := at.(map[string]any)
			if at = in[name]; at == nil {
				t.Errorf("class %d: no %s in %s", class, path, b)
			}
		}
	}
	if number("category_uid") != class/1000 || number("type_uid") != class*100+number("activity_id") {
		t.Errorf("class %d: category %d, type %d, activity %d", class, number("category_uid"), number("type_uid"), number("activity_id"))
	}
	if number("activity_id") == ocsfOther && o["activity_name"] == nil {
		t.Errorf("class %d: an activity without number or name", class)
	}
	return o
}

func TestOCSF(t *testing.T) {
	if len(fullEvents) != int(EventTypes)-1 {
		t.Fatalf("%d types in the test's table, want %d", len(fullEvents), EventTypes-1)
	}
	for name, members := range fullEvents {
		t.Run(name, func(t *testing.T) {
			line := `{"id":"e1","time":"2025-11-21T08:00:00.123Z","type":"` + name + `",` + members + `}`
			var e Event
			if err := NewDecoder().Decode([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			e.Partner, e.Received = "p-river", e.Time+Second
			b, err := OCSF(&e)
			if err != nil {
				t.Fatal(err)
			}
			checkOCSF(t, b)
			golden(t, name, b)
			nothingLost(t, &e, b)
		})
	}
}

// nothingLost fails unless every value of e is somewhere in b.
func nothingLost(t *testing.T, e *Event, b []byte) {
	t.Helper()
	for i := 1; i < int(FieldsEnd); i++ {
		f := &Fields[i]
		for _, s := range append(slices.Clone(f.List(e)), f.Text(e)) {
			text := string(appendQuoted(nil, s))
			if s != "" && e.Has(f.ID) && f.Kind != KindEnum && f.Kind != KindObject && !bytes.Contains(bytes.ToLower(b), bytes.ToLower([]byte(text[1:len(text)-1]))) {
				t.Errorf("%s %q is lost in %s", f.Name, s, b)
			}
		}
		if f.Kind == KindInt && e.Has(f.ID) && !bytes.Contains(b, f.appendJSON(nil, e)) {
			t.Errorf("%s %d is lost in %s", f.Name, f.Number(e), b)
		}
	}
}

func TestOCSFOfLittle(t *testing.T) {
	for typ := AuthLogin; typ < EventTypes; typ++ {
		for pick := range 2 { // of each group the first, the last
			e := &Event{Type: typ, Time: Second}
			for _, group := range typ.Needs() {
				f := &Fields[group[min(pick, len(group)-1)]]
				switch f.Kind {
				case KindString:
					*f.stringOf(e) = "x"
				case KindStrings:
					*f.stringsOf(e) = []string{"x"}
				case KindInt:
					*f.intOf(e) = 1
				}
				e.Mark(f.ID)
			}
			e.MarkAll()
			if err := e.Check(); err != nil {
				t.Fatal(err)
			}
			b, err := OCSF(e)
			if err != nil {
				t.Fatal(err)
			}
			if o := checkOCSF(t, b); o["metadata"].(map[string]any)["event_code"] != typ.String() {
				t.Errorf("%s: %s", typ, b)
			}
			nothingLost(t, e, b)
		}
	}
	for _, e := range []*Event{{}, {Type: EventTypes}} {
		if b, err := AppendOCSF([]byte("kept"), e); err == nil || string(b) != "kept" {
			t.Errorf("an event without type: %s, %v", b, err)
		}
	}
	e := &Event{Type: AuthLogout, Extra: "{"}
	e.MarkAll()
	if b, err := OCSF(e); err == nil {
		t.Errorf("an extra that is not JSON: %s", b)
	}
}

func TestOCSFActivities(t *testing.T) {
	f := func(typ EventType, set func(*Event), want int) {
		t.Helper()
		e := &Event{Type: typ, Time: Second}
		set(e)
		e.MarkAll()
		b, err := OCSF(e)
		if err != nil {
			t.Fatal(err)
		}
		if o := checkOCSF(t, b); o["activity_id"] != float64(want) {
			t.Errorf("%s: activity %v, want %d", b, o["activity_id"], want)
		}
	}
	operation := func(s string) func(*Event) { return func(e *Event) { e.Operation, e.Path, e.Host = s, "/x", "web-1" } }
	method := func(s string) func(*Event) { return func(e *Event) { e.Method, e.Path = s, "/x" } }
	f(OrderAccess, operation("view_list"), 2)
	f(OrderAccess, operation("search"), 5)
	f(OrderAccess, operation("print"), 7)
	f(OrderAccess, operation("查看"), ocsfOther)
	f(HostFile, operation("delete"), 4)
	f(HostFile, operation("link"), ocsfOther)
	f(HTTPRequest, method("patch"), 9)
	f(HTTPRequest, method("BREW"), ocsfOther)
	f(APICall, method("taobao.trades.sold.get"), 2)
	f(APICall, method("createOrder"), 1)
	f(APICall, method("/order/delete"), 4)
	f(APICall, method("pop.order.updateStatus"), 3)
	f(APICall, method("ping"), ocsfOther)
	f(AccountChange, func(e *Event) { e.Object, e.Change = "x", "password" }, 3)
	f(AccountChange, func(e *Event) { e.Object, e.Change = "x", "phone" }, ocsfOther)
}

func TestOCSFFinding(t *testing.T) {
	f := &Finding{ID: "f_abc", Time: 1_763_712_000_123_000, Partner: "p-river", Detector: "exfil.bulk_export", Dimension: "A12", Family: "exfil", Title: "Bulk export",
		Mode: Enforce, Entity: Entity{Account, "li"}, Related: []Entity{{IP, "203.0.113.57"}, {Device, "d-1"}, {App, "erp"}}, Score: 0.91, Reason: "300 orders in an hour <usual: 9>",
		Evidence: []Evidence{{"orders_1h", 300}, {"baseline", 9.5}}, Events: []string{"e2", "e1"}, Orders: 300, Weight: 0.8, Egress: true, Attack: []string{"T1530", "T1078.004"}}
	b, err := OCSFFinding(f)
	if err != nil {
		t.Fatal(err)
	}
	checkOCSF(t, b)
	golden(t, "finding", b)
	for score, want := range map[float64]float64{0: ocsfLow, 0.5: ocsfMedium, 0.8: ocsfHigh} {
		b, err := OCSFFinding(&Finding{ID: "f", Score: score, Mode: Shadow})
		if err != nil {
			t.Fatal(err)
		}
		if o := checkOCSF(t, b); o["severity_id"] != want || o["is_alert"] != false {
			t.Errorf("score %v: severity %v, want %v", score, o["severity_id"], want)
		}
	}
}

func BenchmarkOCSF(b *testing.B) {
	e := benchEvent()
	b.ReportAllocs()
	var buf []byte
	var err error
	for b.Loop() {
		if buf, err = AppendOCSF(buf[:0], e); err != nil {
			b.Fatal(err)
		}
	}
}
