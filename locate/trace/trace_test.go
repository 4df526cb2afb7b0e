package trace

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/store/intake"
)

const day0 = 1_772_409_600 * moat.Second

// office is a past: 1,500 orders in ten days, each seen by two of ten clerks of acme through its app, and by a
// courier of post; clerk 3 shares a device with clerk 4, clerk 7 sees everything masked.
func office() []*moat.Event {
	r := rand.New(rand.NewPCG(1, 1))
	var events []*moat.Event
	for i := range 1500 {
		at := day0 + moat.Time(i)*10*moat.Minute
		a := r.IntN(10)
		for _, c := range []int{a, (a + 1 + r.IntN(9)) % 10} {
			device := fmt.Sprintf("dev-%d", c)
			if c == 4 {
				device = "dev-3"
			}
			at += moat.Minute
			events = append(events, &moat.Event{Type: moat.OrderAccess, Time: at, Partner: "acme", App: "erp", Host: "web", Actor: fmt.Sprintf("clerk%d", c), Device: device, IP: "192.0.2.7",
				Operation: "view", Fields: []string{"phone", "address"}, Encrypted: c == 7, Orders: []string{id(i)}, Shops: []string{fmt.Sprint("shop", i%3)}})
		}
		events = append(events, &moat.Event{Type: moat.OrderAccess, Time: at + moat.Hour, Partner: "post", App: "hub", Actor: fmt.Sprintf("rider%d", r.IntN(6)), Device: "scanner", Outlet: fmt.Sprint("north", i%2),
			Operation: "view", Fields: []string{"phone", "address"}, Orders: []string{id(i)}, Shops: []string{fmt.Sprint("shop", i%3)}})
	}
	return events
}

func id(i int) string { return fmt.Sprintf("o-%04d", i) }

// had returns the orders that who had in hand, oldest first.
func had(events []*moat.Event, who string) (list []string) {
	for _, e := range events {
		if e.Actor == who || e.Device == who || e.Outlet == who || e.App == who {
			for _, o := range e.Orders {
				if !slices.Contains(list, o) {
					list = append(list, o)
				}
			}
		}
	}
	return list
}

func memory(events []*moat.Event) *Memory {
	m := NewMemory()
	for _, e := range events {
		m.Add(e)
	}
	m.Ready()
	return m
}

// every takes n of list, evenly.
func every(list []string, n int) (out []Leaked) {
	for i := range n {
		out = append(out, Leaked{ID: list[i*len(list)/n]})
	}
	return out
}

