package api_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// TestPeople works a case, decides, approves by two, undoes; and reads all of it in the audit trail,
// which holds.
func TestPeople(t *testing.T) {
	w := newWorld(t)
	w.story()
	caseID, _ := w.acmesOwn()
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)

	do := func(who, method, path, body string, want int, out any) {
		t.Helper()
		a := w.call(who, method, path, body)
		if a.Code != want {
			t.Fatalf("%s %s gives %d %s", method, path, a.Code, a.Body)
		}
		if out != nil {
			if err := decode(a, out); err != nil {
				t.Fatal(err)
			}
		}
	}
	var c moat.Case
	do("acme", "POST", "/v1/cases/"+caseID+"/verdict", `{"verdict":"false_alarm"}`, 200, &c)
	do("acme", "POST", "/v1/cases/"+caseID+"/verdict", `{"verdict":""}`, 200, &c)
	do("acme", "POST", "/v1/cases/"+caseID+"/verdict", `{"verdict":"confirmed"}`, 200, &c)
	do("acme", "POST", "/v1/cases/"+caseID+"/assign", `{"owner":"bob"}`, 200, &c)
	do("acme", "POST", "/v1/cases/"+caseID+"/close", "", 200, &c)
	if c.State != moat.CaseClosed || c.Verdict != moat.Confirmed || c.Owner != "bob" {
		t.Errorf("the case is %+v", c)
	}
	w.wants("a verdict that is none", w.call("acme", "POST", "/v1/cases/"+caseID+"/verdict", `{"verdict":"guilty"}`), 400, "invalid")
	w.wants("no verdict", w.call("acme", "POST", "/v1/cases/"+caseID+"/verdict", `{}`), 400, "invalid")
	w.wants("no owner", w.call("acme", "POST", "/v1/cases/"+caseID+"/assign", `{}`), 400, "invalid")

	risk := func() (a node.Answer) {
		t.Helper()
		do("acme", "POST", "/v1/risk", fmt.Sprintf(`{"time":%q,"type":"auth.login","actor":"carol","outcome":"success","app":"erp"}`, time.Now().UTC().Format(time.RFC3339Nano)), 200, &a)
		return a
	}
	if a := risk(); a.Action != moat.Allow {
		t.Errorf("before any decision: %+v", a)
	}
	var d moat.Decision
	do("boss", "POST", "/v1/decisions", `{"partner":"acme","scope":"app","value":"erp","action":"deny","until":"`+until+`","reason":"leaks"}`, 201, &d)
	if d.Approval == "" || d.Origin != w.ids["boss"] {
		t.Errorf("a wide decision is %+v", d)
	}
	do("boss", "POST", "/v1/decisions/"+d.ID+"/approve", "", 200, &d)
	if d.Approval == "" || risk().Action != moat.Allow {
		t.Error("one person approved twice")
	}
	w.wants("another partner's approval", w.call("other", "POST", "/v1/decisions/"+d.ID+"/approve", ""), 404, "not_found")
	var approved moat.Decision // members that are left out must not stay as they were
	do("deputy", "POST", "/v1/decisions/"+d.ID+"/approve", "", 200, &approved)
	if a := risk(); approved.Approval != "" || a.Action != moat.Deny || len(a.Reasons) == 0 || a.Reasons[len(a.Reasons)-1].Decision != d.ID {
		t.Errorf("approved by two, the answer is %+v", a)
	}
	var entity api.EntityFile
	w.get("acme", "/v1/entities/app/erp", &entity)
	if len(entity.Decisions) != 1 || entity.Decisions[0].ID != d.ID {
		t.Errorf("in force for the app is %+v", entity.Decisions)
	}
	w.wants("a partner ends what two operators decided", w.call("acme", "DELETE", "/v1/decisions/"+d.ID, ""), 403, "forbidden")
	if risk().Action != moat.Deny {
		t.Error("a partner ended what two operators decided")
	}
	do("boss", "DELETE", "/v1/decisions/"+d.ID, "", 200, &d)
	if d.Undone == 0 || d.UndoneBy != w.ids["boss"] || risk().Action != moat.Allow {
		t.Errorf("undone, the decision is %+v", d)
	}
	do("boss", "DELETE", "/v1/decisions/"+d.ID, "", 200, nil)
	var own moat.Decision
	do("acme", "POST", "/v1/decisions", `{"scope":"account","value":"carol","action":"deny","until":"`+until+`","reason":"left us"}`, 201, &own)
	do("acme", "DELETE", "/v1/decisions/"+own.ID, "", 200, &own)
	if own.Undone == 0 || risk().Action != moat.Allow {
		t.Errorf("of its own, undone, the decision is %+v", own)
	}
	w.wants("approval of what was undone", w.call("boss", "POST", "/v1/decisions/"+d.ID+"/approve", ""), 400, "invalid")

	var trail api.Page[book.Record]
	w.get("boss", "/v1/audit?object="+d.ID, &trail)
	got := ""
	for _, r := range trail.Items {
		got = r.Act + " by " + strings.NewReplacer(w.ids["boss"], "boss", w.ids["deputy"], "deputy", w.ids["acme"], "acme").Replace(r.By) + "; " + got
	}
	if want := "decision.make by boss; decision.approve by deputy; decision.undo by boss; "; got != want {
		t.Errorf("the trail says %q, want %q", got, want)
	}
	var whole api.Vouched
	w.get("boss", "/v1/audit/verify", &whole)
	if seq, hash, err := w.node.Book.AuditHead(t.Context()); err != nil || whole.Seq != seq || whole.Hash != hash {
		t.Errorf("the trail is vouched for up to %+v, its head is %d %s, %v", whole, seq, hash, err)
	}
}

