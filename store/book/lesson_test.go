package book

import (
	"errors"
	"fmt"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// TestLessons: what people say is numbered without a gap, says who may be taught by it, and is in the audit trail.
func TestLessons(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		c, _ := fill(t, b, "a", 1)
		ok(t, b.Judge(ctx, everyone, c.ID, moat.FalseAlarm, "mei"))
		ok(t, b.Judge(ctx, everyone, c.ID, moat.FalseAlarm, "mei")) // nothing new
		ok(t, b.Judge(ctx, moat.Only("a"), c.ID, moat.Confirmed, "an"))
		s, err := b.Snooze(ctx, moat.Only("a"), Snooze{Partner: "a", Entity: c.Entities[0], Detector: "d", Until: b.now() + moat.Day}, "an")
		ok(t, err)
		for range 2 {
			_, err = b.Wake(ctx, everyone, s.ID, "mei")
			ok(t, err)
			_, err = b.Demote(ctx, "d.one", "too many")
			ok(t, err)
		}
		for want := range 2 {
			turned, err := b.Promote(ctx, everyone, "d.one", "mei")
			if ok(t, err); turned != (want == 0) {
				t.Errorf("promoted %d times: %v", want+1, turned)
			}
		}
		list, err := b.Lessons(ctx, 0)
		ok(t, err)
		got := ""
		for _, l := range list {
			got += fmt.Sprintf("%d %s %s %v %s; ", l.Seq, l.Kind, l.Verdict, l.Own, l.Partner)
		}
		if want := "1 verdict false_alarm false a; 2 verdict confirmed true a; 3 snooze  true a; 4 wake  false a; 5 demote  false ; 6 promote  false ; "; got != want {
			t.Errorf("%s\nwant\n%s", got, want)
		}
		if l := list[0]; l.Object != c.ID || l.Score != c.Score || l.Rank != c.Rank || len(l.Families) == 0 || len(l.Entities) == 0 || fmt.Sprint(l.Detectors) != fmt.Sprint(c.Detectors) {
			t.Errorf("%+v", l)
		}
		x, err := b.Learned(ctx)
		ok(t, err)
		if x.Last() != 6 || x.Tallies(moat.Only("a"))[c.Detectors[0]] != (risk.Tally{False: 1}) { // no partner overrules the operator
			t.Errorf("%d, %v", x.Last(), x.Tallies(moat.Only("a")))
		}
		for _, act := range []string{"case.judge", "snooze.make", "snooze.end", "detector.demote", "detector.promote"} {
			n := 0
			for r, err := range b.AllAudit(ctx, everyone, Query{}) {
				if ok(t, err); r.Act == act {
					n++
				}
			}
			if n != 1 && !(act == "case.judge" && n == 2) {
				t.Errorf("%s is %d times in the audit trail", act, n)
			}
		}
		ok(t, b.Check(ctx))
	})
}

// TestPlaces: where a partition learned can be written again; others' places are not its.
func TestPlaces(t *testing.T) {
	each(t, func(t *testing.T, b *Book) {
		ctx := t.Context()
		ok(t, b.PutPlaces(ctx, 1, []Place{{1, 10}, {2, 10}}))
		ok(t, b.PutPlaces(ctx, 1, []Place{{2, 12}, {3, 13}}))
		ok(t, b.PutPlaces(ctx, 2, []Place{{1, 99}}))
		list, err := b.Places(ctx, 1, 1)
		if ok(t, err); fmt.Sprint(list) != "[{2 12} {3 13}]" {
			t.Errorf("%v", list)
		}
	})
}

// TestSnoozeBounds refuses what is not bounded, and the next when there are too many.
func TestSnoozeBounds(t *testing.T) {
	b := openTest(t, t.TempDir()+"/book.db")
	ctx, alice := t.Context(), moat.Entity{Kind: moat.Account, ID: "alice"}
	good := Snooze{Partner: "a", Entity: alice, Until: b.now() + 89*moat.Day}
	for name, spoil := range map[string]func(*Snooze){
		"past":    func(s *Snooze) { s.Until = b.now() },
		"long":    func(s *Snooze) { s.Until = b.now() + MaxSnooze + moat.Hour },
		"kind":    func(s *Snooze) { s.Entity.Kind = moat.NoEntity },
		"empty":   func(s *Snooze) { s.Entity.ID = "" },
		"control": func(s *Snooze) { s.Reason = "a\nb" },
		"partner": func(s *Snooze) { s.Partner = "" },
	} {
		s := good
		if spoil(&s); true {
			if _, err := b.Snooze(ctx, everyone, s, "mei"); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if _, err := b.write.Exec(fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < %d)
		INSERT INTO snoozes SELECT 'z' || i, 'a', 'account', 'x', '', 1, %d, 'mei', '', 0, '' FROM n`, MaxSnoozes-1, good.Until)); err != nil {
		t.Fatal(err)
	}
	_, err := b.Snooze(ctx, everyone, good, "mei")
	ok(t, err)
	if _, err := b.Snooze(ctx, everyone, good, "mei"); !errors.Is(err, ErrInvalid) {
		t.Errorf("one too many: %v", err)
	}
}

// TestMigrateLessons brings a book of the third shape up to date: its verdicts stay, and teach from the next one on.
func TestMigrateLessons(t *testing.T) {
	eachDSN(t, func(t *testing.T, dsn string) {
		b := openTest(t, dsn)
		c, _ := fill(t, b, "a", 1)
		ok(t, b.Judge(t.Context(), everyone, c.ID, moat.FalseAlarm, "mei"))
		for _, q := range append(beforeCampaigns, "DROP TABLE lessons", "DROP TABLE lesson_head", "DROP TABLE lesson_places", "DROP TABLE snoozes", "DROP INDEX findings_house", "DELETE FROM schema_version WHERE version > 3") {
			if _, err := b.write.Exec(q); err != nil {
				t.Fatal(err)
			}
		}
		ok(t, b.Close())
		b = openTest(t, dsn)
		ok(t, b.Judge(t.Context(), everyone, c.ID, moat.Confirmed, "mei"))
		if list, err := b.Lessons(t.Context(), 0); err != nil || len(list) != 1 || list[0].Verdict != moat.Confirmed {
			t.Errorf("after the migration: %d lessons, %v", len(list), err)
		}
	})
}
