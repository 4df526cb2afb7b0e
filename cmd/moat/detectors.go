package main

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/serve/node"
)

// detectorsCmd lists the detectors or explains one.
type detectorsCmd struct {
	YAML bool   `name:"yaml" help:"Print the file of the detector, to begin one's own with."`
	ID   string `arg:"" optional:"" help:"Id of a detector."`
}

// Help shows how to use it.
func (detectorsCmd) Help() string {
	return examples("moat detectors", "moat detectors account.login_failures", "moat detectors account.login_failures --yaml > moat-data/detectors/login_failures.yaml")
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
func (c *detectorsCmd) Run(a *app) error {
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
	switch {
	case c.YAML:
		return c.source(a)
	case a.JSON:
		for _, d := range list {
			if err := a.object(detectorOf(d)); err != nil {
				return err
			}
		}
	case c.ID != "":
		c.explain(a, list[0])
	default:
		t := newTable("    r", "id", "dim", "mode", "subject", "ns", "title")
		for _, d := range list {
			t.row(d.ID, d.Dimension, modeCell(d.Mode), d.Subject, fmt.Sprintf("%.0f", d.CostNS), d.Title)
		}
		t.print(a.out)
	}
	return nil
}

func modeCell(m moat.Mode) cell {
	return cell{m.String(), map[moat.Mode]style{moat.Shadow: dim, moat.Enforce: green}[m]}
}

func detectorOf(d *rule.Compiled) detector {
	out := detector{ID: d.ID, Dimension: d.Dimension, Family: d.Family, Title: d.Title, Mode: d.Mode, Subject: d.Subject, CostNS: d.CostNS, Doc: d.Doc,
		Params: []detectorParam{}, Attack: orEmpty(d.Attack), FalsePositives: orEmpty(d.FalsePositives), Evasions: orEmpty(d.Evasions)}
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

func (c *detectorsCmd) explain(a *app, d *rule.Compiled) {
	o := a.out
	var on []string
	for _, t := range d.On {
		on = append(on, t.String())
	}
	o.line(o.paint(bold, d.ID), d.Title)
	o.linef("dimension %s, mode %s, watches %s, raises the risk of the %s", d.Dimension, d.Mode, strings.Join(on, ", "), d.Subject)
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
func (c *detectorsCmd) source(a *app) error {
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
