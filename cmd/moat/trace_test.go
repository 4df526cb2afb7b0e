package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moat-platform/moat/locate/trace"
)

// TestTraced holds what is shown of answers against what it must say and must not.
func TestTraced(t *testing.T) {
	source := func(i int, named bool, change func(*trace.Source)) trace.Source {
		s := trace.Source{Rank: i, Named: named, Name: fmt.Sprintf("clerk%d, at device d-%d, ip 192.0.2.%d", i, i, i), Kind: "account", ID: fmt.Sprint("clerk", i), Partner: "acme",
			Posterior: 0.9, Leaked: 9, Touched: 40, Lift: 12, P: 0.001, Reason: "It had them."}
		if change != nil {
			change(&s)
		}
		return s
	}
	seven := trace.Answer{Verdict: trace.Found, Orders: trace.Counts{Distinct: 70, Known: 70, Explained: 63, Unexplained: 7}, Unexplained: []string{"o-1", "o-2", "o-3", "o-4", "o-5", "o-6", "o-7"}}
	for i := range 7 {
		seven.Sources = append(seven.Sources, source(i+1, true, func(s *trace.Source) {
			if i == 1 {
				s.Kind, s.ID, s.Name = "app", "erp", "app erp, at host web"
			}
		}))
	}
	likely := trace.Answer{Verdict: trace.NotEnough, Orders: trace.Counts{Distinct: 9, Known: 9}, None: 0.25, Why: "because", Missing: "this",
		Sources: []trace.Source{source(1, false, func(s *trace.Source) {
			s.Posterior, s.Lift, s.P, s.Unnamed = 0.74, 1.999, 0.01004, "somebody innocent may"
		})}}
	nearly := trace.Answer{Verdict: trace.NotEnough, Orders: trace.Counts{Distinct: 9, Known: 9}, None: 0.25, Why: "because", Missing: "this",
		Sources: []trace.Source{source(1, false, func(s *trace.Source) { s.Posterior = 0.499 })}}
	one := trace.Answer{Verdict: trace.Found, Orders: trace.Counts{Distinct: 9, Known: 9, Explained: 9}, Sources: []trace.Source{source(1, true, nil), source(2, false, nil)}}
	for _, c := range []struct {
		name      string
		answer    *trace.Answer
		want, not []string
	}{
		{"seven sources", &seven, []string{"70 leaked orders: 63 of 70 explained by clerk1, app erp, clerk3 and 4 more\n", "\nnext: moat scope account clerk1 --partner acme\n      moat scope app erp --partner acme\n      moat scope account clerk3 --partner acme\n",
			"not explained: 7 orders, likelier leaked elsewhere, even where a source had them in hand: o-1"}, []string{"scope account clerk4", "names nobody alone"}},
		{"one source", &one, []string{"9 of 9 explained by clerk1, at device d-1, ip 192.0.2.1\n", "next: moat scope account clerk1 --partner acme\n"}, []string{"scope account clerk2", "names nobody alone"}},
		{"a likely one that is not named", &likely, []string{"not enough evidence to name a source (the likeliest may be innocent: see why)", " 0.74 ", "> 0.01", "1.99×", "names nobody alone", "not named: somebody innocent may."}, []string{"25 %", "2×"}},
		{"nearly a half", &nearly, []string{"(25 % that none was seen here)", " 0.49 "}, []string{"0.50", "names nobody alone"}},
	} {
		var b strings.Builder
		(&app{globals: globals{Data: "./moat-data"}, out: &screen{w: &b}}).traced(c.answer)
		for _, w := range c.want {
			if !strings.Contains(b.String(), w) {
				t.Errorf("%s: no %q in\n%s", c.name, w, b.String())
			}
		}
		for _, w := range c.not {
			if strings.Contains(b.String(), w) {
				t.Errorf("%s: %q in\n%s", c.name, w, b.String())
			}
		}
	}
}
