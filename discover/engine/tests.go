package engine

import (
	"fmt"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// RunTests runs the test scripts of a detector, each on an empty engine that knows this
// detector alone, and returns what is wrong with them.
func RunTests(d *rule.Detector, cfg Config) rule.Problems {
	var problems rule.Problems
	plan, err := rule.Compile([]*rule.Detector{d}, rule.Options{Seed: cfg.Seed})
	if err != nil {
		return append(problems, d.Problem(0, "test", err.Error()))
	}
	if cfg.Plan = plan; plan.Across != nil {
		cfg.Plan = plan.Across
	}
	for _, t := range d.Tests {
		if line, err := runTest(t, cfg); err != nil {
			problems = append(problems, d.Problem(t.Script.LineOf(max(line, 1)), "test", fmt.Sprintf("test %q: %v", t.Name, err)))
		}
	}
	return problems
}

// testLimits keep the many engines of tests small.
func testLimits() Limits {
	l := Limits{Pairs: 1 << 16, PairQuota: 1 << 16, IDs: 1 << 17, Partners: 64}
	for k := range l.Records {
		l.Records[k], l.Quota[k] = 1<<14, 1<<14
	}
	return l
}

func runTest(t rule.Test, cfg Config) (line int, err error) {
	steps, err := rule.ParseScript(t.Script.S)
	if err != nil {
		return 0, err
	}
	if len(steps) == 0 {
		return 0, fmt.Errorf("the script is empty")
	}
	if !steps[len(steps)-1].Expect {
		return steps[len(steps)-1].Line, fmt.Errorf("the script does not end with an expectation")
	}
	cfg.Limits = testLimits()
	e, err := New(cfg)
	if err != nil {
		return 0, err
	}
	var w moat.BatchWriter
	var found []moat.Finding
	for _, s := range steps {
		if s.Event != nil {
			w.Append(s.Event)
			continue
		}
		r, err := e.Step(w.Bytes(), nil)
		if err != nil {
			return s.Line, err
		}
		w.Reset()
		found = append(found, r.Findings...)
		if err := s.Check(found); err != nil {
			return s.Line, err
		}
		found = found[:0]
	}
	return 0, nil
}
