package node_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/run"
)

// planted is a node with two partners and canaries in both.
func planted(t *testing.T, dir string) (n *node.Node, orders, keys node.Planted) {
	t.Helper()
	n = open(t, dir)
	for _, p := range []string{"merchant", "courier"} {
		if _, err := n.Book.CreatePartner(t.Context(), moat.Everyone(), book.Partner{ID: p, Name: p}, "root"); err != nil {
			t.Fatal(err)
		}
	}
	return n, place(t, n, moat.Everyone(), canary.Lot{Partner: "merchant", Channel: "app:erp", Kind: canary.Order, Pattern: "44##############", Count: 10}),
		place(t, n, moat.Everyone(), canary.Lot{Partner: "merchant", Channel: "wiki", Kind: canary.Credential, Pattern: "svc-@@@@@@@@@@", Count: 2})
}

func place(t *testing.T, n *node.Node, tenant moat.Tenant, l canary.Lot) node.Planted {
	t.Helper()
	p, err := n.PlaceCanaries(t.Context(), tenant, l, "boss", now())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCanary: what is planted is like any other order until it is used; then a case of the worst rank names the channel, also after a
// restart, and a replay finds the same.
func TestCanary(t *testing.T) {
	dir := t.TempDir()
	n, orders, keys := planted(t, dir)
	at := now() - moat.Hour
	act := func(id string, e moat.Event) *moat.Event {
		e.ID, e.Time, e.Received = id, at, at
		if e.Type == moat.NoType {
			e.Type = moat.OrderAccess
		}
		return &e
	}
	// The usual traffic.
	list := append([]string{}, orders.Values...)
	for i := range 40 {
		list = append(list, fmt.Sprintf("45%014d", i))
	}
	put(t, n, act("n1", moat.Event{Partner: "merchant", App: "erp", Actor: "li", Operation: "view_list", Orders: list}),
		act("n2", moat.Event{Partner: "merchant", App: "erp", Actor: "system", ActorKind: moat.ActorSystem, Operation: "api_pull", Orders: list}),
		act("n3", moat.Event{Partner: "merchant", App: "erp", Actor: "li", Operation: "print_list", Orders: list}))
	if f := findings(t, n); len(f) != 0 {
		t.Fatalf("the usual traffic was found: %+v", f)
	}
	// A restart loses none.
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, dir)
	leaked := act("x1", moat.Event{Partner: "courier", App: "tms", Actor: "wang", IP: "9.8.7.6", Operation: "view", Orders: []string{orders.Values[3]}})
	put(t, n, leaked, leaked)
	if f := findings(t, n); len(f) < 2 {
		t.Fatalf("found: %+v", f)
	}
	put(t, n, act("x2", moat.Event{Partner: "merchant", Type: moat.AuthLogin, Actor: keys.Values[1], IP: "9.8.7.6", Outcome: moat.Failure}))
	cases, _, err := n.Book.Cases(t.Context(), moat.Everyone(), book.Query{Partner: moat.Veiled("merchant")})
	if err != nil {
		t.Fatal(err)
	}
	var worst *moat.Case
	for i := range cases {
		for _, e := range cases[i].Entities {
			if e == (moat.Entity{Kind: moat.Partner, ID: moat.Veiled("merchant")}) {
				worst = &cases[i]
			}
		}
	}
	if worst == nil || worst.Rank != moat.P1 || !strings.Contains(worst.Reason, " of merchant: a planted ") {
		t.Fatalf("no case of the worst rank names the channel: %+v", cases)
	}
	seen := map[string]bool{}
	for _, f := range findings(t, n) {
		seen[f.Partner+" "+f.Detector+" "+f.Entity.String()], seen[f.Reason] = true, true
		if !strings.HasPrefix(f.Partner, "*") || f.Partner == moat.Veiled("merchant") && strings.Contains(f.Reason, "courier") {
			t.Errorf("what is told of one partner tells of the other: %s", f.Reason)
		}
	}
	for _, want := range []string{"app:erp of merchant: a planted order was used elsewhere (view); 1 different one in all its channels within 30 days",
		"at courier: the planted order " + orders.Values[3] + " of app:erp of merchant was used (view); 1 different one within 30 days", "*merchant access.canary_used partner:*merchant", "*courier access.canary_hand account:wang", "*merchant account.canary_key ip:9.8.7.6"} {
		if !seen[want] {
			t.Errorf("not found: %s; but %v", want, seen)
		}
	}
	if list, _, err := n.Book.Decisions(t.Context(), moat.Everyone(), book.Query{}); err != nil || len(list) > 0 {
		t.Errorf("a decision would tell: %+v, %v", list, err)
	}
	own := place(t, n, moat.Only("merchant"), canary.Lot{Channel: "app:erp", Kind: canary.Order, Pattern: "44##############", Count: 1})
	live := len(findings(t, n))
	// A question about a planted order is answered as one about any other, but for who planted it.
	for _, c := range []struct {
		order string
		least bool
	}{{orders.Values[5], false}, {own.Values[0], true}} {
		a, err := n.Ask(t.Context(), act("q"+c.order, moat.Event{Partner: "merchant", App: "wms", Actor: "chen", Operation: "export", Orders: []string{c.order}}))
		if err != nil || (a.Risk >= 0.5) != c.least {
			t.Errorf("the answer is %+v, %v", a, err)
		}
	}
	if _, ok, err := n.ReportCanary(t.Context(), moat.Everyone(), "", orders.Values[9], now()); err != nil || !ok {
		t.Errorf("reporting: %v, %v", ok, err)
	}
	if err := errors.Join(n.Drain(t.Context()), n.Close()); err != nil {
		t.Fatal(err)
	}
	if r := replay(t, node.ReplayConfig{Dir: dir}); r.Total.New != 0 || r.Total.Gone != 0 || r.Total.Same < live {
		t.Errorf("of %d findings and more a replay finds %+v", live, r.Total)
	}
}

