package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/moat-platform/moat/sim/drill"
)

type drillCalibrateCmd struct {
	drillFlags
	Folds int    `default:"4" help:"Into how many parts the seeds are cut: each is judged under a fit to the others (${default})."`
	Out   string `placeholder:"FILE" type:"path" help:"Write the calibration there, if it is better."`
	Force bool   `help:"Write it also if it is not better."`
}

// Help shows how to use it.
func (drillCalibrateCmd) Help() string {
	return "Measures for each detector how often what it found was about a theft, as a function of what its findings state, and what becomes of recall, false cases and " +
		"calibration error on seeds that the measure has not seen. With --out it writes the measure of all seeds, in the form of the file that ships: discover/detectors/calibration.json.\n\n" +
		examples("moat drill calibrate --seeds 1-12", "moat drill calibrate --seeds 1-12 --folds 4 --out discover/detectors/calibration.json")
}

// Validate is called when the flags are known.
func (c *drillCalibrateCmd) Validate() error {
	if c.Folds < 2 || c.Folds > len(c.Seeds) {
		return fmt.Errorf("--folds wants 2 or more, and a seed for each: there are %d", len(c.Seeds))
	}
	return nil
}

// Run calibrates.
func (c *drillCalibrateCmd) Run(a *app) error {
	set, err := c.run(a)
	if err != nil {
		return err
	}
	r, err := drill.Calibrate(a.ctx, set, c.Folds, fmt.Sprintf("package sim/world, %d partners, %d days", c.Partners, c.Days))
	if err != nil {
		return err
	}
	if a.JSON {
		err = a.object(r)
	} else {
		c.show(a, set, r)
	}
	if err != nil || c.Out == "" {
		return err
	}
	if !r.Better && !c.Force {
		a.err.line("It is not better, so nothing is written; --force writes it all the same.")
		return nil
	}
	text, err := json.MarshalIndent(&r.Calibration, "", "  ")
	if err == nil {
		err = os.WriteFile(c.Out, append(text, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("cannot write calibration: %w", err)
	}
	a.err.line("The calibration is in", c.Out)
	return nil
}

func (c *drillCalibrateCmd) show(a *app, set *drill.Set, r *drill.Calibrated) {
	t := newTable(" rrrrr", "detector", "things said", "stated", "right", "at least", "becomes")
	for _, f := range r.Fits(set) {
		t.row(f.ID, number(f.N), rate(f.Stated), rate(f.Precision), rate(f.Low), rate(f.Calibrated))
	}
	t.print(a.out)
	a.out.line()
	w := newTable(" rr", "on held-out seeds", "as stated", "calibrated")
	row := func(what string, x func(*drill.Worth) float64, show func(float64) string) {
		w.row(what, show(x(&r.Before)), show(x(&r.After)))
	}
	row("recall", func(w *drill.Worth) float64 { return w.Recall }, rate)
	row("false cases in 1,000 staff-days", func(w *drill.Worth) float64 { return w.FalseCases }, decimal)
	for i, p := range r.Before.RecallAt {
		row(fmt.Sprintf("recall at a budget of %g", p.FalsePer1000), func(w *drill.Worth) float64 { return w.RecallAt[i].Recall }, rate)
	}
	row("error of case scores", func(w *drill.Worth) float64 { return w.ECE }, rate)
	row("error of findings", func(w *drill.Worth) float64 { return w.FindingECE }, rate)
	w.print(a.out)
	a.out.line()
	verdict := "It is not better."
	if r.Better {
		verdict = "It is better."
	}
	a.out.linef("%s Fitted to %s in %d folds; a case would open at a score of %.0f.", verdict, many(len(set.Rounds), "seed"), c.Folds, r.Calibration.OpenAt)
}
