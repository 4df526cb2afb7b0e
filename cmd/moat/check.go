package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/rule"
)

// checkCmd checks detector files.
type checkCmd struct {
	Paths []string `arg:"" name:"path" help:"Detector files, or folders of them."`
}

// Help shows how to use it.
func (checkCmd) Help() string {
	return "Reads each file, compiles it together with the detectors that ship (in the place of one with the same id), " +
		"and runs the tests in it. A file with `each` holds a detector for every row of that list. Exit code 3 means that problems were found.\n\n" +
		examples("moat check my-detector.yaml", "moat check moat-data/detectors", "moat check --json rules/ | jq '.problems[]'")
}

// checked is what came of one detector, or of a file that holds none that can be read.
type checked struct {
	File     string         `json:"file"`
	ID       string         `json:"id,omitempty"`
	OK       bool           `json:"ok"`
	CostNS   float64        `json:"cost_ns"`         // estimate for one event
	Bytes    map[string]int `json:"bytes,omitempty"` // of state, for one entity of each kind
	Takes    map[string]int `json:"takes,omitempty"` // features that take events of each type in, which no detector that ships has
	Tests    int            `json:"tests"`
	Problems rule.Problems  `json:"problems"`

	detector *rule.Detector
}

// Run checks.
func (c *checkCmd) Run(a *app) error {
	files, sources, err := readRules(c.Paths)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return hint(fmt.Errorf("cannot check: there is no .yaml file in %s", strings.Join(c.Paths, ", ")), "`moat detectors ID --yaml` prints one to begin with")
	}
	if err := compileRules(files, sources); err != nil {
		return err
	}
	if err := testRules(files); err != nil {
		return err
	}
	bad := 0
	for i := range files {
		f := &files[i]
		for _, p := range f.Problems {
			showLine(p, sources[p.File])
		}
		if f.OK = len(f.Problems) == 0; !f.OK {
			bad++
		}
		if f.Problems == nil {
			f.Problems = rule.Problems{}
		}
	}
	if a.JSON {
		for _, f := range files {
			if err := a.object(f); err != nil {
				return err
			}
		}
	} else {
		c.show(a, files, bad)
	}
	if bad > 0 {
		return errProblems
	}
	return nil
}

// readRules reads and parses files and folders. Problems of a file stay with it.
func readRules(paths []string) (files []checked, sources map[string][]byte, err error) {
	sources = map[string][]byte{}
	read := func(path string) error {
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if sources[path] != nil {
			return nil // named twice
		}
		if len(sources) == detectors.MaxFiles {
			return fmt.Errorf("there are more than %d files", detectors.MaxFiles)
		}
		sources[path] = src
		list, err := rule.Parse(path, src)
		if err != nil {
			problems := rule.AsProblems(err)
			if problems == nil {
				return err
			}
			files = append(files, checked{File: path, Problems: problems})
		}
		for _, d := range list {
			files = append(files, checked{File: path, ID: d.ID, Tests: len(d.Tests), detector: d})
		}
		return nil
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read detectors: %w", err)
		}
		if !info.IsDir() {
			err = read(p)
		} else {
			err = filepath.WalkDir(p, func(path string, e fs.DirEntry, err error) error {
				if err != nil || e.IsDir() || filepath.Ext(path) != ".yaml" || strings.HasPrefix(e.Name(), ".") {
					return err
				}
				return read(path)
			})
		}
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read detectors: %w", err)
		}
	}
	return files, sources, nil
}

