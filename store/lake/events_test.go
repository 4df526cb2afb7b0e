package lake

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/moat-platform/moat"
)

// fieldPointers names where e keeps each field.
func fieldPointers(e *moat.Event) map[moat.FieldID]any {
	m := map[moat.FieldID]any{
		moat.FieldEventID: &e.ID, moat.FieldTime: &e.Time, moat.FieldType: &e.Type, moat.FieldActor: &e.Actor,
		moat.FieldActorKind: &e.ActorKind, moat.FieldRole: &e.Role, moat.FieldApp: &e.App, moat.FieldShops: &e.Shops,
		moat.FieldIP: &e.IP, moat.FieldDevice: &e.Device, moat.FieldUserAgent: &e.UserAgent, moat.FieldSession: &e.Session,
		moat.FieldHost: &e.Host, moat.FieldOutlet: &e.Outlet, moat.FieldURL: &e.URL, moat.FieldOperation: &e.Operation,
		moat.FieldOutcome: &e.Outcome, moat.FieldReason: &e.Reason, moat.FieldOrders: &e.Orders, moat.FieldCount: &e.Count,
		moat.FieldFields: &e.Fields, moat.FieldEncrypted: &e.Encrypted, moat.FieldBytes: &e.Bytes,
		moat.FieldDestination: &e.Destination, moat.FieldDestinationKind: &e.DestinationKind, moat.FieldMethod: &e.Method,
		moat.FieldPath: &e.Path, moat.FieldStatus: &e.Status, moat.FieldDB: &e.DB, moat.FieldTemplate: &e.Template,
		moat.FieldRows: &e.Rows, moat.FieldKeyID: &e.KeyID, moat.FieldPartner: &e.Partner,
	}
	all := &moat.Event{}
	for id := moat.FieldNone + 1; id < moat.FieldsEnd; id++ {
		all.Mark(id)
	}
	for id := range all.Given(detailFields) {
		m[id] = pointerTo(e, id)
	}
	return m
}

var oddTexts = []string{"", "a", "王小明", `quote " and \ back`, "tab\tnew\nline\x00\x1f", "<&>\u2028", "{not json", `{"looks":"like json"}`, "0000000000"}

func randomText(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		return oddTexts[r.IntN(len(oddTexts))]
	}
	return fmt.Sprintf("v%d", r.IntN(1<<r.IntN(20)))
}

// randomEvent gives random fields to e, zero values among them.
func randomEvent(r *rand.Rand) *moat.Event {
	e := &moat.Event{Received: testDay + moat.Time(r.IntN(1000)), Flags: moat.Flag(r.IntN(8))}
	for id, p := range fieldPointers(e) {
		if r.IntN(3) == 0 && id != moat.FieldPartner && id != moat.FieldType {
			continue
		}
		e.Mark(id)
		switch p := p.(type) {
		case *string:
			*p = randomText(r)
			if id == moat.FieldExtra && r.IntN(2) == 0 {
				*p = []string{`{}`, `{"a": [1, {"b":"}"}] }`, `{"x":"\"\\"}`, ` {"a":1}`, `[1]`, `{"a":1}}`, `{"a":1} `}[r.IntN(7)]
			}
		case *[]string:
			for range r.IntN(4) {
				*p = append(*p, randomText(r))
			}
		case *int64:
			*p = []int64{0, 1, -1, 1 << 62, -1 << 63, 1<<63 - 1, r.Int64N(1000)}[r.IntN(7)]
		case *moat.Time:
			*p = []moat.Time{0, testDay, testDay + moat.Time(r.Int64N(int64(moat.Day)))}[r.IntN(3)]
		case *bool:
			*p = r.IntN(2) == 0
		case *moat.EventType:
			*p = moat.EventType(r.IntN(int(moat.EventTypes)))
		case *moat.ActorKind:
			*p = moat.ActorKind(r.IntN(4))
		case *moat.Outcome:
			*p = moat.Outcome(r.IntN(4))
		default:
			panic(fmt.Sprintf("field %d has no pointer", id))
		}
	}
	e.Partner = fmt.Sprintf("partner-%d", r.IntN(3))
	return e
}

// differs says in what two events differ, or "".
func differs(a, b *moat.Event) string {
	if a.Received != b.Received || a.Flags != b.Flags || a.Partner != b.Partner {
		return fmt.Sprintf("envelope: %v %v %q, %v %v %q", a.Received, a.Flags, a.Partner, b.Received, b.Flags, b.Partner)
	}
	for i := 1; i < int(moat.FieldsEnd); i++ {
		f := &moat.Fields[i]
		if a.Has(f.ID) != b.Has(f.ID) || f.Text(a) != f.Text(b) || f.Number(a) != f.Number(b) || !slices.Equal(f.List(a), f.List(b)) {
			return fmt.Sprintf("%s: given %v %q %d %q, given %v %q %d %q", f.Name,
				a.Has(f.ID), f.Text(a), f.Number(a), f.List(a), b.Has(f.ID), f.Text(b), f.Number(b), f.List(b))
		}
	}
	return ""
}