// TestPages reads each list in pages of one and of two, to the end: the same as at once, nothing twice.
func TestPages(t *testing.T) {
	w := newWorld(t)
	w.story()
	for i := range 5 {
		w.key(fmt.Sprint("more ", i), book.Key{Partner: "acme"})
	}
	now := regexp.MustCompile(`\btime:\S*`) // when a partner's risk was asked for
	for _, path := range []string{"/v1/findings", "/v1/cases", "/v1/decisions", "/v1/audit", "/v1/partners", "/v1/keys", "/v1/entities/account/alice", "/v1/findings?partner=acme&since=2020-01-01T00:00:00Z"} {
		all := w.pages(path, 0)
		if len(all) == 0 {
			t.Errorf("%s is empty", path)
		}
		for _, limit := range []int{1, 2} {
			some := w.pages(path, limit)
			if a, b := strings.Join(some, "\n"), strings.Join(all, "\n"); a != b && (path != "/v1/partners" || now.ReplaceAllString(a, "") != now.ReplaceAllString(b, "")) {
				t.Errorf("%s in pages of %d gives %d items, at once %d", path, limit, len(some), len(all))
			}
		}
	}
}

// pages reads a list to its end.
func (w *world) pages(path string, limit int) (items []string) {
	w.t.Helper()
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	if limit > 0 {
		path, sep = path+sep+fmt.Sprint("limit=", limit), "&"
	}
	for cursor := ""; ; {
		at := path
		if cursor != "" {
			at += sep + "cursor=" + cursor
		}
		var p api.Page[any]
		w.get("boss", at, &p)
		if limit > 0 && len(p.Items) > limit || len(p.Items) == 0 && cursor != "" {
			w.t.Fatalf("%s has %d items", at, len(p.Items))
		}
		for _, item := range p.Items {
			items = append(items, fmt.Sprint(item))
		}
		if cursor = p.Next; cursor == "" {
			return items
		}
		if len(items) > 1000 {
			w.t.Fatalf("%s has no end", path)
		}
	}
}

// filters asks lists for what is there and what is not.
func filters(t *testing.T, w *world) {
	caseID, _ := w.acmesOwn()
	at := w.base.Add(10 * time.Minute).Format(time.RFC3339)
	for path, some := range map[string]bool{
		"/v1/findings?partner=acme":                         true,
		"/v1/findings?partner=other":                        false,
		"/v1/findings?entity=account:alice":                 true,
		"/v1/findings?entity=account:bob":                   false,
		"/v1/findings?case=" + caseID:                       true,
		"/v1/findings?until=2020-01-01T00:00:00Z":           false,
		"/v1/cases?detector=account.test_guessing":          true,
		"/v1/cases?detector=account.none":                   false,
		"/v1/cases?rank=P4":                                 false,
		"/v1/cases?state=closed":                            false,
		"/v1/cases?entity=device:dev-secret":                true,
		"/v1/decisions?active=true":                         false,
		"/v1/decisions?active=false":                        true,
		"/v1/decisions?active=" + at:                        true,
		"/v1/decisions?waiting=true":                        false,
		"/v1/decisions?scope=account&value=alice":           true,
		"/v1/decisions?entity=account:alice&case=" + caseID: true,
		"/v1/audit?object=" + caseID:                        true,
		"/v1/audit?since=2999-01-01T00:00:00Z":              false,
		"/v1/keys?partner=acme":                             true,
		"/v1/partners?partner=none":                         false,
	} {
		var p api.Page[any]
		w.get("boss", path, &p)
		if len(p.Items) > 0 != some {
			t.Errorf("%s has %d items", path, len(p.Items))
		}
	}
	var f api.CaseFile
	w.get("acme", "/v1/cases/"+caseID, &f)
	if len(f.Findings) < 2 || len(f.Decisions) == 0 || f.Findings[0].Time > f.Findings[len(f.Findings)-1].Time {
		t.Errorf("the case has %d findings and %d decisions", len(f.Findings), len(f.Decisions))
	}
	if a := w.send("boss", "GET", "/v1/cases/"+caseID+"?x=1", "", ""); a.Code != http.StatusBadRequest {
		t.Errorf("an unknown parameter gives %d", a.Code)
	}
}
