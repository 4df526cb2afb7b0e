package main

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// casesCmd is about cases.
type casesCmd struct {
	List   casesListCmd   `cmd:"" default:"withargs" help:"List cases, the worst first."`
	Show   casesShowCmd   `cmd:"" help:"Tell the story of a case."`
	Judge  casesJudgeCmd  `cmd:"" help:"Write down what a case turned out to be."`
	Assign casesAssignCmd `cmd:"" help:"Give a case to somebody."`
	Close  casesCloseCmd  `cmd:"" help:"Close a case."`
	Reopen casesReopenCmd `cmd:"" help:"Open a closed case again."`
}

// Help shows how to use it.
func (casesCmd) Help() string {
	return examples("moat cases --rank P1", "moat cases show c_abcdefghijklmnop", "moat cases judge c_abcdefghijklmnop false_alarm",
		"moat cases --json --since 24h | jq .title")
}

type casesListCmd struct {
	filter
	Campaign string   `placeholder:"ID" help:"Only the cases of this campaign, each by itself."`
	Detector string   `placeholder:"ID" help:"Only where this detector took part."`
	Rank     rankFlag `placeholder:"P1…P4" help:"Only of this rank."`
	State    string   `enum:",open,closed" default:"" placeholder:"STATE" help:"Only open or closed ones."`
	Merged   bool     `help:"Also those that went into another case."`
}

// Run lists.
func (c *casesListCmd) Run(a *app) error {
	b, err := a.readOf(c.Partner)
	if err != nil {
		return err
	}
	defer b.Close()
	q := c.query()
	q.Detector, q.Rank, q.State, q.Campaign = c.Detector, moat.Rank(c.Rank), moat.CaseState(c.State), c.Campaign
	keep := func(x *moat.Case) bool { return c.Merged || x.Merged == "" }
	all := c.all(a, b, q)
	if a.JSON {
		return c.objects(a, all, keep)
	}
	byCampaign := map[string][]moat.Case{}
	n := 0
	for x, err := range all {
		if err != nil {
			return err
		}
		if keep(&x) {
			x.Findings, x.Detectors = nil, nil // the bulk of it
			key := x.Campaign
			if c.Campaign != "" || x.Merged != "" {
				key = x.ID
			}
			byCampaign[key] = append(byCampaign[key], x)
			n++
		}
	}
	if n == 0 {
		return a.none("cases", q, "A case opens when findings make an entity's risk worth one; `moat findings` shows what was seen.")
	}
	rows := make([]row, 0, len(byCampaign))
	for _, cases := range byCampaign {
		rows = append(rows, row{risk.CampaignOf(cases), cases})
	}
	found := len(rows)
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(b.State, a.State), risk.WorseCampaign(&a.Campaign, &b.Campaign))
	})
	rows = rows[:min(len(rows), cmp.Or(c.Limit, tableRows))]
	a.rows(rows)
	if found > len(rows) {
		a.out.line(a.out.paint(dim, fmt.Sprintf("… %s in all; --limit N shows more, --json all", many(found, "row"))))
	}
	if i := slices.IndexFunc(rows, func(r row) bool { return r.Cases > 1 }); i >= 0 {
		a.out.line(a.out.paint(dim, fmt.Sprintf("×N are the cases of one campaign: moat cases --campaign %s lists them, a verdict is on all", rows[i].ID)))
	}
	return nil
}

// all yields the cases that q asks for: those of one partner with the campaigns that it sees, and with what only the operator sees of it.
func (c *casesListCmd) all(a *app, b *book.Book, q book.Query) iter.Seq2[moat.Case, error] {
	if c.Partner == "" {
		return b.AllCases(a.ctx, moat.Everyone(), q)
	}
	return func(yield func(moat.Case, error) bool) {
		for _, name := range []string{c.Partner, moat.Veiled(c.Partner)} {
			q.Partner = name
			for x, err := range b.AllCases(a.ctx, moat.Only(name), q) {
				if !yield(x, err) {
					return
				}
			}
		}
	}
}