func ask(t *testing.T, rows Rows, tenant moat.Tenant, q Question) *Answer {
	t.Helper()
	a, err := (&Tracer{Rows: rows}).Trace(t.Context(), tenant, q)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func warned(a *Answer, code string) bool {
	return slices.ContainsFunc(a.Warnings, func(w Warning) bool { return w.Code == code })
}

// TestNamed leaks what somebody had in hand, and wants the narrowest name that the evidence carries.
func TestNamed(t *testing.T) {
	events := office()
	rows := memory(events)
	for _, c := range []struct {
		name, who string
		n         int
		want      string
		partner   string
	}{
		{"a person, whose device nobody else uses", "clerk1", 20, "clerk1, at device dev-1", "acme"},
		{"a person who shares the device", "clerk3", 30, "clerk3", "acme"},
		{"the device of two", "dev-3", 30, "device dev-3", "acme"},
		{"an outlet, by anybody there", "north1", 60, "outlet north1", "post"},
		{"everything that there is", "erp", 40, "", ""},
	} {
		a := ask(t, rows, moat.Everyone(), Question{Orders: every(had(events, c.who), c.n)})
		if c.want == "" {
			if a.Verdict != NotEnough {
				t.Errorf("%s: %s was named", c.name, a.Sources[0].Name)
			}
			continue
		}
		s := a.Sources[0]
		if a.Verdict != Found || s.Name != c.want || s.Partner != c.partner || a.Partners[0].Partner != c.partner || s.Leaked != c.n || a.Orders.Unexplained > c.n/5 {
			t.Errorf("%s: %s, %q at %q of posterior %.2f, %d leaked, %d not explained; want %q", c.name, a.Verdict, s.Name, s.Partner, s.Posterior, s.Leaked, a.Orders.Unexplained, c.want)
		}
	}
}

// TestTwo leaks what two people had in hand.
func TestTwo(t *testing.T) {
	events := office()
	q := Question{Orders: append(every(had(events, "clerk1"), 20), every(had(events, "rider2"), 15)...)}
	a := ask(t, memory(events), moat.Everyone(), q)
	names := []string{a.Sources[0].ID, a.Sources[1].ID}
	if slices.Sort(names); !slices.Equal(names, []string{"clerk1", "rider2"}) || !a.Sources[1].Named || a.Partners[1].Posterior < 0.9 {
		t.Errorf("named %v, %+v", names, a.Partners)
	}
}

// trade is a past of one order every three minutes, and which orders whoever was shown some had in hand.
type trade struct {
	events []*moat.Event
	hands  map[string][]string
}

// trades is how many orders there are.
const trades = 6000

// look has somebody look at order i.
func (w *trade) look(i int, partner, app, who, ip string) {
	w.events = append(w.events, &moat.Event{Type: moat.OrderAccess, Time: day0 + moat.Time(i)*3*moat.Minute, Partner: partner, App: app, Actor: who, Device: "d-" + who, IP: ip, Operation: "view",
		Fields: []string{"phone", "address"}, Orders: []string{id(i)}, Shops: []string{"s"}})
	w.hands[who] = append(w.hands[who], id(i))
}

// leak asks about n orders of each thief, and 60 that leaked elsewhere.
func (w *trade) leak(r *rand.Rand, thieves []string, n int) (q Question) {
	for _, who := range thieves {
		q.Orders = append(q.Orders, every(w.hands[who], n)...)
	}
	for range 60 {
		q.Orders = append(q.Orders, Leaked{ID: id(r.IntN(trades))})
	}
	return q
}

// TestMany traces seven leaks at once among noise: nobody who only works beside a thief is named, nothing wide, and what is explained adds up.
func TestMany(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	past := trade{hands: map[string][]string{}}
	for i := range trades {
		look := func(partner, app, who, ip string) { past.look(i, partner, app, who, ip) }
		look("wide", "erp", fmt.Sprint("clerk", r.IntN(30)), "192.0.2.1") // an app and an address that have it all
		if r.IntN(2) == 0 {
			look("depot", "wms", fmt.Sprint("packer", r.IntN(20)), "192.0.2.2")
		}
		if r.IntN(3) == 0 {
			look("post", "hub", fmt.Sprint("rider", r.IntN(20)), fmt.Sprint("192.0.3.", r.IntN(200)))
		}
	}
	thieves := []string{"clerk1", "clerk2", "packer3", "packer4", "packer5", "rider6", "rider7"}
	q := past.leak(r, thieves, 25)
	a := ask(t, memory(past.events), moat.Everyone(), q)
	var named []string
	sum := 0
	for _, s := range a.Sources {
		if s.Named {
			named, sum = append(named, s.ID), sum+s.Explains
			if s.Reports.By != s.Explains { // each order by another
				t.Errorf("%s explains %d orders, of which %d say so", s.Name, s.Explains, s.Reports.By)
			}
			if s.Lift < namedLift || s.P > namedP {
				t.Errorf("%s is named with a lift of %.1f and p %.2g", s.Name, s.Lift, s.P)
			}
		}
	}
	if slices.Sort(named); !slices.Equal(named, thieves) {
		t.Errorf("named %v, want %v", named, thieves)
	}
	if o := a.Orders; sum != o.Explained || o.Explained+o.Unexplained != o.Known || sum < 150 {
		t.Errorf("the sources explain %d; %+v", sum, o)
	}
}

// depot is a past of one partner whose clerks act from one address, with couriers whose address changes every day: 3,000 orders in 25 days. Of
// three fifths clerk0 had all in hand.
func depot() []*moat.Event {
	r := rand.New(rand.NewPCG(9, 9))
	var events []*moat.Event
	for i := range 3000 {
		at := day0 + moat.Time(i)*12*moat.Minute
		look := func(partner, app, who, ip string) {
			at += moat.Minute
			events = append(events, &moat.Event{Type: moat.OrderAccess, Time: at, Partner: partner, App: app, Actor: who, Device: "d-" + who, IP: ip, Operation: "view",
				Fields: []string{"phone", "address"}, Orders: []string{id(i)}, Shops: []string{"s"}})
		}
		if i%5 < 3 {
			look("depot", "wms", "clerk0", "192.0.2.1")
		}
		look("depot", "wms", fmt.Sprint("clerk", 1+r.IntN(9)), "192.0.2.1")
		rider := r.IntN(5)
		look("post", "hub", fmt.Sprint("rider", rider), fmt.Sprintf("100.64.%d.%d", rider, i/120))
		if rider == 1 && r.IntN(2) == 0 {
			look("post", "hub", "rider2", fmt.Sprintf("100.64.2.%d", i/120))
		}
	}
	return events
}

// TestNarrow leaks what people had in hand beside whom others had much of the same: all of them and nobody else are named.
func TestNarrow(t *testing.T) {
	events := depot()
	rows := memory(events)
	for _, c := range []struct {
		name   string
		tenant moat.Tenant
		who    []string
		n      int
	}{
		{"who had three fifths of all that the partner sees", moat.Only("depot"), []string{"clerk0"}, 25},
		{"two who share an address with everybody", moat.Everyone(), []string{"clerk3", "clerk4"}, 60},
		{"a rider, of whose orders another had half, by an address a day", moat.Everyone(), []string{"rider1"}, 25},
		{"five at once", moat.Everyone(), []string{"clerk1", "clerk2", "clerk3", "rider1", "rider3"}, 30},
	} {
		q := Question{}
		for _, who := range c.who {
			q.Orders = append(q.Orders, every(had(events, who), c.n)...)
		}
		a := ask(t, rows, c.tenant, q)
		var named []string
		for _, s := range a.Sources {
			if s.Named {
				named = append(named, s.ID)
			}
		}
		if slices.Sort(named); !slices.Equal(named, c.who) {
			t.Errorf("%s: named %v, want %v; first %+v", c.name, named, c.who, a.Sources[0])
		}
	}
}

// TestUnnamed says why what is likely is not named.
func TestUnnamed(t *testing.T) {
	events := office()
	a := ask(t, memory(events), moat.Everyone(), Question{Orders: every(had(events, "clerk2"), 2)})
	for _, s := range a.Sources {
		if s.Named || s.Posterior >= namedFrom && s.Unnamed == "" {
			t.Errorf("%s of 2 orders: named %v, %q", s.Name, s.Named, s.Unnamed)
		}
	}
	if a.Orders.Explained != 0 {
		t.Errorf("nothing is named, and explains %d", a.Orders.Explained)
	}
	if a.Why == "" || !strings.Contains(a.Missing, "more complaints") {
		t.Errorf("it does not say what is missing: %q, %q", a.Why, a.Missing)
	}
}

// TestTime leaves out what was touched after the leak, and counts half what clocks may explain.
func TestTime(t *testing.T) {
	events := office()
	orders := had(events, "clerk1")
	born := map[string]moat.Time{}
	for _, e := range events {
		if _, ok := born[e.Orders[0]]; !ok {
			born[e.Orders[0]] = e.Time
		}
	}
	for _, c := range []struct {
		name   string
		after  moat.Time // of the leak, after the first sight
		hits   bool
		skewed bool
	}{
		{"long after", 5 * moat.Hour, true, false},
		{"before everything but for the skew", -2 * moat.Minute, true, true},
		{"long before", -moat.Hour, false, false},
	} {
		q := Question{Orders: every(orders, 20)}
		for i := range q.Orders {
			q.Orders[i].At = born[q.Orders[i].ID] + c.after
		}
		a := ask(t, memory(events), moat.Everyone(), q)
		if got := len(a.Sources) > 0; got != c.hits || warned(a, WarnSkew) != c.skewed {
			t.Errorf("%s: sources %v, warnings %v", c.name, got, a.Warnings)
		}
	}
}

// TestFiled leaves out what was touched after complaints that are filed and not among the events yet.
func TestFiled(t *testing.T) {
	events := office()
	orders := every(had(events, "clerk1"), 20)
	for _, c := range []struct {
		name string
		at   moat.Time
		hits bool
	}{{"before everything", day0 - moat.Day, false}, {"after everything", day0 + 30*moat.Day, true}} {
		tr := &Tracer{Rows: memory(events), Complaints: func(_ context.Context, _ moat.Tenant, ids []string) (map[string]moat.Time, error) {
			filed := map[string]moat.Time{}
			for _, id := range ids {
				filed[id] = c.at
			}
			return filed, nil
		}}
		a, err := tr.Trace(t.Context(), moat.Everyone(), Question{Orders: orders})
		if err != nil || len(a.Sources) > 0 != c.hits || warned(a, WarnNoLeakTime) {
			t.Errorf("%s: %d sources, %v, %v", c.name, len(a.Sources), a.Warnings, err)
		}
	}
}

// TestUnknown counts apart what was asked twice and what nobody saw.
func TestUnknown(t *testing.T) {
	events := office()
	q := Question{Orders: append(every(had(events, "clerk1"), 10), Leaked{ID: "nobody's"}, Leaked{ID: id(0)}, Leaked{ID: id(0)}, Leaked{ID: "none"}, Leaked{ID: "never"})}
	a := ask(t, memory(events), moat.Everyone(), q)
	if o := a.Orders; o.Asked != 15 || o.Unknown != 3 || o.Known != o.Distinct-3 || !slices.Equal(o.UnknownIDs, []string{"nobody's", "none", "never"}) || !warned(a, WarnUnknown) {
		t.Errorf("%+v, %v", a.Orders, a.Warnings)
	}
	a = ask(t, memory(events), moat.Everyone(), Question{Orders: []Leaked{{ID: "x"}}})
	if a.Verdict != NotEnough || a.None != 1 || len(a.Sources) != 0 {
		t.Errorf("of an order that nobody saw: %+v", a)
	}
}

// TestMasked prefers who saw fields in clear to who saw the same orders masked.
func TestMasked(t *testing.T) {
	events := office()
	for _, o := range had(events, "clerk7") { // a colleague sees all of it in clear, and nothing else
		events = append(events, &moat.Event{Type: moat.OrderAccess, Time: day0 + 12*moat.Day, Partner: "acme", App: "erp", Actor: "mallory", Device: "dev-m", Operation: "view", Fields: []string{"phone"}, Orders: []string{o}})
	}
	a := ask(t, memory(events), moat.Everyone(), Question{Orders: every(had(events, "mallory"), 20)})
	if a.Sources[0].ID != "mallory" || !a.Sources[0].Named {
		t.Errorf("%s is named first with %.2f", a.Sources[0].Name, a.Sources[0].Posterior)
	}
}

// TestFramed has a competitor name twelve orders of a clerk among ten honest complaints.
func TestFramed(t *testing.T) {
	events := office()
	q := Question{}
	for i, o := range every(had(events, "clerk5"), 12) {
		o.By = "rival"
		q.Orders = append(q.Orders, o)
		q.Orders = append(q.Orders, Leaked{ID: id(i*97 + 5), By: fmt.Sprint("customer", i)})
	}
	a := ask(t, memory(events), moat.Everyone(), q)
	if !warned(a, WarnReporter) {
		t.Errorf("no warning of one reporter: %v", a.Warnings)
	}
	if a.Verdict == Found || a.Orders.Explained != 0 || warned(a, WarnFramed) != strings.Contains(a.Why, "rival") {
		t.Errorf("%s is named, or nobody warns: %s, %v", a.Sources[0].Name, a.Why, a.Warnings)
	}
	alone := slices.Clone(q.Orders)
	for i := range alone {
		alone[i].By = ""
	}
	if b := ask(t, memory(events), moat.Everyone(), Question{Orders: alone}); a.Sources[0].Posterior > b.Sources[0].Posterior {
		t.Errorf("orders of one reporter count more (%.3f) than those of nobody (%.3f)", a.Sources[0].Posterior, b.Sources[0].Posterior)
	}
}

// TestVersion has one version of an app leak, which some clerks use and others do not, and then a whole app of one version.
func TestVersion(t *testing.T) {
	events := office()
	for _, e := range events {
		switch {
		case e.App == "hub":
			e.Version = "7"
		case e.Actor == "clerk0" || e.Actor == "clerk1":
			e.Version = "3.1"
		default:
			e.Version = "3.0"
		}
	}
	var list []string
	for _, e := range events {
		if e.Version == "3.1" && !slices.Contains(list, e.Orders[0]) {
			list = append(list, e.Orders[0])
		}
	}
	a := ask(t, memory(events), moat.Everyone(), Question{Orders: every(list, 80)})
	if s := a.Sources[0]; !s.Named || s.Kind != "app version" || s.ID != "erp 3.1" || s.Partner != "acme" {
		t.Errorf("%s (%s) of %s is first with %.2f", s.Name, s.Kind, s.Partner, s.Posterior)
	}
	a = ask(t, memory(events), moat.Everyone(), Question{Orders: every(had(events, "clerk1"), 20)})
	if s := a.Sources[0]; s.ID != "clerk1" {
		t.Errorf("a clerk who uses it is not told from it: %s", s.Name)
	}
}

// TestWindow has a large source leak for two days only, in which smaller ones had nearly as much in hand.
func TestWindow(t *testing.T) {
	events := office()
	var list []string
	for _, e := range events {
		if e.Outlet == "north1" && e.Time >= day0+4*moat.Day && e.Time < day0+6*moat.Day {
			list = append(list, e.Orders[0])
		}
	}
	q := Question{Orders: append(every(list, 24), every(had(events, "clerk9"), 16)...)}
	a := ask(t, memory(events), moat.Everyone(), q)
	if len(a.Sources) < 2 || !strings.Contains(a.Sources[0].Name+a.Sources[1].Name, "outlet north1") || !strings.Contains(a.Sources[0].Name+a.Sources[1].Name, "clerk9") {
		t.Errorf("the first two are %+v", a.Sources[:min(2, len(a.Sources))])
	}
}

// TestTimes: an order was in hand whenever it was touched, also after more touches than are remembered one by one.
func TestTimes(t *testing.T) {
	var touches []*moat.Event
	for i := range 3 * maxTimes {
		touches = append(touches, &moat.Event{Type: moat.OrderAccess, Time: day0 + moat.Time(i)*moat.Day, Partner: "acme", App: "erp", Operation: "view", Fields: []string{"phone"}, Orders: []string{"a"}})
	}
	c, err := open(Question{Orders: []Leaked{{ID: "a"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.look(t.Context(), moat.Everyone(), memory(touches), nil); err != nil {
		t.Fatal(err)
	}
	c.admit()
	h := c.cands[c.index[Owner{moat.App, "acme", "erp"}]].hits[0]
	if want := slotOf(touches[len(touches)-1].Time, c.from, c.to); h.when&want == 0 || len(h.times) != maxTimes {
		t.Errorf("in hand in %064b, with %d times; want the last touch in it, too", h.when, len(h.times))
	}
}

// TestSpans holds windows against what they are made of.
func TestSpans(t *testing.T) {
	for _, c := range []struct {
		t    moat.Time
		want span
	}{{-5, 1}, {0, 1}, {100, 1}, {6400, 1 << 1}, {409_599, 1 << 63}, {1 << 40, 1 << 63}} {
		if got := slotOf(c.t, 0, 409_600); got != c.want {
			t.Errorf("%d is in %b, want %b", c.t, got, c.want)
		}
	}
	if slotOf(5, 7, 7) != 1 || between(0, slots) != always || between(0, 1) != 1 || between(62, 64) != 3<<62 {
		t.Error("the ends are off")
	}
	if lo, hi := between(3, 9).bounds(); lo != 3 || hi != 9 {
		t.Errorf("bounds %d, %d", lo, hi)
	}
	x := &candidate{exposed: 10, exact: true, when: []span{1, 1, 2, 3, 8}, hits: []hit{{shown: 1, when: 8}}}
	if v := x.in(3); math.Abs(v.exposed-10*4.5/5.5) > 1e-9 { // four of five, and a half for those to come
		t.Errorf("%g in hand", v.exposed)
	}
	if v := x.in(4); v.exposed >= 1 {
		t.Errorf("%g in hand where nothing was", v.exposed)
	}
}

// TestTenancy shows a partner only its own.
func TestTenancy(t *testing.T) {
	events := office()
	q := Question{Orders: every(had(events, "clerk1"), 20)}
	a := ask(t, memory(events), moat.Only("post"), q)
	for _, s := range a.Sources {
		if s.Partner != "post" || strings.Contains(s.Name+s.Reason+fmt.Sprint(s.Path), "clerk") {
			t.Errorf("post sees %+v", s)
		}
	}
	if !warned(a, WarnOwnOnly) || len(a.Partners) > 1 {
		t.Errorf("%v, %v", a.Warnings, a.Partners)
	}
	for _, tenant := range []moat.Tenant{moat.Only("other"), {}} {
		if a := ask(t, memory(events), tenant, q); a.Orders.Known != 0 || len(a.Sources) != 0 {
			t.Errorf("%v sees %+v", tenant, a)
		}
	}
}

func TestInvalid(t *testing.T) {
	for name, q := range map[string]Question{
		"none":          {},
		"an empty id":   {Orders: []Leaked{{}}},
		"a long id":     {Orders: []Leaked{{ID: strings.Repeat("x", 129)}}},
		"a weight":      {Orders: []Leaked{{ID: "x", Weight: 2}}},
		"a skew":        {Orders: []Leaked{{ID: "x"}}, Skew: -1},
		"an empty span": {Orders: []Leaked{{ID: "x"}}, Since: 5, Until: 5},
	} {
		if _, err := (&Tracer{Rows: NewMemory()}).Trace(t.Context(), moat.Everyone(), q); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	many := Question{}
	for i := range 3 * MaxLooked {
		many.Orders = append(many.Orders, Leaked{ID: id(i)})
	}
	if a := ask(t, memory(office()), moat.Everyone(), many); a.Orders.Looked != MaxLooked || a.Orders.Distinct != 3*MaxLooked || !warned(a, WarnSampled) {
		t.Errorf("%+v", a.Orders)
	}
}

// TestKept holds the answer from a real ledger and diary against that from memory. All orders are in both samples.
func TestKept(t *testing.T) {
	events := office()
	x, err := index.Open(index.Config{Dir: t.TempDir(), Key: [16]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	writer, err := x.Writer(0)
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	for batch := range slices.Chunk(events, 500) {
		var w moat.BatchWriter
		for _, e := range batch {
			e.MarkAll()
			w.Append(e)
		}
		seq++
		if err := intake.Append(seq, slices.Clone(w.Bytes()), nil, writer); err != nil {
			t.Fatal(err)
		}
		if seq == 5 { // half of it in files
			if err := writer.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, who := range []string{"clerk1", "rider3", "north0"} {
		for _, tenant := range []moat.Tenant{moat.Everyone(), moat.Only("acme")} {
			q := Question{Orders: append(every(had(events, who), 16), every(had(events, "erp"), 4)...)}
			a, b := ask(t, Kept(x.Ledger, x.Diary), tenant, q), ask(t, memory(events), tenant, q)
			if got, want := digest(a), digest(b); got != want {
				t.Errorf("%s for %v: ledger and diary say\n%s\nmemory says\n%s", who, tenant, got, want)
			}
		}
	}
}

func digest(a *Answer) string {
	s := fmt.Sprintln(a.Verdict, a.Orders, a.Population, a.Unexplained, a.Warnings)
	for _, x := range a.Sources {
		s += fmt.Sprintf("%s %.6f %d %.2f %v %.4g %v %v %s\n", x.Name, x.Posterior, x.Leaked, x.Touched, x.Exact, x.P, x.Since, x.Until, x.Reason)
	}
	return s
}

// TestColluders traces several leaks at once, of which one is by two at an address of half a dozen: they are named, not
// the address, and neither is anybody for whom the orders alone speak less than for others.
func TestColluders(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	past := trade{hands: map[string][]string{}}
	for i := range trades {
		look := func(partner, app, who, ip string) { past.look(i, partner, app, who, ip) }
		home := func(ip string) string { // a fifth is done there
			if i%5 == 0 {
				return ip
			}
			return "192.0.2.9"
		}
		look("wide", "erp", fmt.Sprint("clerk", r.IntN(30)), "192.0.2.1")
		switch r.IntN(24) {
		case 0:
			look("corner", "pos", "anna", home("192.0.4.1"))
		case 1:
			look("corner", "pos", "bert", home("192.0.4.2"))
		case 2, 3:
			look("corner", "pos", fmt.Sprint("helper", r.IntN(4)), "192.0.2.9")
		}
		if r.IntN(3) == 0 {
			look("post", "hub", fmt.Sprint("rider", r.IntN(20)), fmt.Sprint("192.0.3.", r.IntN(200)))
		}
	}
	thieves := []string{"anna", "bert", "clerk1", "clerk2", "clerk3", "rider6", "rider7"}
	q := past.leak(r, thieves, 40)
	var named []string
	for _, s := range ask(t, memory(past.events), moat.Everyone(), q).Sources {
		if s.Named {
			if named = append(named, s.ID); s.Margin < namedMargin {
				t.Errorf("%s is named with a margin of %.2g", s.Name, s.Margin)
			}
		}
	}
	if slices.Sort(named); !slices.Equal(named, thieves) {
		t.Errorf("named %v, want %v", named, thieves)
	}
}

// TestProgram names the person who took all that a program had sent out, and says of the program's account what it is.
func TestProgram(t *testing.T) {
	var events []*moat.Event
	r := rand.New(rand.NewPCG(4, 4))
	for i := range 2000 {
		at := day0 + moat.Time(i)*10*moat.Minute
		look := func(kind moat.ActorKind, who, ip string) {
			at += moat.Minute
			events = append(events, &moat.Event{Type: moat.OrderAccess, Time: at, Partner: "acme", App: "erp", Actor: who, ActorKind: kind, IP: ip, Operation: "view",
				Fields: []string{"phone", "address"}, Orders: []string{id(i)}})
		}
		look(moat.ActorUser, fmt.Sprint("clerk", r.IntN(10)), "192.0.2.7")
		if i%20 == 0 {
			look(moat.ActorService, "robot", "192.0.2.8")
		}
		if i%20 == 0 && i%200 != 0 {
			look(moat.ActorUser, "eve", "192.0.2.7")
		}
	}
	a := ask(t, memory(events), moat.Everyone(), Question{Orders: every(had(events, "eve"), 30)})
	if s := a.Sources[0]; s.ID != "eve" || !s.Named || s.Members[0].Program || s.Reports.By != s.Explains || s.First == 0 || dayOf(s.First) != s.Reach.Since {
		t.Errorf("%+v", s)
	}
	a = ask(t, memory(events), moat.Everyone(), Question{Orders: every(had(events, "robot"), 60), At: day0 + 20*moat.Day})
	i := slices.IndexFunc(a.Sources, func(s Source) bool { return s.ID == "robot" })
	if i < 0 || !a.Sources[i].Members[0].Program || a.Sources[i].Reports.Last != day0+20*moat.Day {
		t.Errorf("%+v", a.Sources)
	}
}
