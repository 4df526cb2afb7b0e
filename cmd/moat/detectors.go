package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// detectorsCmd is about detectors.
type detectorsCmd struct {
	List    detectorsListCmd    `cmd:"" default:"withargs" help:"List the detectors and what verdicts say of them, or explain one."`
	Promote detectorsPromoteCmd `cmd:"" help:"Let a detector that was demoted bring decisions again."`
}

// detectorsListCmd lists the detectors or explains one.
type detectorsListCmd struct {
	YAML bool   `name:"yaml" help:"Print the file of the detector, to begin one's own with."`
	ID   string `arg:"" optional:"" help:"Id of a detector."`
}

// Help shows how to use it.
func (detectorsCmd) Help() string {
	return examples("moat detectors", "moat detectors account.login_failures", "moat detectors account.login_failures --yaml > moat-data/detectors/login_failures.yaml",
		"moat detectors promote account.login_failures")
}

// detector is one as JSON shows it.
type detector struct {
	ID             string          `json:"id"`
	Dimension      string          `json:"dimension"`
	Family         string          `json:"family"`
	Title          string          `json:"title"`
	Mode           moat.Mode       `json:"mode"`
	Subject        moat.EntityKind `json:"subject"`
	CostNS         float64         `json:"cost_ns"`
	Doc            string          `json:"doc"`
	Params         []detectorParam `json:"params"`
	Attack         []string        `json:"attack"`
	FalsePositives []string        `json:"false_positives"`
	Evasions       []string        `json:"evasions"`
	Worth          api.Worth       `json:"worth"`
}

