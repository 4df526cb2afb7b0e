package foresee

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/moat-platform/moat"
)

// TestDue asks once a day while complaints come, sooner if they rise, and not without any.
func TestDue(t *testing.T) {
	const start = 1_772_409_600 * moat.Second
	var q inquiry
	q.due(start, false)
	hear := func(n int, at moat.Time, surge bool) {
		for range n {
			q.hear(Complaint{Order: fmt.Sprint("o", len(q.Heard)), At: at - moat.Hour, Heard: at}, surge)
		}
		q.due(at, false)
	}
	want := func(what string, n int) {
		t.Helper()
		if len(q.Asked) != n {
			t.Errorf("%s: %d questions, want %d", what, len(q.Asked), n)
		}
	}
	hear(2, start+moat.Hour, false)
	want("two, at once", 0)
	q.due(start+25*moat.Hour, false)
	want("two are too few to be traced", 0)
	hear(4, start+30*moat.Hour, false)
	want("the day is not over", 0)
	q.due(start+50*moat.Hour, false)
	want("a day later", 1)
	q.due(start+200*moat.Hour, false)
	want("nothing new", 1)
	hear(1, start+201*moat.Hour, true)
	want("a detector finds that there are many", 2)
	hear(1, start+202*moat.Hour, true)
	want("too soon again", 2)
	hear(12, start+210*moat.Hour, false)
	want("many more than before", 3)
	q.due(start+210*moat.Hour, true)
	want("nothing is left when all settles", 3)

	asked, ok := q.question()
	if !ok || asked.At != start+50*moat.Hour || len(asked.Complaints) != 6 {
		t.Errorf("the first question is of %v, about %d", asked.At, len(asked.Complaints))
	}
	q.hear(Complaint{Order: "o0", At: 5, Heard: start + 220*moat.Hour}, false)
	if asked, _ = q.question(); asked.Complaints[0].At != 5 || len(asked.Complaints) != 6 {
		t.Errorf("an order that is complained of again: %+v", asked.Complaints[0])
	}
	b, err := json.Marshal(&q)
	var again inquiry
	if err != nil || json.Unmarshal(b, &again) != nil {
		t.Fatal(err)
	}
	q.index = nil
	if !reflect.DeepEqual(q, again) {
		t.Error("a snapshot loses something")
	}
}

// TestTimeSetRight: complaints of next year, out of a file, hold up those of today for no longer than a day, and the same time that comes again is
// that of another question.
func TestTimeSetRight(t *testing.T) {
	const today = 1_772_409_600 * moat.Second
	const wrong = today + 300*moat.Day
	var q inquiry
	hear := func(order string, at moat.Time) {
		q.hear(Complaint{Order: order, At: at, Heard: at}, false)
		q.due(at, false)
	}
	for i := range 3 {
		hear(fmt.Sprint("w", i), wrong)
	}
	q.due(wrong, true)
	for i := range 4 {
		hear(fmt.Sprint("o", i), today+moat.Time(i)*moat.Hour)
	}
	if at := q.newest(); at != today+3*moat.Hour {
		t.Errorf("the newest is of %v", at)
	}
	q.due(today+26*moat.Hour, false)
	if len(q.Asked) != 2 {
		t.Fatalf("%d questions", len(q.Asked))
	}
	first, _ := q.question()
	q.Asked = q.Asked[1:]
	second, _ := q.question()
	if first.Number != 1 || first.At != wrong || second.Number != 2 || second.At != today+26*moat.Hour || len(second.Complaints) != 4 {
		t.Errorf("questions %+v and %+v", first, second)
	}
	a := New(Config{})
	again := second
	again.Number++
	if x, y := a.Answer(second, nil)[0], a.Answer(again, nil)[0]; x.Time != y.Time || x.ID == y.ID {
		t.Errorf("answers %s and %s of one time", x.ID, y.ID)
	}
	for i := range 3 { // one wrong among them does not set the time of all
		hear(fmt.Sprint("p", i), today+30*moat.Hour)
	}
	q.hear(Complaint{Order: "x", Heard: wrong}, false)
	if at := q.newest(); at != today+30*moat.Hour {
		t.Errorf("the newest is of %v", at)
	}
	hear("w0", today+31*moat.Hour)
	if q.Heard[0].Heard != today+31*moat.Hour {
		t.Errorf("what is heard again is %+v", q.Heard[0])
	}
}

// TestHeardBounded: a flood of complaints keeps the newest, and questions that nobody answers do not pile up.
func TestHeardBounded(t *testing.T) {
	var q inquiry
	for i := range 3 * maxHeard {
		at := moat.Time(i+1) * moat.Hour
		q.hear(Complaint{Order: fmt.Sprint(i), At: at, Heard: at}, false)
		q.due(at, false)
	}
	if len(q.Heard) > 2*maxHeard || len(q.Asked) > maxAsked || q.Heard[len(q.Heard)-1].Order != fmt.Sprint(3*maxHeard-1) {
		t.Errorf("%d complaints, %d questions", len(q.Heard), len(q.Asked))
	}
}
