// Package story tells what happened in a case, in sentences and in order: it gathers what the entities of
// the case did around the findings, folds repetitions, and names the step that made the rest possible.
//
// Use [Teller.Tell] to show a case to somebody who has to act on it and does not know the events.
//
// It will not judge anybody, tell a partner what happened at another, or read without bound: it tells a
// case in at most [MaxSteps] steps, and says when there was more than it could read.
//
// A hand is an address and a device that somebody acts with. The story tells what was done by the hands
// that the findings rest on, and by the addresses, devices and servers that the case names; what an
// account in the case did otherwise is its usual work, and only counted. The beginning is the earliest step
// of such a hand that opened a door: the first successful sign-in after failed ones, the first act of a hand
// that the subject never used before, of an account that is new, a changed credential, a planted file.
// Without any, it is the first thing that was taken. That something planted was touched is a sign that others had it, and begins nothing.
package story

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/run"
)

// Bounds of a story.
const (
	MaxSteps    = 40
	maxRead     = 100_000          // events of one entity
	maxBefore   = 20_000           // events before the window, to know what is usual
	maxEntities = 50               // of a case
	maxDetails  = 200              // events that are looked up in the lake
	maxLooks    = 16               // steps of which it is asked whether their hand is new
	lookBack    = 30 * moat.Day    // to know what is usual
	margin      = 6 * moat.Hour    // around the findings
	detailsFor  = 3 * time.Second  // that the lake may take
	bucket      = 10 * moat.Minute // what is alike within it is one step
	maxOrders   = 1 << 20          // that are told apart
	recent      = 14 * moat.Day    // an account that is younger is new
	changedIn   = 7 * moat.Day     // before the first finding a changed credential matters
)

// Config is what a [Teller] reads. Diary is required.
type Config struct {
	Diary *diary.Diary
	// Scan reads whole events, as [lake.Lake.Scan] does; nil tells without details such as the path of a file.
	Scan func(ctx context.Context, f lake.Filter, fn func(lake.Position, *moat.Event) error) error
	// Country tells the country of an address, ISO 3166-1 alpha-2, or "". Nil knows none.
	Country func(ip string) string
	Logger  *slog.Logger // told why the lake cannot be read; nil = nobody is
}

// Teller tells stories. It is safe for concurrent use.
type Teller struct{ cfg Config }

