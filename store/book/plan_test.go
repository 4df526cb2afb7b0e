package book

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

// TestPlans asks SQLite how it would answer the questions of the console: by
// an index that also gives the order, or by ids, never by reading a table.
func TestPlans(t *testing.T) {
	b := openTest(t, filepath.Join(t.TempDir(), "book.db"))
	clerk := moat.Entity{Kind: moat.Account, ID: "clerk"}
	check(t, b, findingsTable(), everyone, Query{}, "findings_time")
	check(t, b, findingsTable(), moat.Only("a"), Query{}, "findings_partner")
	check(t, b, findingsTable(), moat.Only("a"), Query{Since: start}, "findings_partner")
	check(t, b, findingsTable(), moat.Only("a"), Query{Entity: clerk}, "findings_entity")
	check(t, b, findingsTable(), everyone, Query{Entity: clerk}, "findings_entity")
	check(t, b, findingsTable(), moat.Only("a"), Query{House: true, Since: start}, "findings_house")
	check(t, b, findingsTable(), everyone, Query{House: true, Partner: "a"}, "findings_house")
	check(t, b, findingsTable(), everyone, Query{Detector: "x"}, "findings_detector")
	check(t, b, findingsTable(), moat.Only("a"), Query{Case: "c"}, "sqlite_autoindex_findings_1 (id=?)")
	check(t, b, findingsTable(), everyone, Query{Case: "c"}, "sqlite_autoindex_findings_1 (id=?)")
	check(t, b, casesTable(everyone), everyone, Query{Detector: "x"}, "sqlite_autoindex_cases_1 (id=?)")
	check(t, b, casesTable(everyone), everyone, Query{}, "cases_opened")
	check(t, b, casesTable(moat.Only("a")), moat.Only("a"), Query{State: moat.CaseOpen}, "cases_partner")
	check(t, b, casesTable(moat.Only("a")), moat.Only("a"), Query{Entity: clerk}, "sqlite_autoindex_cases_1 (id=?)")
	check(t, b, decisionsTable(), moat.Only("a"), Query{Case: "c"}, "decisions_case")
	check(t, b, decisionsTable(), moat.Only("a"), Query{Entity: clerk}, "decisions_value")
	check(t, b, decisionsTable(), moat.Only("a"), Query{}, "decisions_partner")
	check(t, b, complaintsTable(), everyone, Query{}, "complaints_time")
	check(t, b, complaintsTable(), moat.Only("a"), Query{Since: start}, "complaints_partner")
	check(t, b, complaintsTable(), moat.Only("a"), Query{Order: "o"}, "complaints_order")
	check(t, b, canariesTable(), everyone, Query{}, "canaries_placed")
	check(t, b, canariesTable(), moat.Only("a"), Query{Kind: "order"}, "canaries_partner")
	check(t, b, auditTable(moat.Only("a")), moat.Only("a"), Query{}, "audit_partner")
	check(t, b, auditTable(everyone), everyone, Query{Object: "c"}, "audit_object")
}

// TestLookupPlans wants complaints that are looked up by a value to be found by it, not among all that a partner has.
func TestLookupPlans(t *testing.T) {
	b := openTest(t, filepath.Join(t.TempDir(), "book.db"))
	for column, want := range map[string]string{"id": "sqlite_autoindex_complaints_1", "order_id": "complaints_order", "reporter": "complaints_reporter", "filed_by": "complaints_filed_by"} {
		for _, tenant := range []moat.Tenant{everyone, moat.Only("a")} {
			w := lookupOf(tenant, column, []any{"x", "y"})
			if s := plan(t, b, "SELECT DISTINCT "+column+" FROM complaints"+w.text(), w.args); !strings.Contains(s, want) {
				t.Errorf("%s: %s\nwant %s", column, s, want)
			}
		}
	}
}

func check[T any](t *testing.T, b *Book, tb *table[T], tenant moat.Tenant, q Query, want string) {
	t.Helper()
	w, err := tb.conditions(tenant, q)
	ok(t, err)
	s := plan(t, b, tb.query(&w)+" ORDER BY "+tb.order+" DESC, "+tb.id+" DESC LIMIT 10", w.args)
	if !strings.Contains(s, want) || strings.Contains(s, "SCAN "+tb.name+";") {
		t.Errorf("%s %+v: %s\nwant %s", tb.name, q, s, want)
	}
}

// plan is how SQLite would answer a query.
func plan(t *testing.T, b *Book, query string, args []any) string {
	t.Helper()
	rows, err := b.read.Query("EXPLAIN QUERY PLAN "+query, args...)
	ok(t, err)
	defer rows.Close()
	var steps []string
	for rows.Next() {
		var id, parent, unused int
		var step string
		ok(t, rows.Scan(&id, &parent, &unused, &step))
		steps = append(steps, step)
	}
	return strings.Join(steps, "; ")
}