// objects prints the cases as JSON, in the order of the table, each by itself.
func (c *casesListCmd) objects(a *app, all iter.Seq2[moat.Case, error], keep func(*moat.Case) bool) error {
	var list []moat.Case
	for x, err := range all {
		if err != nil {
			return err
		}
		if keep(&x) {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, worse)
	for i := range list[:min(len(list), cmp.Or(c.Limit, len(list)))] {
		if err := a.object(list[i]); err != nil {
			return err
		}
	}
	return nil
}

// worse orders cases as the table does: what is open first, then the worst.
func worse(a, b moat.Case) int {
	return cmp.Or(cmp.Compare(b.State, a.State), risk.Worse(&a, &b))
}

// row is a line of the list: a campaign, which most often is a case by itself.
type row struct {
	moat.Campaign
	cases []moat.Case
}

// rows shows campaigns as a table.
func (a *app) rows(rows []row) {
	t := newTable("  r   r", "id", "rank", "score", "opened", "partner", "who", "orders", "state", "what")
	for i := range rows {
		m := &rows[i]
		partner, who, what, state := m.Partners[0], subjectOf(&m.cases[0]), m.Title, stateOf(&m.cases[0])
		if m.Cases > 1 {
			who, what, state = m.Subject.String(), fmt.Sprintf("×%d  %s", m.Cases, what), stateOf(&moat.Case{State: m.State, Verdict: m.Verdict})
			if n := len(m.Sources); n > 1 {
				who = fmt.Sprintf("%s +%d", who, n-1)
			}
		}
		if n := len(m.Partners); n > 1 {
			partner = many(n, "partner")
		}
		t.row(m.ID, rankCell(m.Rank), fmt.Sprintf("%.0f", m.Score), instant(m.Opened), partner, who, about("~", m.Orders)+number(m.Orders), state, what)
	}
	t.print(a.out)
}

// about returns the word for it where a number of exposed orders is an estimate: they are counted one by one up to a dozen.
func about(word string, orders int64) string {
	if orders > 12 {
		return word
	}
	return ""
}

// cases shows cases as a table.
func (a *app) cases(rows []moat.Case) {
	list := make([]row, len(rows))
	for i := range rows {
		list[i] = row{risk.CampaignOf(rows[i : i+1]), rows[i : i+1]}
	}
	a.rows(list)
}

// subjectOf says whom a case is about, where what he took went first, and how many more it names.
func subjectOf(c *moat.Case) string {
	if len(c.Entities) == 0 {
		return "-"
	}
	who, more := c.Entities[0].String(), len(c.Entities)-1
	if i := slices.IndexFunc(c.Entities, func(e moat.Entity) bool { return e.Kind == moat.Destination }); i > 0 {
		who, more = who+" → "+shorten(c.Entities[i].ID, 40), more-1
	}
	if more > 0 {
		who += fmt.Sprintf(" +%d", more)
	}
	return who
}

func stateOf(c *moat.Case) string {
	switch {
	case c.Merged != "":
		return "merged"
	case c.Verdict != "":
		return string(c.State) + ", " + string(c.Verdict)
	}
	return string(c.State)
}

type casesShowCmd struct {
	ID string `arg:"" help:"Id of the case."`
}

// caseFile is a case with all that belongs to it.
type caseFile struct {
	moat.Case
	Timeline  []moat.Finding  `json:"timeline"`
	Decisions []moat.Decision `json:"decisions"`
	Story     *story.Story    `json:"story"`
	Worth     []api.Worth     `json:"worth"`    // of the detectors that took part
	Together  int             `json:"together"` // how many cases its campaign has
}

// Run tells the story.
func (c *casesShowCmd) Run(a *app) error {
	b, err := a.read()
	if err != nil {
		return err
	}
	defer b.Close()
	var s caseFile
	if s.Case, s.Timeline, err = b.Case(a.ctx, moat.Everyone(), c.ID); err != nil {
		return unknownID(err, "`moat cases` lists them")
	}
	for d, err := range b.AllDecisions(a.ctx, moat.Everyone(), book.Query{Case: c.ID}) {
		if err != nil {
			return err
		}
		s.Decisions = append(s.Decisions, d)
	}
	together, err := b.Together(a.ctx, moat.Everyone(), c.ID)
	if err != nil {
		return err
	}
	s.Together = len(together)
	if s.Story, err = c.story(a, &s); err != nil {
		return err
	}
	if s.Worth, err = a.worthsOf(b, s.Case.Detectors); err != nil {
		return err
	}
	if a.JSON {
		return a.object(s)
	}
	a.story(&s)
	return nil
}

// worthsOf tells what verdicts say of detectors, those that run now.
func (a *app) worthsOf(b *book.Book, ids []string) ([]api.Worth, error) {
	plan, err := node.LoadPlan(a.Data, 0)
	if err != nil {
		return nil, err
	}
	x, err := b.Learned(a.ctx)
	if err != nil {
		return nil, err
	}
	tallies, out := x.Tallies(moat.Everyone()), []api.Worth{}
	for _, d := range plan.Detectors {
		if slices.Contains(ids, d.ID) {
			out = append(out, api.WorthOf(d.ID, d.Mode, tallies[d.ID], x.Demotion(d.ID)))
		}
	}
	return out, nil
}

// worths shows those of which there are verdicts.
func (a *app) worths(list []api.Worth) {
	t := newTable("  rr", "detector", "mode", "right", "precision")
	n := 0
	for _, w := range list {
		if w.N > 0 || w.Demoted != "" {
			n++
			t.row(w.Detector, stateCell(w), rightCell(w), precisionCell(w))
		}
	}
	if n > 0 {
		t.print(a.out)
		a.out.line()
	}
}

// story asks the server what happened, which knows the last half minute too, or the files.
func (c *casesShowCmd) story(a *app, f *caseFile) (*story.Story, error) {
	s, err := a.served()
	if err != nil {
		return nil, err
	}
	if s != nil {
		return s.Timeline(a.ctx, f.ID)
	}
	x, t, err := node.ReadStories(a.Data, a.log)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	return t.Tell(a.ctx, &f.Case, f.Timeline, f.Decisions)
}

// steps shows what happened, step by step.
func (a *app) steps(s *story.Story) {
	o := a.out
	for i := range s.Steps {
		x := &s.Steps[i]
		mark, st := "  ", plain
		switch {
		case x.Beginning:
			mark, st = "▶ ", red
		case x.Kind == "finding":
			st = yellow
		case x.Kind == "decision":
			st = green
		}
		label := instant(x.From) + "  "
		for n, l := range fold(clean(mark+x.Text), max(o.width, 120)-len(label)) {
			if n > 0 {
				label, l = strings.Repeat(" ", len(label)), "  "+l
			} else if x.Beginning {
				l = mark + strings.TrimPrefix(l, strings.TrimSpace(mark)+" ")
			} else {
				l = mark + l
			}
			o.line(label + o.paint(st, l))
		}
		if x.Beginning {
			o.line(strings.Repeat(" ", 23) + o.paint(dim, "this is where it began: "+clean(x.Why)))
		}
	}
	if s.Usual > 0 {
		o.line(o.paint(dim, fmt.Sprintf("besides, %s of the same accounts in that time look like their usual work", many(s.Usual, "event"))))
	}
	a.undetailed(s.Undetailed)
	if s.Cut {
		o.line(o.paint(dim, "there was more than can be told here: moat entity shows all of it"))
	}
}

func (a *app) story(s *caseFile) {
	o := a.out
	r := rankCell(s.Rank)
	o.line(o.paint(bold, s.ID), o.paint(r.style, r.text), fmt.Sprintf("risk %.0f of 100,", s.Score), stateOf(&s.Case))
	if s.Merged != "" {
		o.line("it went into", s.Merged)
	}
	if s.Follows != "" {
		o.line("it rests on other things than the older case of its subject:", s.Follows)
	}
	if s.Together > 1 {
		o.line(fmt.Sprintf("one of %s of one campaign, which have an address or a device of the attacker in common: moat cases --campaign %s", many(s.Together, "case"), s.Campaign))
	}
	o.wrap("", s.Title)
	o.wrap("why:    ", s.Reason)
	o.linef("when:   %s to %s", instant(s.Opened), instant(s.Updated))
	partner, veiled := moat.Unveiled(s.Partner)
	o.linef("where:  partner %s, %s%s exposed, expected damage %.1f", clean(partner), about("about ", s.Orders), many(s.Orders, "order"), s.Damage)
	if veiled {
		o.wrap("        ", fmt.Sprintf("%s does not see this case: it is about canaries, and nothing was decided. A decision of yours (POST /v1/decisions) would tell it", clean(partner)))
	}
	if s.Owner != "" {
		o.linef("owner:  %s", clean(s.Owner))
	}
	o.line()
	who := newTable("", "who", "id", "")
	for i, e := range s.Entities {
		role := ""
		if i == 0 {
			role = "subject"
		}
		who.row(e.Kind, e.ID, cell{role, dim})
	}
	who.print(o)
	o.line()
	a.damaged(s.Story.Damaged)
	a.steps(s.Story)
	if l := s.Story.Lead; l != nil {
		a.lead(l)
	}
	o.line()
	a.findings(s.Timeline)
	o.line()
	a.worths(s.Worth)
	if len(s.Decisions) > 0 {
		a.decisions(s.Decisions)
	} else {
		o.line("Nothing was decided: its rank or its detectors' modes bring no decision.")
	}
	if s.Merged == "" && len(s.Entities) > 0 {
		e := s.Entities[0]
		o.line()
		line := 0
		if l := s.Story.Lead; l != nil {
			a.leadNext(l, partner)
			line++
		}
		a.onward(line, fmt.Sprintf("moat entity %s %s", e.Kind, shell(e.ID)), fmt.Sprintf("moat cases judge %s confirmed|false_alarm|accepted", s.ID))
	}
}

// lead tells what complaints say of a case, and what they do not.
func (a *app) lead(l *story.Lead) {
	text := fmt.Sprintf("of %s that customers complained about within four weeks, %s had %s in hand before, among %s in all; for %s of them nobody is likelier. At %s its probability was %s.",
		many(l.Known, "order"), clean(l.Source.ID), number(l.Leaked), many(int64(l.Touched), "order"), number(l.Explains), instant(l.At), trace.Probability(min(l.Posterior, 0.99)))
	if n := l.Known - l.Explains; n > 0 {
		text += fmt.Sprintf(" %s do not lead to it, but to others or to nobody that was seen.", many(n, "order"))
	}
	a.out.line()
	a.out.wrap("complaints: ", text)
}

// leadNext says how to look again at what complaints lead to, and whom it exposed.
func (a *app) leadNext(l *story.Lead, partner string) {
	since, until := l.At-28*moat.Day, l.At+moat.Second
	a.onward(0, fmt.Sprintf("moat complaints --since %s --until %s --json | moat trace - --until %s", since.Std().Format(time.RFC3339), until.Std().Format(time.RFC3339), until.Std().Format(time.RFC3339)))
	if l.First == 0 {
		return
	}
	scope := fmt.Sprintf("moat scope %s %s", l.Source.Kind, shell(l.Source.ID))
	if l.Source.Kind != moat.Partner {
		scope += " --partner " + shell(partner)
	}
	scope += " --since " + l.First.Std().Format(time.DateOnly)
	if l.LastReport != 0 {
		scope += " --until " + l.LastReport.Std().Format(time.RFC3339)
	}
	a.onward(1, scope)
}

// one is for acts on a case, which else reach all of its campaign.
type one struct {
	Alone bool `help:"Only this case, not the others of its campaign."`
}

type casesJudgeCmd struct {
	one
	ID      string `arg:"" help:"Id of the case."`
	Verdict string `arg:"" enum:"confirmed,false_alarm,accepted,none" help:"confirmed, false_alarm, accepted, or none to take a verdict back."`
}

// Run judges.
func (c *casesJudgeCmd) Run(a *app) error {
	v := moat.Verdict(c.Verdict)
	if v == "none" {
		v = moat.NoVerdict
	}
	return c.change(a, c.ID, func(s *api.Client) (moat.Case, error) { return s.Judge(a.ctx, c.ID, v, !c.Alone) },
		func(b *book.Book, id string) error { return b.Judge(a.ctx, moat.Everyone(), id, v, a.by()) })
}

type casesAssignCmd struct {
	one
	ID    string `arg:"" help:"Id of the case."`
	Owner string `arg:"" optional:"" help:"Who works on it; nobody if left out."`
}

// Run assigns.
func (c *casesAssignCmd) Run(a *app) error {
	return c.change(a, c.ID, func(s *api.Client) (moat.Case, error) { return s.AssignCase(a.ctx, c.ID, c.Owner, !c.Alone) },
		func(b *book.Book, id string) error { return b.AssignCase(a.ctx, moat.Everyone(), id, c.Owner, a.by()) })
}

type casesCloseCmd struct {
	one
	ID string `arg:"" help:"Id of the case."`
}

// Run closes.
func (c *casesCloseCmd) Run(a *app) error {
	return c.change(a, c.ID, func(s *api.Client) (moat.Case, error) { return s.CloseCase(a.ctx, c.ID, !c.Alone) },
		func(b *book.Book, id string) error { return b.CloseCase(a.ctx, moat.Everyone(), id, a.by()) })
}

type casesReopenCmd struct {
	one
	ID string `arg:"" help:"Id of the case."`
}

// Run reopens.
func (c *casesReopenCmd) Run(a *app) error {
	return c.change(a, c.ID, func(s *api.Client) (moat.Case, error) { return s.ReopenCase(a.ctx, c.ID, !c.Alone) },
		func(b *book.Book, id string) error { return b.ReopenCase(a.ctx, moat.Everyone(), id, a.by()) })
}

// change does one thing to a case, or to each of its campaign, and shows what they are then.
func (o one) change(a *app, id string, through func(*api.Client) (moat.Case, error), alone func(*book.Book, string) error) error {
	c, err := change(a, through, func(b *book.Book) (moat.Case, error) {
		return b.Act(a.ctx, moat.Everyone(), id, !o.Alone, func(id string) error { return alone(b, id) })
	})
	if err != nil {
		return unknownID(err, "`moat cases` lists them")
	}
	if a.JSON {
		return a.object(c)
	}
	a.cases([]moat.Case{c})
	if o.Alone {
		return nil
	}
	b, err := a.read()
	if err != nil {
		return err
	}
	defer b.Close()
	if ids, err := b.Together(a.ctx, moat.Everyone(), id); err != nil {
		return err
	} else if len(ids) > 1 {
		a.out.line(fmt.Sprintf("and the other %s of its campaign; --alone reaches one case only", many(len(ids)-1, "case")))
	}
	return nil
}