// New returns a teller.
func New(cfg Config) *Teller {
	if cfg.Country == nil {
		cfg.Country = func(string) string { return "" }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Teller{cfg}
}

// Story is what happened in a case.
type Story struct {
	Case  string    `json:"case"`
	From  moat.Time `json:"from,omitzero"` // the window that was looked at
	To    moat.Time `json:"to,omitzero"`
	Steps []Step    `json:"steps"` // the oldest first
	// Lead is there if complaints lead to the case.
	Lead *Lead `json:"lead,omitempty"`
	// Usual is how many other events the accounts of the case had meanwhile: their usual work.
	Usual int64 `json:"usual"`
	// Cut says that there was more than could be read or told.
	Cut bool `json:"cut,omitempty"`
	// Damaged is how many parts of the diary could not be read.
	Damaged int `json:"damaged,omitempty"`
	// Undetailed is there if the lake could not tell more of some steps, such as the path of a file.
	Undetailed *Undetailed `json:"undetailed,omitempty"`
}

// Step is one thing that happened, or many alike.
type Step struct {
	From moat.Time `json:"from"`
	To   moat.Time `json:"to"`
	Kind string    `json:"kind"` // an event type, or "finding" or "decision"
	Text string    `json:"text"` // a sentence
	// Beginning marks the step that made the rest possible, and Why says why it is thought so.
	Beginning bool     `json:"beginning,omitempty"`
	Why       string   `json:"why,omitempty"`
	Who       string   `json:"who,omitempty"`
	IP        string   `json:"ip,omitempty"`
	Country   string   `json:"country,omitempty"`
	Device    string   `json:"device,omitempty"`
	Host      string   `json:"host,omitempty"`
	Outcome   string   `json:"outcome,omitempty"`
	Events    int64    `json:"events"`
	Orders    int64    `json:"orders,omitempty"`  // different ones
	Records   int64    `json:"records,omitempty"` // as often as they were touched
	Findings  []string `json:"findings,omitempty"`
}

// Tell tells the story of a case. Whoever calls it has looked whether the reader may see the case; what
// other partners did is never part of it.
func (t *Teller) Tell(ctx context.Context, c *moat.Case, findings []moat.Finding, decisions []moat.Decision) (*Story, error) {
	s := &Story{Case: c.ID, Steps: []Step{}}
	if len(findings) > 0 {
		if err := t.events(ctx, c, findings, s); err != nil {
			return nil, fmt.Errorf("cannot tell story of case %s: %w", c.ID, err)
		}
	}
	if s.Lead = lead(findings); s.Lead != nil {
		s.lead(s.Lead.steps())
	}
	s.Steps = append(s.Steps, noticed(findings)...)
	s.Steps = append(s.Steps, decided(decisions)...)
	slices.SortStableFunc(s.Steps, func(a, b Step) int { return cmp.Compare(a.From, b.From) })
	return s, nil
}

// events tells what happened around the findings.
func (t *Teller) events(ctx context.Context, c *moat.Case, findings []moat.Finding, s *Story) error {
	s.From, s.To = findings[0].Time, findings[0].Time
	for _, f := range findings {
		s.From, s.To = min(s.From, f.Time), max(s.To, f.Time)
	}
	first := s.From
	s.From, s.To = max(s.From-margin, 0), min(s.To, math.MaxInt64-margin)+margin
	g := newGathering(t, c, findings, first)
	if err := g.read(ctx, s); err != nil {
		return err
	}
	list, err := g.choose(ctx, s)
	if err == nil {
		err = g.tell(ctx, s, list)
	}
	return err
}

// noticed makes a step of each detector that fired, and of each channel of what was planted.
func noticed(findings []moat.Finding) (list []Step) {
	at := map[string]int{}
	for _, f := range findings {
		of := f.Detector + " " + f.Channel
		i, ok := at[of]
		if !ok {
			i = len(list)
			at[of] = i
			list = append(list, Step{From: f.Time, To: f.Time, Kind: "finding", Text: "Moat noticed: " + f.Reason})
		}
		x := &list[i]
		x.From, x.To, x.Events = min(x.From, f.Time), max(x.To, f.Time), x.Events+1
		if len(x.Findings) < 20 {
			x.Findings = append(x.Findings, f.ID)
		}
	}
	for i := range list {
		if n := list[i].Events; n > 1 {
			list[i].Text += fmt.Sprintf("; and %s like it", many(n-1, "finding"))
		}
		list[i].Text += "."
	}
	return list
}

// decided makes a step of what was decided about each target.
func decided(decisions []moat.Decision) (list []Step) {
	decisions = slices.Clone(decisions)
	slices.SortStableFunc(decisions, func(a, b moat.Decision) int { return cmp.Compare(a.From, b.From) })
	at, until := map[string]int{}, []moat.Time{}
	for _, d := range decisions {
		text := fmt.Sprintf("Moat decided: %s %s %s", d.Action, d.Scope, d.Value)
		i, ok := at[text]
		if !ok {
			i = len(list)
			at[text] = i
			list, until = append(list, Step{From: d.From, To: d.From, Kind: "decision", Text: text}), append(until, 0)
		}
		list[i].To, list[i].Events, until[i] = d.From, list[i].Events+1, max(until[i], d.Until)
		if ok && list[i].Events == 2 {
			list[i].Text += ", again and again"
		}
		if !ok && d.Approval != "" {
			list[i].Text += ", if somebody approves"
		}
	}
	for i := range list {
		list[i].Text += " until " + until[i].Std().Format(time.DateTime) + "."
	}
	return list
}

// hand is what somebody acts with.
type hand struct{ ip, device string }

// key tells acts apart that must not be folded.
type key struct {
	hand
	actor, app, host, operation, destination string
	kind                                     moat.EventType
	outcome                                  moat.Outcome
	encrypted                                bool
}

// group is events that are alike and near in time.
type group struct {
	key
	first, last     moat.Time
	events, records int64
	named           bool
	actors          map[string]bool
	orders          map[string]bool
	fields          []string
	anchored        bool   // a finding rests on it
	sample          string // id of its first event
	detail          *moat.Event
	job             bool
	begins          string // why, if it opened a door
}

// gathering is what is read of a case.
type gathering struct {
	t        *Teller
	c        *moat.Case
	first    moat.Time // finding
	anchors  map[string]bool
	accounts map[string]bool
	// suspected are those of the accounts that a finding is about; the others were tried, or only seen with it.
	suspected map[string]bool
	ips       map[string]bool
	devices   map[string]bool
	hosts     map[string]bool
	apps      map[string]bool
	seen      map[run.At]bool
	groups    map[key]map[moat.Time]*group
	orders    int
	used      map[hand]bool   // by the accounts and apps of the case, before the window
	usedFrom  map[string]bool // addresses
	born      moat.Time       // first event of them that is known
	young     bool            // the only account of the case is new, and its partner is not
}

func newGathering(t *Teller, c *moat.Case, findings []moat.Finding, first moat.Time) *gathering {
	g := &gathering{t: t, c: c, first: first, anchors: map[string]bool{}, accounts: map[string]bool{}, suspected: map[string]bool{}, ips: map[string]bool{}, devices: map[string]bool{},
		hosts: map[string]bool{}, apps: map[string]bool{}, seen: map[run.At]bool{}, groups: map[key]map[moat.Time]*group{}, used: map[hand]bool{}, usedFrom: map[string]bool{}}
	for _, f := range findings {
		for _, e := range f.Events {
			g.anchors[e] = true
		}
	}
	about := func(e moat.Entity) bool {
		return e == c.Entities[0] || slices.ContainsFunc(findings, func(f moat.Finding) bool {
			return f.Entity == e || e.Kind == moat.Host && f.Family == "host" && slices.Contains(f.Related, e)
		})
	}
	for _, e := range c.Entities {
		if (e.Kind == moat.Host || e.Kind == moat.App) && !about(e) { // many people's, who were only served by it
			continue
		}
		if e.Kind == moat.Account && about(e) {
			g.suspected[e.ID] = true
		}
		if to := map[moat.EntityKind]map[string]bool{moat.Account: g.accounts, moat.IP: g.ips, moat.Device: g.devices, moat.Host: g.hosts, moat.App: g.apps}[e.Kind]; to != nil {
			to[e.ID] = true
		}
	}
	return g
}

var errEnough = errors.New("enough")

// read reads the diaries of the entities, the narrow ones first, and what the subject did before.
func (g *gathering) read(ctx context.Context, s *Story) error {
	for _, kind := range []moat.EntityKind{moat.IP, moat.Device, moat.Host, moat.Account, moat.App, moat.Outlet} {
		for i, e := range g.c.Entities {
			if e.Kind != kind || i >= maxEntities || i > 0 && (kind == moat.Outlet || kind == moat.App) || kind == moat.Host && !g.hosts[e.ID] { // they are many people's
				continue
			}
			if err := s.note(g.each(ctx, e, s.From, s.To, maxRead, g.add)); err != nil {
				return err
			}
		}
	}
	if s.From == 0 { // nothing is before it
		return nil
	}
	for i, e := range g.c.Entities {
		if e.Kind != moat.Account && (e.Kind != moat.App || len(g.accounts) > 0) || i >= maxEntities {
			continue
		}
		if err := s.note(g.each(ctx, e, max(s.From-lookBack, 0), s.From, maxBefore, g.before)); err != nil {
			return err
		}
	}
	return g.age(ctx)
}

// age finds out whether the subject is an account that is new where others are not.
func (g *gathering) age(ctx context.Context) error {
	if g.born == 0 || g.born < g.first-recent || len(g.accounts) != 1 || g.c.Entities[0].Kind != moat.Account {
		return nil
	}
	q := diary.Query{Partner: g.c.Partner, Entity: moat.Entity{Kind: moat.Partner, ID: g.c.Partner}, To: max(g.born-changedIn, 1)}
	p, err := g.t.cfg.Diary.Entity(ctx, moat.Only(g.c.Partner), q, 1, "")
	if err == nil {
		g.young = len(p.Touches) > 0
	}
	return err
}

// each calls fn for the events of an entity at the partner of the case, for so many of them. It tells how many parts of the diary could not be read, and
// whether there was more or fn had enough.
func (g *gathering) each(ctx context.Context, e moat.Entity, from, to moat.Time, limit int, fn func(*run.Row, *run.Source, *run.Act) error) (damaged int, cut bool, err error) {
	n := 0
	damaged, err = g.t.cfg.Diary.Each(ctx, moat.Only(g.c.Partner), diary.Query{Partner: g.c.Partner, Entity: e, From: from, To: to}, func(r *run.Row) error {
		if n++; n > limit {
			return errEnough
		}
		src, act, err := r.Acted()
		if err != nil {
			return err
		}
		return fn(r, src, act)
	})
	if errors.Is(err, errEnough) {
		return damaged, true, nil
	}
	return damaged, false, err
}

// note keeps what [gathering.each] told.
func (s *Story) note(damaged int, cut bool, err error) error {
	s.Damaged, s.Cut = max(s.Damaged, damaged), s.Cut || cut
	return err
}

// before learns which hands are usual, and since when the accounts are known.
func (g *gathering) before(r *run.Row, src *run.Source, act *run.Act) error {
	if g.born == 0 || r.Time < g.born {
		g.born = r.Time
	}
	if act.Outcome == moat.Success && act.Type != moat.AccountChange {
		g.used[hand{src.IP, src.Device}], g.usedFrom[src.IP] = true, true
	}
	if act.Type == moat.AccountChange && r.Time >= g.first-changedIn {
		return g.add(r, src, act)
	}
	return nil
}

// add takes one event in.
func (g *gathering) add(r *run.Row, src *run.Source, act *run.Act) error {
	if g.seen[r.At] {
		return nil
	}
	g.seen[r.At] = true
	k := key{hand: hand{src.IP, src.Device}, actor: src.Actor, app: src.App, host: act.Host, operation: act.Operation, destination: act.Destination,
		kind: act.Type, outcome: act.Outcome, encrypted: act.Encrypted}
	signIn := act.Type == moat.AuthLogin || act.Type == moat.HostLogin
	if signIn {
		k.app, k.operation = "", ""
	}
	if signIn && act.Outcome != moat.Success { // whose password is tried does not matter
		k.actor, k.device = "", ""
	}
	if act.Type == moat.OrderAccess && act.Host != "" && src.Actor != "" { // which server answers a person is chance
		k.host = ""
	}
	at := r.Time - r.Time%bucket
	if g.groups[k] == nil {
		g.groups[k] = map[moat.Time]*group{}
	}
	x := g.groups[k][at]
	if x == nil {
		x = &group{key: k, first: r.Time, last: r.Time, actors: map[string]bool{}, orders: map[string]bool{}, fields: act.Fields, job: src.ActorKind == moat.ActorSystem}
		g.groups[k][at] = x
	}
	return x.add(g, r, src)
}

func (x *group) add(g *gathering, r *run.Row, src *run.Source) error {
	x.events++
	x.records += r.Count
	if len(x.actors) < 1000 && src.Actor != "" {
		x.actors[src.Actor] = true
	}
	earlier := r.Time <= x.first
	x.first, x.last = min(x.first, r.Time), max(x.last, r.Time)
	return r.IDs(func(i int, id []byte) {
		if i == 0 {
			if g.anchors[string(id)] {
				x.anchored = true
			}
			if earlier || x.sample == "" {
				x.sample = string(id)
			}
			return
		}
		x.named = true
		if !x.orders[string(id)] && g.orders < maxOrders {
			g.orders++
			x.orders[string(id)] = true
		}
	})
}