type detectorParam struct {
	Name    string  `json:"name"`
	Default float64 `json:"default"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Unit    string  `json:"unit,omitempty"`
	Doc     string  `json:"doc"`
}

// Run lists or explains.
func (c *detectorsListCmd) Run(a *app) error {
	plan, err := node.LoadPlan(a.Data, 0)
	if err != nil {
		return err
	}
	list := plan.Detectors
	if c.ID != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(d *rule.Compiled) bool { return d.ID != c.ID })
		if len(list) == 0 {
			return hint(fmt.Errorf("cannot explain detector %q: there is none", c.ID), "`moat detectors` lists them")
		}
	}
	learned, err := a.learned()
	if err != nil {
		return err
	}
	tallies := learned.Tallies(moat.Everyone())
	worth := func(d *rule.Compiled) api.Worth {
		return api.WorthOf(d.ID, d.Mode, tallies[d.ID], learned.Demotion(d.ID))
	}
	switch {
	case c.YAML:
		return c.source(a)
	case a.JSON:
		for _, d := range list {
			if err := a.object(detectorOf(d, worth(d))); err != nil {
				return err
			}
		}
	case c.ID != "":
		c.explain(a, list[0], worth(list[0]))
	default:
		t := newTable("    rrr", "id", "dim", "mode", "subject", "ns", "right", "precision", "title")
		for _, d := range list {
			w := worth(d)
			t.row(d.ID, d.Dimension, stateCell(w), d.Subject, fmt.Sprintf("%.0f", d.CostNS), rightCell(w), precisionCell(w), d.Title)
		}
		t.print(a.out)
	}
	return nil
}

func modeCell(m moat.Mode) cell {
	return cell{m.String(), map[moat.Mode]style{moat.Shadow: dim, moat.Enforce: green}[m]}
}

// stateCell is the mode that holds.
func stateCell(w api.Worth) cell {
	if w.Demoted != "" {
		return cell{"demoted", yellow}
	}
	return modeCell(w.State)
}

// rightCell tells how many of the judged cases were confirmed.
func rightCell(w api.Worth) cell {
	if w.N == 0 {
		return cell{"-", dim}
	}
	return cell{fmt.Sprintf("%d/%d", w.Confirmed, w.N), plain}
}

func precisionCell(w api.Worth) cell {
	if w.N == 0 {
		return cell{"-", dim}
	}
	return cell{fmt.Sprintf("≥ %.0f %%", 100*w.PrecisionLow), plain}
}

// learned is what verdicts said so far; nothing in a folder without a book.
func (a *app) learned() (*risk.Learned, error) {
	b, err := a.read()
	if errors.Is(err, book.ErrNoBook) || errors.Is(err, book.ErrOlder) {
		return risk.NewLearned(), nil
	}
	if err != nil {
		return nil, err
	}
	defer b.Close()
	return b.Learned(a.ctx)
}

func detectorOf(d *rule.Compiled, w api.Worth) detector {
	out := detector{ID: d.ID, Dimension: d.Dimension, Family: d.Family, Title: d.Title, Mode: d.Mode, Subject: d.Subject, CostNS: d.CostNS, Doc: d.Doc,
		Params: []detectorParam{}, Attack: orEmpty(d.Attack), FalsePositives: orEmpty(d.FalsePositives), Evasions: orEmpty(d.Evasions), Worth: w}
	for _, p := range d.Params {
		out.Params = append(out.Params, detectorParam{p.Name, p.Default, p.Min, p.Max, p.Unit, p.Doc})
	}
	return out
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (c *detectorsListCmd) explain(a *app, d *rule.Compiled, w api.Worth) {
	o := a.out
	var on []string
	for _, t := range d.On {
		on = append(on, t.String())
	}
	o.line(o.paint(bold, d.ID), d.Title)
	o.linef("dimension %s, mode %s, watches %s, %s the %s", d.Dimension, d.Mode, strings.Join(on, ", "), d.Brings(), d.Subject)
	if w.N+w.Accepted > 0 {
		o.linef("of its judged cases %d were confirmed, %d false alarms and %d accepted: precision at least %.0f %%", w.Confirmed, w.FalseAlarms, w.Accepted, 100*w.PrecisionLow)
	}
	if w.Demoted != "" {
		o.wrap("", o.paint(yellow, "demoted: ")+w.Demoted+". It brings no decisions until: moat detectors promote "+d.ID)
	}
	o.line()
	o.wrap("", d.Doc)
	o.line()
	o.wrap("when        ", d.Detector.When.S)
	o.wrap("confidence  ", d.Detector.Confidence.S)
	o.wrap("reason      ", d.Detector.Reason.S)
	if len(d.Params) > 0 {
		o.line()
		t := newTable(" rrr", "parameter", "default", "min", "max", "unit", "meaning")
		for _, p := range d.Params {
			t.row(p.Name, p.Default, p.Min, p.Max, p.Unit, p.Doc)
		}
		t.print(o)
	}
	for _, l := range []struct {
		name  string
		items []string
	}{{"ATT&CK", d.Attack}, {"false positives", d.FalsePositives}, {"evasions", d.Evasions}} {
		if len(l.items) > 0 {
			o.line()
			o.line(o.paint(bold, l.name))
			for _, x := range l.items {
				o.wrap("  - ", x)
			}
		}
	}
}

// source prints the file of a detector: one's own, or that which ships.
func (c *detectorsListCmd) source(a *app) error {
	for _, load := range []func() ([]*rule.Detector, map[string][]byte, error){func() ([]*rule.Detector, map[string][]byte, error) {
		own := os.DirFS(a.path("detectors"))
		if _, err := fs.Stat(own, "."); err != nil {
			return nil, nil, nil
		}
		return detectors.Load(own)
	}, detectors.All} {
		list, sources, err := load()
		if err != nil {
			return err
		}
		for _, d := range list {
			if d.ID == c.ID {
				_, err := a.stdout.Write(sources[d.File])
				return err
			}
		}
	}
	return usage(fmt.Errorf("--yaml wants the id of a detector"), "`moat detectors` lists them")
}

type detectorsPromoteCmd struct {
	ID string `arg:"" help:"Id of the detector."`
}

// Run promotes.
func (c *detectorsPromoteCmd) Run(a *app) error {
	plan, err := node.LoadPlan(a.Data, 0)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(plan.Detectors, func(d *rule.Compiled) bool { return d.ID == c.ID })
	if i < 0 {
		return hint(fmt.Errorf("cannot promote detector %q: there is none", c.ID), "`moat detectors` lists them")
	}
	w, err := change(a, func(s *api.Client) (api.Worth, error) { return s.Promote(a.ctx, c.ID) }, func(b *book.Book) (w api.Worth, err error) {
		if _, err := b.Promote(a.ctx, moat.Everyone(), c.ID, a.by()); err != nil {
			return w, err
		}
		x, err := b.Learned(a.ctx)
		if err != nil {
			return w, err
		}
		return api.WorthOf(c.ID, plan.Detectors[i].Mode, x.Tallies(moat.Everyone())[c.ID], x.Demotion(c.ID)), nil
	})
	if err != nil {
		return err
	}
	if a.JSON {
		return a.object(w)
	}
	a.out.linef("%s: %s", c.ID, w.State)
	return nil
}
