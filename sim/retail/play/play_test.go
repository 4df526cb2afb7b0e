package play_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/sim/retail"
	"github.com/moat-platform/moat/sim/retail/play"
	"github.com/moat-platform/moat/store/book"
)

func world(t *testing.T) *retail.World {
	t.Helper()
	start, err := moat.ParseTime("2026-04-06T00:00:00Z")
	if err != nil {
		t.Fatal(err)
	}
	w, err := retail.New(retail.Config{Seed: 3, Start: start, Days: retail.MinDays})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestRun plays four weeks over signed HTTP, the river, the engine and the store.
func TestRun(t *testing.T) {
	w, dir := world(t), t.TempDir()
	var last play.State
	r, err := play.Run(t.Context(), play.Config{Dir: dir, World: w, Shown: func(s play.State) { last = s }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Verdict.Found() < 5 || len(r.Verdict.False) > 4 {
		t.Errorf("found %d of %d, %d false", r.Verdict.Found(), len(r.Verdict.Outcomes), len(r.Verdict.False))
	}
	if r.Events < 30_000 || r.Findings == 0 || last.Days != retail.MinDays {
		t.Errorf("%d events, %d findings, shown %+v", r.Events, r.Findings, last)
	}
	stories(t, dir, &r)
	decided := false
	for _, o := range r.Verdict.Outcomes {
		decided = decided || o.Case != nil && len(r.Decisions[o.Case.ID]) > 0
	}
	if !decided {
		t.Error("nothing was decided about any thief")
	}
	t.Logf("%d events in %s", r.Events, r.Took)
}

// TestSame plays twice with one secret: what is found is the same, to the estimates.
func TestSame(t *testing.T) {
	var found [2][]string
	for i := range found {
		dir := t.TempDir()
		if _, err := play.Run(t.Context(), play.Config{Dir: dir, Secret: "same", World: world(t)}); err != nil {
			t.Fatal(err)
		}
		b, err := book.OpenReadOnly(t.Context(), filepath.Join(dir, "book.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		for f, err := range b.AllFindings(t.Context(), moat.Everyone(), book.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			found[i] = append(found[i], fmt.Sprintf("%s %s %d %s", f.ID, f.Time, f.Orders, f.Reason))
		}
		b.Close()
		slices.Sort(found[i])
	}
	if len(found[0]) < 20 || !slices.Equal(found[0], found[1]) {
		t.Errorf("found were %s\nand then %s", strings.Join(found[0], "\n"), strings.Join(found[1], "\n"))
	}
}

// told is what the story of each theft must tell: how it began, and what was taken.
var told = map[string]struct{ began, taken string }{
	"password stuffing, export":   {`signed in from 91\.219\..*attempts from the same address, this one opened`, `exported \d+ orders with .* from 91\.219\.`},
	"bribed clerk's slow drip":    {`viewed \d+ orders.*own access`, `viewed \d+ orders`},
	"scraper in a stolen session": {`had not been used from this address`, `(viewed|was refused) \d+ orders .*from`},
	"stolen app key":              {`pulled \d+ orders through the API .*had not been used from`, `pulled \d+ orders through the API`},
	"new hire's bulk copy":        {`Account robin\.\S+ was seen for the first time`, `robin\.\S+ viewed \d+ orders`},
	"break-in, database dump":     {`deploy signed in to server .*attempts from the same address`, `deploy read [0-9,]+ rows from the database`},
}

// stories reads the story of each theft that was found: it begins where the thief came in, and tells what was
// taken, by whom, in order.
func stories(t *testing.T, dir string, r *play.Result) {
	t.Helper()
	b, err := book.OpenReadOnly(t.Context(), filepath.Join(dir, "book.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	index, teller, err := node.ReadStories(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer index.Close()
	for _, o := range r.Verdict.Outcomes {
		if o.Case == nil {
			continue
		}
		c, findings, err := b.Case(t.Context(), moat.Everyone(), o.Case.ID)
		if err != nil {
			t.Fatal(err)
		}
		s, err := teller.Tell(t.Context(), &c, findings, r.Decisions[c.ID])
		if err != nil {
			t.Fatal(err)
		}
		began, taken, last, text := 0, false, moat.Time(0), ""
		for _, x := range s.Steps {
			line := x.Text
			if x.Beginning {
				began++
				line += " " + x.Why
				if !regexp.MustCompile(told[o.Theft.Name].began).MatchString(line) {
					t.Errorf("%s begins with %q", o.Theft.Name, line)
				}
			}
			taken = taken || x.Kind != "finding" && regexp.MustCompile(told[o.Theft.Name].taken).MatchString(x.Text)
			if x.From < last || x.To < x.From {
				t.Errorf("%s is not in order at %s", o.Theft.Name, x.From)
			}
			last = x.From
			text += x.From.String() + " " + line + "\n"
		}
		if began != 1 || !taken || len(s.Steps) == 0 {
			t.Errorf("the story of %q has %d beginnings, taken is told: %v\n%s", o.Theft.Name, began, taken, text)
		}
		t.Logf("%s\n%s", o.Theft.Name, text)
	}
}

// TestRefusesData does not mix a play with what is there.
func TestRefusesData(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "book.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := play.Run(t.Context(), play.Config{Dir: dir, World: world(t)}); !errors.Is(err, play.ErrInUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
}