// testDay is 2026-11-21T00:00:00Z.
const testDay = moat.Time(1795219200) * moat.Second

// batchOf makes a batch of events.
func batchOf(events ...*moat.Event) []byte {
	var w moat.BatchWriter
	for _, e := range events {
		w.Append(e)
	}
	return append([]byte(nil), w.Bytes()...)
}

// simple is an event with an id, enough to be told apart.
func simple(id string, received moat.Time) *moat.Event {
	e := &moat.Event{ID: id, Partner: "acme", Received: received, Time: received, Type: moat.OrderAccess, Actor: "ann", Operation: "view", Orders: []string{"o" + id}}
	e.MarkAll()
	return e
}

// realisticBatches makes batches of 512 events with the mix that a partner's apps send: 55 % order accesses,
// 15 % requests, 10 % logins, 10 % transmissions, 8 % statements, 2 % processes.
func realisticBatches(n int) [][]byte {
	r := rand.New(rand.NewPCG(7, 7))
	actors := rand.NewZipf(r, 1.1, 8, 200_000)
	at := testDay
	agents := make([]string, 200)
	for i := range agents {
		agents[i] = fmt.Sprintf("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/%d.0.%d.%d Safari/537.36", 90+i%40, 4000+i, i)
	}
	order := int64(6_900_000_000_000)
	var out [][]byte
	var w moat.BatchWriter
	for b := range n {
		w.Reset()
		partner := fmt.Sprintf("partner-%03d", b%20)
		for range 512 {
			at += moat.Time(r.Int64N(5))
			a := int(actors.Uint64())
			e := &moat.Event{Received: testDay + moat.Time(b)*moat.Millisecond, Partner: partner, App: "erp-" + partner,
				ID: fmt.Sprintf("%016x%08x", r.Uint64(), r.Uint32()), Time: at, Actor: fmt.Sprintf("user-%06d", a),
				IP: fmt.Sprintf("10.%d.%d.%d", a>>16&255, a>>8&255, a&255), Device: fmt.Sprintf("d%015x", uint64(a)*0x9e3779b97f4a7c15>>4),
				Session: fmt.Sprintf("s%012x", uint64(a*7+b/50)*0x9e3779b97f4a7c15>>16), Host: fmt.Sprintf("web-%02d", a%16)}
			switch k := r.IntN(100); {
			case k < 55:
				e.Type, e.Operation, e.Role = moat.OrderAccess, []string{"view", "view_list", "print", "export", "search"}[r.IntN(5)], []string{"customer_service", "packer", "manager"}[a%3]
				e.UserAgent = agents[a%len(agents)]
				e.Shops = []string{fmt.Sprintf("shop-%d", a%3000)}
				for range 1 + r.IntN(4)*r.IntN(3) {
					order += r.Int64N(50)
					e.Orders = append(e.Orders, fmt.Sprint(order))
				}
				e.Fields = []string{"name", "phone", "address"}[:1+r.IntN(3)]
				e.URL = fmt.Sprintf("/trade/detail/%d", r.IntN(40))
			case k < 70:
				e.Type, e.Method, e.Path, e.Status = moat.HTTPRequest, "GET", fmt.Sprintf("/api/v1/orders/%d", r.IntN(5000)), 200
				e.Bytes, e.LatencyMS, e.UserAgent = r.Int64N(40000), r.Int64N(300), agents[a%len(agents)]
			case k < 80:
				e.Type, e.Method, e.MFA, e.UserAgent = moat.AuthLogin, "password", r.IntN(4) == 0, agents[a%len(agents)]
				e.Outcome = moat.Outcome(r.IntN(10) / 9)
			case k < 90:
				e.Type, e.Destination, e.DestinationKind = moat.OrderTransmit, fmt.Sprintf("courier-%d", r.IntN(12)), "courier"
				order += r.Int64N(50)
				e.Orders = []string{fmt.Sprint(order)}
				e.Shops = []string{fmt.Sprintf("shop-%d", a%3000)}
			case k < 98:
				e.Type, e.DB, e.Template = moat.DBQuery, "orders-1", fmt.Sprintf("SELECT id, receiver, phone FROM t_order_%d WHERE shop_id = ? AND created > ? LIMIT ?", r.IntN(64))
				e.Rows, e.DurationMS, e.Tables = r.Int64N(2000), r.Int64N(90), []string{"t_order"}
			default:
				e.Type, e.Exe, e.Args, e.Parent, e.User, e.PID = moat.HostProcess, "/usr/bin/mysqldump", "--all", "bash", "root", r.Int64N(30000)
			}
			e.MarkAll()
			w.Append(e)
		}
		out = append(out, append([]byte(nil), w.Bytes()...))
	}
	return out
}

func eventsOf(t testing.TB, batch []byte) (out []*moat.Event) {
	t.Helper()
	var r moat.BatchReader
	if err := r.Open(batch); err != nil {
		t.Fatal(err)
	}
	for e := new(moat.Event); r.Next(e); {
		out = append(out, e.Clone())
	}
	return out
}
