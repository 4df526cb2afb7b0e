package canary

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

func testKey(t testing.TB) Key {
	t.Helper()
	k, err := NewKey([]byte("a secret of an installation"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func lot(partner, channel string, k Kind, pattern string, count int) Lot {
	return Lot{ID: partner + channel, Partner: partner, Channel: channel, Period: "2026-11", Kind: k, Pattern: pattern, Count: count}
}

// TestVectors pins the values: they were handed out and must be known again for years.
func TestVectors(t *testing.T) {
	k := testKey(t)
	f := func(l Lot, n int, value, token string) {
		t.Helper()
		if v, tok := k.Value(&l, n), k.Token(&l, n); v != value || tok != token {
			t.Errorf("%s %d: %q %q, want %q %q", l.ID, n, v, tok, value, token)
		}
	}
	f(lot("acme", "app:erp", Order, "40##############", 1), 0, "4019398845672047", "cn_5mtwhnreyipx3gnb")
	f(lot("acme", "app:erp", Order, "40##############", 1), 1, "4077024462953259", "cn_dhmponnjzccl4spu")
	f(lot("acme", "app:wms", Order, "40##############", 1), 0, "4028187325286395", "cn_qr77vb3aa6pca7co")
	f(lot("best", "app:erp", Order, "WB-^^########*\\#", 1), 0, "WB-ZY27616950k#", "cn_dvcqvcjqwga2jjni")
	f(lot("acme", "hotline", Phone, "202-555-01##|+44 7700 900###", 1), 0, "+44 7700 900749", "cn_tr6wltc5webfbef7")
	f(lot("acme", "wiki", Credential, "svc-@@@@@@@@@@", 1), 7, "svc-fhkdkfspuf", "cn_m5udzgqvbydktsp4")
}

func TestPatternOf(t *testing.T) {
	for example, want := range map[string]string{"4030112233445566": "40##############", "WB-2026-00123456": "WB-20##-########", "a#1": `a\#1`, "x": "x"} {
		if got := PatternOf(example); got != want {
			t.Errorf("PatternOf(%q) = %q, want %q", example, got, want)
		}
		if _, err := ParseForm(PatternOf(example)); err != nil {
			t.Error(err)
		}
	}
}

func TestForm(t *testing.T) {
	for pattern, bits := range map[string]float64{"##": math.Log2(100), "@^*": math.Log2(26 * 26 * 36), "abc": 0, "#|##": math.Log2(20), "4401|44####": 1, `\#`: 0} {
		f, err := ParseForm(pattern)
		if err != nil || math.Abs(f.Bits()-bits) > 1e-9 {
			t.Errorf("%q: %v, want %v bits", pattern, err, bits)
		}
	}
	for _, bad := range []string{"", "a||b", `a\`, "a\nb", "\xff", strings.Repeat("a|", 300), strings.Repeat("a", 5000)} {
		if _, err := ParseForm(bad); err == nil {
			t.Errorf("%.20q is taken", bad)
		}
	}
}

func TestCheck(t *testing.T) {
	good := lot("acme", "app:erp", Order, "40##############", 10)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Lot){
		"no partner": func(l *Lot) { l.Partner = "" }, "a channel of lines": func(l *Lot) { l.Channel = "a\nb" }, "an unknown kind": func(l *Lot) { l.Kind = "mail" },
		"no canary": func(l *Lot) { l.Count = 0 }, "too many": func(l *Lot) { l.Count = MaxCount + 1 }, "a narrow pattern": func(l *Lot) { l.Pattern = "40######" },
		"a number below 0": func(l *Lot) { l.First = -1 }, "no pattern": func(l *Lot) { l.Pattern = "" },
	} {
		l := good
		if change(&l); !errors.Is(l.Check(), ErrLot) {
			t.Errorf("%s: %v", what, l.Check())
		}
	}
}

// TestIndependence: digits of different partners, channels, periods and numbers are spread evenly and tell nothing of each
// other. With 200,000 digits the chi-squared value of 9 degrees of freedom exceeds 33.7 once in 10,000 keys; the key is fixed.
func TestIndependence(t *testing.T) {
	k := testKey(t)
	var counts [10]float64
	var pairs [100]float64
	seen := map[string]bool{}
	for p := range 10 {
		for c := range 10 {
			l := lot(fmt.Sprintf("p%d", p), fmt.Sprintf("c%d", c), Order, "####################", 100)
			before := ""
			for n := range 100 {
				v := k.Value(&l, n)
				if seen[v] {
					t.Fatalf("%s twice", v)
				}
				seen[v] = true
				for i := range len(v) {
					counts[v[i]-'0']++
					if before != "" {
						pairs[int(v[i]-'0')*10+int(before[i]-'0')]++
					}
				}
				before = v
			}
		}
	}
	chi := func(counts []float64) (x float64) {
		total := 0.0
		for _, n := range counts {
			total += n
		}
		mean := total / float64(len(counts))
		for _, n := range counts {
			x += (n - mean) * (n - mean) / mean
		}
		return x
	}
	if x := chi(counts[:]); x > 33.7 {
		t.Errorf("digits are not even: %v, chi-squared %.1f", counts, x)
	}
	if x := chi(pairs[:]); x > 155 { // 99 degrees of freedom: exceeded once in 3,000
		t.Errorf("a value tells of the next: chi-squared %.1f", x)
	}
	other, err := NewKey([]byte("another secret"))
	if err != nil {
		t.Fatal(err)
	}
	l := lot("p0", "c0", Order, "####################", 1)
	if other.Value(&l, 0) == k.Value(&l, 0) {
		t.Error("two installations have the same canary")
	}
}

func TestIndex(t *testing.T) {
	k := testKey(t)
	var lots []Lot
	for p := range 20 {
		lots = append(lots, lot(fmt.Sprintf("p%d", p), "app:erp", Order, "40##############", 50))
	}
	lots[3].Skip = []int{0, 7}
	lots = append(lots, lot("p1", "hotline", Phone, "+1 202-555-01##", 5), lot("p1", "desk", Address, "Room ######, 12 Quay Street", 5), lot("p2", "wiki", Credential, "svc-@@@@@@@@@@", 3))
	x, err := NewIndex(k, lots[:10])
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range lots[10:] {
		if x, err = x.With(l); err != nil {
			t.Fatal(err)
		}
	}
	if x.Len() != 20*50+13 {
		t.Errorf("%d canaries", x.Len())
	}
	for i := range lots {
		for j, v := range x.Values(&lots[i]) {
			h := x.Find(lots[i].Kind, v)
			if len(h) != 1 || h[0].Lot.Partner != lots[i].Partner || h[0].N != lots[i].Numbers()[j] {
				t.Fatalf("%s of %s is found as %+v", v, lots[i].ID, h)
			}
		}
	}
	phone, address := x.Values(&lots[20])[0], x.Values(&lots[21])[0]
	for k, v := range map[Kind]string{Phone: "00" + strings.NewReplacer(" ", "", "-", "", "+", "").Replace(phone), Address: strings.ToUpper(strings.ReplaceAll(address, ",", "  "))} {
		if len(x.Find(k, v)) != 1 {
			t.Errorf("%s is not known again as %q", k, v)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		v := fmt.Sprintf("40%014d", r.Int64N(1e14))
		for _, h := range x.Find(Order, v) {
			if k.Value(h.Lot, h.N) != v {
				t.Fatalf("%s is taken for a canary", v)
			}
		}
	}
	if len(x.Find(Credential, x.Values(&lots[0])[0])) > 0 {
		t.Error("an order is a credential")
	}
}

// TestFit: canaries are new to the index, to themselves and to the orders that exist.
func TestFit(t *testing.T) {
	k := testKey(t)
	x, err := NewIndex(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	real := map[string]bool{}
	probe := lot("acme", "app:erp", Order, "40##############", 10)
	for _, n := range []int{2, 5, 11} {
		real[k.Value(&probe, n)] = true
	}
	taken := func(values []string) (map[string]bool, error) { return real, nil }
	var all []string
	for round := range 3 {
		l := lot("acme", "app:erp", Order, "40##############", 10)
		if err := x.Fit(&l, taken); err != nil {
			t.Fatal(err)
		}
		if round == 0 && fmt.Sprint(l.Skip) != "[2 5 11]" {
			t.Errorf("skipped %v", l.Skip)
		}
		all = append(all, x.Values(&l)...)
		if x, err = x.With(l); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, v := range all {
		if seen[v] || real[v] {
			t.Errorf("%s is in use", v)
		}
		seen[v] = true
	}
	if len(all) != 30 {
		t.Errorf("%d canaries", len(all))
	}
	pool := lot("acme", "hotline", Phone, "202-555-01#0", 10)
	if err := x.Fit(&pool, taken); err != nil || len(x.Values(&pool)) != 10 {
		t.Errorf("a whole pool: %v", err)
	}
	pool.Count = 11
	if err := x.Fit(&pool, taken); !errors.Is(err, ErrLot) {
		t.Errorf("more than a pool: %v", err)
	}
}

// TestTouch is the table of the manual: what alarms and what does not.
func TestTouch(t *testing.T) {
	orders := lot("acme", "app:erp", Order, "40##############", 1)
	free := lot("acme", "nightly feed", Order, "40##############", 1)
	key := lot("acme", "wiki", Credential, "svc-@@@@@@@@@@", 1)
	ev := func(typ moat.EventType, partner, app, operation string, count int64) *moat.Event {
		return &moat.Event{Type: typ, Partner: partner, App: app, Operation: operation, Count: count}
	}
	for _, c := range []struct {
		what    string
		lot     *Lot
		e       *moat.Event
		crawler bool
		want    Verdict
	}{
		{"its own app lists it", &orders, ev(moat.OrderAccess, "acme", "erp", "view_list", 50), false, Normal},
		{"its own app pulls it", &orders, ev(moat.OrderAccess, "acme", "erp", "api_pull", 100), false, Normal},
		{"it is searched for", &orders, ev(moat.OrderAccess, "acme", "erp", "search", 1), false, Normal},
		{"the marketplace serves it", &orders, ev(moat.OrderServed, "acme", "erp", "", 100), false, Normal},
		{"the day's waybills are printed", &orders, ev(moat.OrderAccess, "acme", "erp", "print_list", 60), false, Normal},
		{"somebody opens it", &orders, ev(moat.OrderAccess, "acme", "erp", "view", 1), false, Shown},
		{"somebody exports it", &orders, ev(moat.OrderAccess, "acme", "erp", "export", 3), false, Left},
		{"it is decrypted", &orders, ev(moat.DataDecrypt, "acme", "erp", "", 1), false, Left},
		{"it is handed on", &orders, ev(moat.OrderTransmit, "acme", "erp", "", 40), false, Left},
		{"another app has it", &orders, ev(moat.OrderAccess, "acme", "wms", "view_list", 50), false, Elsewhere},
		{"no app is named", &orders, ev(moat.OrderAccess, "acme", "", "view_list", 50), false, Normal},
		{"a channel that events do not know", &free, ev(moat.OrderAccess, "acme", "wms", "view_list", 50), false, Normal},
		{"another partner has it", &orders, ev(moat.OrderAccess, "best", "erp", "view_list", 50), false, Elsewhere},
		{"a crawler has it", &orders, ev(moat.HTTPRequest, "best", "", "", 1), true, Crawler},
		{"a crawler at home", &orders, ev(moat.HTTPRequest, "acme", "erp", "", 1), true, Normal},
		{"its buyer complains", &orders, ev(moat.Complaint, "acme", "erp", "", 1), false, Used},
		{"the key is tried", &key, ev(moat.AuthLogin, "best", "", "", 0), false, Used},
	} {
		if got := Touch(c.lot, c.e, c.crawler); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}

func TestPower(t *testing.T) {
	for _, c := range []struct {
		n         int
		leak, use float64
		want      float64
	}{{0, 1, 1, 0}, {-1, 1, 1, 0}, {1, 1, 1, 1}, {10, 0.1, 1, 1 - math.Pow(0.9, 10)}, {300, 0.1, 0.1, 1 - math.Pow(0.99, 300)}, {5, 2, -1, 0}} {
		if got := Power(c.n, c.leak, c.use); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("Power(%d, %v, %v) = %v, want %v", c.n, c.leak, c.use, got, c.want)
		}
	}
	for _, p := range []float64{0.5, 0.9, 0.95, 0.99} {
		for _, leak := range []float64{0.001, 0.01, 0.1, 0.5} {
			n := Needed(p, leak, 0.3)
			if Power(n, leak, 0.3) < p || Power(n-1, leak, 0.3) >= p {
				t.Errorf("Needed(%v, %v, 0.3) = %d", p, leak, n)
			}
		}
	}
	// The other way to write it: a rate of canaries among orders and a number of used orders.
	const orders, n, leak, use = 10_000, 100, 0.05, 0.2
	r := float64(n) / (orders + n)
	if a, b := Power(n, leak, use), 1-math.Pow(1-r, leak*use*(orders+n)); math.Abs(a-b) > 0.01 {
		t.Errorf("%v and %v", a, b)
	}
	if Needed(0.9, 0, 1) != -1 || Needed(1, 0.5, 1) != -1 || Needed(0, 0.5, 1) != 0 || Needed(0.9, 1, 1) != 1 {
		t.Error("limits")
	}
	// Simulated: a thief takes each order with probability leak and uses it with probability use.
	rng, hit := rand.New(rand.NewPCG(3, 4)), 0
	for range 4000 {
		for range 60 {
			if rng.Float64() < 0.2 && rng.Float64() < 0.1 {
				hit++
				break
			}
		}
	}
	if want := Power(60, 0.2, 0.1); math.Abs(float64(hit)/4000-want) > 0.03 {
		t.Errorf("%d of 4000 thieves were seen, want %.3f", hit, want)
	}
}

// FuzzForm: no pattern breaks, and what is rendered is of its form.
func FuzzForm(f *testing.F) {
	for _, s := range []string{"40##", `a\#|@@`, "^*", "订单##", "|", `\`} {
		f.Add(s)
	}
	k := testKey(f)
	f.Fuzz(func(t *testing.T, pattern string) {
		form, err := ParseForm(pattern)
		if err != nil {
			return
		}
		l := lot("p", "c", Order, pattern, 1)
		v := k.value(&l, form, 3)
		if v != k.Value(&l, 3) || form.Bits() < 0 {
			t.Fatalf("%q", v)
		}
		if _, err := ParseForm(PatternOf(v)); v != "" && len(v) < maxPattern/2 && err != nil {
			t.Fatalf("pattern of %q: %v", v, err)
		}
	})
}

// BenchmarkFindNone is the price of ingest: an order that is no canary, among a million that are.
func BenchmarkFindNone(b *testing.B) {
	k := testKey(b)
	x, err := NewIndex(k, nil)
	if err != nil {
		b.Fatal(err)
	}
	x.room(1 << 20)
	r := rand.New(rand.NewPCG(1, 2))
	for range 1 << 20 {
		x.put(slot{hash: r.Uint64() | 1<<63})
	}
	ids := make([]string, 4096)
	for i := range ids {
		ids[i] = fmt.Sprintf("40%014d", r.Int64N(1e14))
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		x.Find(Order, ids[i&4095])
		i++
	}
}

// TestPlan: by hand 1 − (1 − 0.1·0.2)^149 = 0.9507, 100 among 9,900 are a rate of 0.01, and 1 − 0.99^300 = 0.951; the page has all of it.
func TestPlan(t *testing.T) {
	p, err := NewPlan(PlanQuestion{Orders: 20000, Leak: 0.1, Use: 0.2, Power: 0.95})
	if err != nil || p.Needed != 149 || math.Abs(p.Has-0.9507) > 1e-4 {
		t.Errorf("%+v, %v", p, err)
	}
	p, err = NewPlan(PlanQuestion{Orders: 9900, Leak: 0.1, Use: 0.2, Power: 0.95, Rate: 0.01})
	if err != nil || p.Needed != 100 || p.Rate != 0.01 || p.Used[3].Orders != 300 || math.Abs(p.Used[3].Power-0.951) > 1e-3 {
		t.Errorf("%+v, %v", p, err)
	}
	for _, q := range []PlanQuestion{{0, 0.1, 0.2, 0.95, 0}, {MaxPlanned + 1, 0.1, 0.2, 0.95, 0}, {1, 0, 0.2, 0.95, 0}, {1, 0.1, 1.1, 0.95, 0}, {1, 0.1, 0.2, 1, 0}, {1, 0.1, 0.2, 0.5, 0.5},
		{1, math.NaN(), 0.2, 0.5, 0}, {1, 0.1, 0.2, 0.5, math.NaN()}} {
		if _, err := NewPlan(q); err == nil {
			t.Errorf("%+v is planned", q)
		}
	}
	// The extremes are drawn, too: all is used, nothing ever is, a billion orders.
	for _, q := range []PlanQuestion{{20000, 0.1, 0.2, 0.95, 0}, {1, 1, 1, 0.5, 0}, {MaxPlanned, 1e-9, 1e-9, 0.9999, 0}, {MaxPlanned, 1, 1, 0.5, 0.49}} {
		p, err := NewPlan(q)
		if err != nil {
			t.Fatal(err)
		}
		var page strings.Builder
		if err := WritePlan(&page, p, true); err != nil {
			t.Fatal(err)
		}
		if s := page.String(); strings.Count(s, "<polyline") != len(p.Shares) || strings.Contains(s, "NaN") || strings.Contains(s, "Inf") || strings.Contains(s, "ZgotmplZ") {
			t.Errorf("%+v: %d lines, or something that does not belong there", q, strings.Count(s, "<polyline"))
		}
	}
}