// compileRules compiles those that could be parsed, together with those that ship.
func compileRules(files []checked, sources map[string][]byte) error {
	shipped, src, err := detectors.All()
	if err != nil {
		return fmt.Errorf("cannot read the detectors that ship: %w", err)
	}
	for name, text := range sources {
		src[name] = text
	}
	list := slices.DeleteFunc(shipped, func(d *rule.Detector) bool {
		return slices.ContainsFunc(files, func(f checked) bool { return f.ID == d.ID })
	})
	others, err := rule.Compile(list, rule.Options{Sources: src})
	if err != nil {
		return fmt.Errorf("cannot compile the detectors that ship: %w", err)
	}
	for _, f := range files {
		if f.detector != nil {
			list = append(list, f.detector)
		}
	}
	plan, err := rule.Compile(list, rule.Options{Sources: src})
	problems := rule.AsProblems(err)
	if err != nil && problems == nil {
		return err
	}
	for _, p := range problems {
		row, _, _ := strings.Cut(p.Row, " ") // of several rows the first
		at := slices.IndexFunc(files, func(f checked) bool { return f.File == p.File && (p.Row == "" || f.ID == row) })
		if at < 0 { // of all together: the last file is the newest
			at = len(files) - 1
		}
		files[at].Problems = append(files[at].Problems, p)
	}
	for i := range files {
		f := &files[i]
		if plan != nil {
			for _, d := range plan.Detectors {
				if d.ID == f.ID {
					f.CostNS = d.CostNS
				}
			}
		}
		if f.detector != nil && len(f.Problems) == 0 {
			f.measure(others)
		}
	}
	return nil
}

// measure tells what the detector would keep alone, and what it gives to do beside others. Features that others share cost
// nothing more.
func (f *checked) measure(others *rule.Plan) {
	plan, err := rule.Compile([]*rule.Detector{f.detector}, rule.Options{})
	if err != nil {
		return // it compiles with the others only; its problems were told
	}
	f.Bytes, f.Takes = map[string]int{}, map[string]int{}
	if plan.Across != nil {
		plan = plan.Across
		if others = others.Across; others == nil {
			others = &rule.Plan{}
		}
	}
	for t, n := range plan.Adds(others) {
		f.Takes[t.String()] = n
	}
	for k, places := range plan.Layout {
		for _, p := range places {
			f.Bytes[moat.EntityKind(k).String()] += p.Size
		}
	}
}

// testRules runs the tests of those without problems.
func testRules(files []checked) error {
	table, err := indicator.Default()
	if err != nil {
		return fmt.Errorf("cannot read what is known of addresses: %w", err)
	}
	cfg := engine.Config{Net: func(ip string) rule.Net { return rule.NetOf(table, ip) }}
	for i := range files {
		if f := &files[i]; f.detector != nil && len(f.Problems) == 0 {
			f.Problems = engine.RunTests(f.detector, cfg)
		}
	}
	return nil
}

// showLine fills in the line that a problem is in.
func showLine(p *rule.Problem, src []byte) {
	if lines := bytes.Split(src, []byte("\n")); p.Source == "" && p.Line > 0 && p.Line <= len(lines) {
		p.Source = strings.TrimRight(string(lines[p.Line-1]), "\r")
	}
}

func (c *checkCmd) show(a *app, files []checked, bad int) {
	o := a.out
	for _, f := range files {
		for _, p := range f.Problems {
			o.line(o.paint(red, "problem:"), clean(p.Display()))
		}
	}
	t := newTable("  rr", "", "detector", "ns/event", "tests", "bytes of state", "features that take events in")
	for _, f := range files {
		mark, name := cell{"ok", green}, f.ID
		if !f.OK {
			mark = cell{"bad", red}
		}
		if name == "" {
			name = f.File
		}
		t.row(mark, name, fmt.Sprintf("%.0f", f.CostNS), f.Tests, bytesOf(f.Bytes), takesOf(f.Takes))
	}
	t.print(o)
	if bad > 0 {
		o.linef("%s of %s not in order", number(bad), many(len(files), "detector"))
	}
}

// bytesOf lists bytes by kind: "account 48, ip 16".
func bytesOf(m map[string]int) string {
	var parts []string
	for k := moat.NoEntity + 1; k < moat.EntityKinds; k++ {
		if n := m[k.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", k, n))
		}
	}
	return strings.Join(parts, ", ")
}

// takesOf lists features by type of event: "order.access 2, db.query 1".
func takesOf(m map[string]int) string {
	var parts []string
	for t := range moat.EventTypes {
		if n := m[t.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", t, n))
		}
	}
	return strings.Join(parts, ", ")
}
