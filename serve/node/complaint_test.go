package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// put appends events as ingest would, past the watch of the node, and returns when they were worked on.
func put(t *testing.T, n *node.Node, events ...*moat.Event) {
	t.Helper()
	batches := make([]moat.BatchWriter, n.River.Partitions())
	for _, e := range events {
		e.MarkAll()
		n.Watch(e, func(e *moat.Event) { batches[n.River.PartitionOf(e.Partner)].Append(e) })
	}
	for i := range batches {
		if batches[i].Len() == 0 {
			continue
		}
		if _, err := n.River.Append(t.Context(), i, batches[i].Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func now() moat.Time { return moat.TimeOf(time.Now()) }

// sold is the way of some orders from a shop through a merchant's app and a courier's outlet.
func sold(prefix, shop, outlet string, from, to int, at moat.Time) (events []*moat.Event) {
	for i := from; i < to; i++ {
		id := fmt.Sprintf("%s%d", prefix, i)
		events = append(events,
			&moat.Event{Partner: "merchant", ID: "m" + id, Time: at, Received: at, Type: moat.OrderAccess, Actor: "li", App: "erp", Shops: []string{shop}, Operation: "view", Orders: []string{id}},
			&moat.Event{Partner: "merchant", ID: "t" + id, Time: at, Received: at, Type: moat.OrderTransmit, App: "erp", Shops: []string{shop}, Destination: "fast-courier", DestinationKind: "courier", Orders: []string{id}},
			&moat.Event{Partner: "courier", ID: "c" + id, Time: at + moat.Hour, Received: at + moat.Hour, Type: moat.OrderAccess, Actor: "wang", App: "tms", Outlet: outlet, Operation: "print", Orders: []string{id}})
	}
	return events
}

func filing(prefix string, from, to int, contacted moat.Time) (list []node.NewComplaint) {
	for i := from; i < to; i++ {
		list = append(list, node.NewComplaint{Order: fmt.Sprintf("%s%d", prefix, i), Kind: "scam_call", ContactedAt: contacted + moat.Time(i)*moat.Minute})
	}
	return list
}

func complaintsIn(t *testing.T, n *node.Node, tenant moat.Tenant) (list []book.Complaint) {
	t.Helper()
	for c, err := range n.Book.AllComplaints(t.Context(), tenant, book.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// TestSurge files complaints about the orders of one shop: findings name the shop, its outlet, its app and the route, the answers
// about honest acts stay as they are, and replay finds the same.
func TestSurge(t *testing.T) {
	dir := t.TempDir()
	n := open(t, dir)
	today := now() - 5*moat.Hour
	put(t, n, sold("a", "shop-1", "hz-7", 0, 12, today-3*moat.Day)...)
	put(t, n, sold("b", "shop-2", "hz-8", 0, 12, today-3*moat.Day)...)
	file := func(tenant moat.Tenant, list []node.NewComplaint, want node.Filed) {
		t.Helper()
		got, err := n.File(t.Context(), tenant, "", list, now())
		if err != nil {
			t.Fatal(err)
		}
		got.Problems = nil
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%d complaints: %+v, want %+v", len(list), got, want)
		}
	}
	file(moat.Everyone(), filing("b", 0, 2, today-moat.Day), node.Filed{New: 2})
	file(moat.Everyone(), filing("a", 0, 12, today), node.Filed{New: 12})
	file(moat.Everyone(), filing("a", 0, 12, today), node.Filed{Duplicate: 12})
	file(moat.Only("courier"), filing("a", 0, 12, today+moat.Second), node.Filed{New: 12})
	file(moat.Only("courier"), []node.NewComplaint{{Order: "nobody's"}, {Order: ""}, {Order: "a1", Kind: "dump"}}, node.Filed{Unknown: 1, Refused: 2})
	file(moat.Only("stranger"), filing("a", 0, 12, today), node.Filed{Unknown: 12})
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, c, s := len(complaintsIn(t, n, moat.Only("merchant"))), len(complaintsIn(t, n, moat.Only("courier"))), len(complaintsIn(t, n, moat.Only("stranger"))); m != 14 || c != 26 || s != 0 {
		t.Errorf("the merchant has %d complaints, the courier %d, the stranger %d", m, c, s)
	}
	named := map[string]bool{}
	for _, f := range findings(t, n) {
		named[f.Partner+" "+f.Entity.String()] = true
	}
	for _, want := range []string{"merchant shop:shop-1", "merchant partner:merchant", "courier outlet:hz-7"} {
		if !named[want] {
			t.Errorf("no finding names %s: %v", want, named)
		}
	}
	for _, innocent := range []string{"merchant shop:shop-2", "courier outlet:hz-8"} {
		if named[innocent] {
			t.Errorf("a finding names %s", innocent)
		}
	}
	route := false
	for _, f := range findings(t, n) {
		route = route || f.Detector == "complaint.route_surge" && strings.Contains(f.Reason, "fast-courier")
	}
	if !route {
		t.Error("no finding names the route")
	}
	// Who works in the app that so many complain about is asked nothing more for that.
	if !named["merchant app:erp"] {
		t.Errorf("no finding names the app: %v", named)
	}
	a, err := n.Ask(t.Context(), &moat.Event{ID: "q", Time: now(), Received: now(), Partner: "merchant", Type: moat.OrderAccess, App: "erp", Actor: "honest", Operation: "view", Orders: []string{"b7"}})
	if err != nil || a.Risk > 0.05 || a.Action != moat.Allow {
		t.Errorf("an honest act is answered with %+v, %v", a, err)
	}
	if err := n.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	live := len(findings(t, n))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if r := replay(t, node.ReplayConfig{Dir: dir}); r.Total.New != 0 || r.Total.Gone != 0 || r.Total.Same != live {
		t.Errorf("of %d findings a replay finds %+v", live, r.Total)
	}
}

// TestComplaintEvents sends complaints as events: they get the way of their orders as it was before the contact, come into the
// book with the fold, and nothing personal is kept of them.
func TestComplaintEvents(t *testing.T) {
	n := open(t, t.TempDir())
	defer n.Close()
	day := now() - 3*moat.Day
	put(t, n, sold("a", "shop-1", "hz-7", 0, 3, day)...)
	put(t, n, &moat.Event{Partner: "courier", ID: "later", Time: day + 2*moat.Day, Received: day + 2*moat.Day, Type: moat.OrderAccess, Actor: "chen", Outlet: "sz-1", Operation: "view", Orders: []string{"a0"}},
		&moat.Event{Partner: "courier", ID: "hub", Time: day + 2*moat.Hour, Received: day + 2*moat.Hour, Type: moat.OrderAccess, Actor: "hu", Outlet: "hub-2", Operation: "view", Orders: []string{"a0"}})
	single, err := ingest.NewSingle(n.IngestKey())
	if err != nil {
		t.Fatal(err)
	}
	e, err := single.Read(fmt.Appendf(nil, `{"partner":"courier","id":"x","time":%d,"type":"complaint","orders":["a0","a1","unseen"],"kind":"scam_call","contacted_at":%d,"actor":"+8613800138000","channel":"call 13800138000 back"}`,
		day+moat.Day, day+moat.Day), ingest.Caller{Operator: true}, now())
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	n.Watch(e, func(e *moat.Event) {
		seen = append(seen, fmt.Sprintf("%s %s %d", e.Orders[0], e.Outlet, e.Seq))
		if text := string(moat.AppendJSON(nil, e)); strings.Contains(text, "13800138000") {
			t.Errorf("a number is kept: %s", text)
		}
	})
	if want := []string{"a0 hz-7 0", "a0 hub-2 1", "a1 hz-7 0", "unseen  0"}; !slices.Equal(seen, want) {
		t.Errorf("the events are %q, want %q", seen, want)
	}
	// One that names no partner goes to all whose hands its orders went through; what nobody named is told.
	nowhere := &moat.Event{ID: "y", Time: day + moat.Day, Received: now(), Type: moat.Complaint, Orders: []string{"a2", "unseen"}, Kind: "spam"}
	seen = nil
	err = n.Watch(nowhere, func(e *moat.Event) { seen = append(seen, fmt.Sprintf("%s %s %d", e.Partner, e.Orders[0], e.Time-day)) })
	if want := []string{fmt.Sprintf("courier a2 %d", moat.Day), fmt.Sprintf("merchant a2 %d", moat.Day)}; !slices.Equal(seen, want) {
		t.Errorf("the events are %q, want %q", seen, want)
	}
	var bad *moat.Problem
	if !errors.As(err, &bad) || bad.Code != moat.CodeMissing || !strings.Contains(bad.Message, `1 of its orders (2), such as "unseen"`) {
		t.Errorf("an order that nobody named: %v", err)
	}
	for range 2 { // the second changes nothing
		put(t, n, e.Clone())
	}
	list := complaintsIn(t, n, moat.Only("courier"))
	if len(list) != 3 || list[0].Time != day+moat.Day || list[0].Kind != "scam_call" || list[0].Reporter != list[2].Reporter {
		t.Errorf("the book has %+v", list)
	}
	if set, err := n.Book.Complained(t.Context(), moat.Everyone(), []string{"a0", "a2"}); err != nil || len(set) != 1 || !set["a0"] {
		t.Errorf("complained: %v, %v", set, err)
	}
}