// TestCanaryTenants: nobody learns of what others planted, and nobody plants at others.
func TestCanaryTenants(t *testing.T) {
	n, secret, _ := planted(t, t.TempDir())
	defer n.Close()
	merchant, courier := moat.Only("merchant"), moat.Only("courier")
	own := place(t, n, merchant, canary.Lot{Channel: "app:erp", Kind: canary.Order, Pattern: "44##############", Count: 3})
	if own.Owner != "merchant" || own.First != 0 || own.Values[0] == secret.Values[0] {
		t.Errorf("placed %+v", own)
	}
	for _, c := range []struct {
		tenant moat.Tenant
		lots   int
		sees   [2]bool // the operator's, the merchant's
	}{{moat.Everyone(), 3, [2]bool{true, true}}, {merchant, 1, [2]bool{false, true}}, {courier, 0, [2]bool{}}, {moat.Tenant{}, 0, [2]bool{}}, {moat.Only(""), 0, [2]bool{}}} {
		lots, _, err := n.Lots(t.Context(), c.tenant, book.Query{})
		if err != nil || len(lots) != c.lots {
			t.Errorf("%+v sees %d lots, want %d, %v", c.tenant, len(lots), c.lots, err)
		}
		for i, p := range []node.Planted{secret, own} {
			if _, ok := n.FindCanary(c.tenant, "", p.Values[0]); ok != c.sees[i] {
				t.Errorf("%+v finds canary %d: %v", c.tenant, i, ok)
			}
			if _, err := n.Lot(t.Context(), c.tenant, p.ID); (err == nil) != c.sees[i] || err != nil && !errors.Is(err, book.ErrNotFound) {
				t.Errorf("%+v opens lot %d: %v", c.tenant, i, err)
			}
			if _, ok, err := n.ReportCanary(t.Context(), c.tenant, "", p.Values[0], now()); ok != c.sees[i] || err != nil {
				t.Errorf("%+v reports canary %d: %v, %v", c.tenant, i, ok, err)
			}
		}
	}
	for _, tenant := range []moat.Tenant{courier, {}, moat.Only("")} {
		if _, err := n.PlaceCanaries(t.Context(), tenant, canary.Lot{Partner: "merchant", Channel: "x", Kind: canary.Order, Pattern: "44##############", Count: 1}, "eve", now()); !errors.Is(err, book.ErrNotFound) {
			t.Errorf("%+v plants at the merchant: %v", tenant, err)
		}
	}
	if _, err := n.PlaceCanaries(t.Context(), moat.Everyone(), canary.Lot{Partner: "merchant", Channel: "x", Kind: canary.Order, Pattern: "44##", Count: 1}, "boss", now()); !errors.Is(err, book.ErrInvalid) {
		t.Errorf("a narrow pattern: %v", err)
	}
	// The operator says that a phone rang: its number is not kept.
	phone := place(t, n, moat.Everyone(), canary.Lot{Partner: "courier", Channel: "outlet:hz-7", Kind: canary.Phone, Pattern: "+1 202-555-01##", Count: 1})
	e := &moat.Event{Partner: "courier", ID: "r", Time: now(), Received: now(), Type: moat.CanaryTouch, Token: phone.Values[0]}
	n.Watch(e, func(e *moat.Event) {
		if e.Channel != "outlet:hz-7" || !strings.HasPrefix(e.Token, "cn_") || e.Verdict != "used" || e.Partner != moat.Veiled("courier") {
			t.Errorf("it became %s", moat.AppendJSON(nil, e))
		}
	})
	stranger := &moat.Event{Partner: "courier", ID: "s", Time: now(), Received: now(), Type: moat.CanaryTouch, Token: "+86 138 0013 8000"}
	n.Watch(stranger, func(e *moat.Event) {
		if strings.Contains(string(moat.AppendJSON(nil, e)), "8000\"") || !strings.HasPrefix(e.Token, "cx_") || e.Partner != moat.Veiled("courier") {
			t.Errorf("a number is kept: %s", moat.AppendJSON(nil, e))
		}
	})
}

// filed files complaints and returns what is said of them.
func filed(t *testing.T, n *node.Node, tenant moat.Tenant, values ...string) node.Filed {
	t.Helper()
	var list []node.NewComplaint
	for i, v := range values {
		list = append(list, node.NewComplaint{Order: v, Kind: "scam_call", ContactedAt: now() - moat.Time(i)*moat.Hour})
	}
	f, err := n.File(t.Context(), tenant, "", list, now())
	if err == nil {
		err = n.Drain(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestCanaryComplaint: a complaint that names something planted is the loudest alarm, whatever it names and whether an event named it or not; each canary is
// told of; filing it again changes nothing; and a partner that files one is told what it is told of any other order.
func TestCanaryComplaint(t *testing.T) {
	n, orders, keys := planted(t, t.TempDir())
	defer n.Close()
	phones := place(t, n, moat.Everyone(), canary.Lot{Partner: "merchant", Channel: "sms", Kind: canary.Phone, Pattern: "+1 202-555-01##", Count: 3})
	put(t, n, &moat.Event{ID: "e", Type: moat.OrderAccess, Time: now() - moat.Hour, Received: now(), Partner: "merchant", App: "erp", Actor: "li", Operation: "view_list", Orders: orders.Values[5:6]})
	alarms := func() (used int) {
		for _, f := range findings(t, n) {
			if f.Detector == "access.canary_used" && f.Partner == moat.Veiled("merchant") && f.Score > 0.8 {
				used++
			}
		}
		return used
	}
	list := []string{orders.Values[0], "unheard of", phones.Values[1], keys.Values[0], orders.Values[5]}
	f := filed(t, n, moat.Everyone(), list...)
	if f.New != 4 || f.Unknown != 1 || len(f.Canaries) != 4 || f.Canaries[0].Channel != "app:erp" || f.Canaries[1].Channel != "sms" || f.Canaries[1].Index != 2 || f.Canaries[3].Partner != "merchant" {
		t.Fatalf("filed %+v", f)
	}
	if got := alarms(); got != 4 {
		t.Errorf("%d alarms, want one for each canary", got)
	}
	cases, _, err := n.Book.Cases(t.Context(), moat.Everyone(), book.Query{Rank: moat.P1})
	of := map[string]bool{}
	for _, c := range cases {
		of[c.Title] = c.Partner == moat.Veiled("merchant") && strings.Contains(c.Reason, " of merchant: a planted ")
	}
	if err != nil || len(cases) != 3 || !of["Something planted was used (app:erp)"] || !of["Something planted was used (sms)"] || !of["Something planted was used (wiki)"] {
		t.Errorf("the cases are %+v, %v; want one for each channel", cases, err)
	}
	later := filed(t, n, moat.Everyone(), phones.Values[1], orders.Values[1])
	if got := alarms(); later.New != 2 || got != 5 {
		t.Errorf("another canary of the lot and one again: %+v, %d alarms, want 5", later, got)
	}
	for _, c := range complaintsIn(t, n, moat.Everyone()) {
		if strings.Contains(c.Order, "555") {
			t.Errorf("a number is kept: %+v", c)
		}
	}
	// The suspect files about its own canaries, to see which they are.
	was := alarms()
	f = filed(t, n, moat.Only("merchant"), orders.Values[7], "unheard of", phones.Values[2], orders.Values[5])
	if f.New != 1 || f.Unknown != 3 || f.Canaries != nil {
		t.Errorf("the suspect is told %+v", f)
	}
	if got := alarms(); got != was+2 {
		t.Errorf("%d alarms more, want 2", got-was)
	}
	// A complaint that is refused for something else alarms all the same; who may not know is told that it is refused, and no more.
	was = alarms()
	for _, c := range []struct {
		tenant moat.Tenant
		known  int
	}{{moat.Everyone(), 1}, {moat.Only("merchant"), 0}} {
		f, err := n.File(t.Context(), c.tenant, "", []node.NewComplaint{{Order: "unheard of", Unread: "no time"}, {Order: phones.Values[0], ContactedAt: now() + moat.Day}}, now())
		if err == nil {
			err = n.Drain(t.Context())
		}
		if err != nil || f.New != 0 || f.Refused != 2 || len(f.Problems) != 2 || len(f.Canaries) != c.known || f.Problems[0].Message != "no time" {
			t.Errorf("%+v is told %+v, %v", c.tenant, f, err)
		}
	}
	if got := alarms(); got != was+1 {
		t.Errorf("%d alarms of a refused complaint, want 1", got-was)
	}
	unseen(t, n, moat.Only("merchant"))
	unseen(t, n, moat.Only("courier"))
}

// unseen looks whether what a tenant may read tells of canaries.
func unseen(t *testing.T, n *node.Node, tenant moat.Tenant) {
	t.Helper()
	found, _, err := n.Book.Findings(t.Context(), tenant, book.Query{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range found {
		if f.Family == "access" || strings.Contains(f.Detector, "canary") {
			t.Errorf("%+v sees %s: %s", tenant, f.Detector, f.Reason)
		}
	}
	for _, c := range complaintsIn(t, n, tenant) {
		if strings.HasPrefix(c.Order, "cn_") {
			t.Errorf("%+v sees %+v", tenant, c)
		}
	}
	for _, kind := range []moat.Entity{{Kind: moat.Account, ID: "li"}, {Kind: moat.App, ID: "erp"}} {
		if _, err := n.Diary.Each(t.Context(), tenant, diary.Query{Entity: kind}, func(r *run.Row) error {
			if a, err := r.Touch(); err != nil || a.Type == moat.CanaryTouch || strings.HasPrefix(a.Partner, "*") {
				t.Errorf("%+v sees of %s: %+v, %v", tenant, kind, a, err)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCanaryFigures: no count of orders or people has canaries, no letter goes to them, and a trace marks them; but who may not know
// of one cannot tell it from any other order by what is left out.
func TestCanaryFigures(t *testing.T) {
	n, secret, _ := planted(t, t.TempDir())
	defer n.Close()
	merchant := moat.Only("merchant")
	own := place(t, n, merchant, canary.Lot{Channel: "app:erp", Kind: canary.Order, Pattern: "44##############", Count: 3})
	orders := append(append([]string{}, secret.Values...), own.Values...)
	for i := range 40 {
		orders = append(orders, fmt.Sprintf("45%014d", i))
	}
	at := now() - moat.Hour
	var events []*moat.Event
	for i, o := range orders {
		events = append(events, &moat.Event{ID: fmt.Sprint("e", i), Type: moat.OrderAccess, Time: at, Received: at, Partner: "merchant", App: "erp", Actor: "li", Operation: "view_list", Fields: []string{"phone"}, Orders: []string{o}})
	}
	put(t, n, events...)
	for _, c := range []struct {
		tenant          moat.Tenant
		orders, planted int
	}{{moat.Everyone(), 40, 13}, {merchant, 50, 3}} {
		q := scope.Question{Source: moat.Entity{Kind: moat.Account, ID: "li"}, Partner: "merchant"}
		s, err := n.Scopes.Scope(t.Context(), c.tenant, q)
		if err != nil || s.Orders != int64(c.orders) || s.Planted != int64(c.planted) || s.People.Most != int64(c.orders) || s.Next.Followed != int64(c.orders) ||
			s.Days[0].Orders != int64(c.orders) || s.Fields[0].Orders != int64(c.orders) {
			t.Errorf("%+v: the scope is %+v, %v; want %d orders, %d planted", c.tenant, s, err, c.orders, c.planted)
		}
		letters := 0
		if _, err := n.Scopes.Export(t.Context(), c.tenant, q, func(o *scope.Order) error { letters++; return nil }); err != nil || letters != c.orders {
			t.Errorf("%+v: %d letters, want %d, %v", c.tenant, letters, c.orders, err)
		}
		list := trace.Question{}
		for _, o := range orders {
			list.Orders = append(list.Orders, trace.Leaked{ID: o})
		}
		a, err := n.Tracer().Trace(t.Context(), c.tenant, list)
		if err != nil || len(a.Canaries) != c.planted || a.Orders.Unknown != 0 || a.Canaries[0].Channel != "app:erp" || a.Canaries[0].Partner != "merchant" {
			t.Errorf("%+v: the trace marks %+v, %v; want %d", c.tenant, a.Canaries, err, c.planted)
		}
	}
}

// TestCanaryBehindTheAnswer: nothing more is written for an event that uses a canary before its sender is answered, and what it means
// is found although the process ended right after.
func TestCanaryBehindTheAnswer(t *testing.T) {
	dir := t.TempDir()
	n, orders, _ := planted(t, dir)
	at := now() - moat.Hour
	e := &moat.Event{ID: "x", Time: at, Received: at, Partner: "courier", Type: moat.OrderAccess, App: "tms", Actor: "wang", Operation: "view", Orders: orders.Values[:1]}
	e.MarkAll()
	var w moat.BatchWriter
	n.Watch(e, w.Append)
	if w.Len() != 1 {
		t.Errorf("%d events are written before the answer, want 1", w.Len())
	}
	part := n.River.PartitionOf(e.Partner)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := river.Open(t.Context(), river.Config{Dir: filepath.Join(dir, "river")}) // of a process that did no more than acknowledge
	if err == nil {
		_, err = log.Append(t.Context(), part, w.Bytes())
	}
	if err = errors.Join(err, log.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	for range 2 { // once more changes nothing
		n = open(t, dir)
		put(t, n)
		found := map[string]int{}
		for _, f := range findings(t, n) {
			found[f.Partner+" "+f.Detector]++
		}
		if found["*merchant access.canary_used"] != 1 || found["*courier access.canary_hand"] != 1 {
			t.Errorf("found %v", found)
		}
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkTouches is what it costs to look at an event of one order that is nothing planted.
func BenchmarkTouches(b *testing.B) {
	n := open(b, b.TempDir())
	defer n.Close()
	if _, err := n.Book.CreatePartner(b.Context(), moat.Everyone(), book.Partner{ID: "merchant", Name: "m"}, "root"); err != nil {
		b.Fatal(err)
	}
	if _, err := n.PlaceCanaries(b.Context(), moat.Everyone(), canary.Lot{Partner: "merchant", Channel: "app:erp", Kind: canary.Order, Pattern: "44##############", Count: 1000}, "boss", now()); err != nil {
		b.Fatal(err)
	}
	e := &moat.Event{Partner: "merchant", Type: moat.OrderAccess, Actor: "li@shop-1", Operation: "view", Orders: []string{"4403112233445566"}, KeyID: "k1"}
	b.ReportAllocs()
	for b.Loop() {
		node.Touches(n, e, func(*moat.Event) {})
	}
}
