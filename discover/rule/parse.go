package rule

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/feature"
)

var (
	idPattern        = regexp.MustCompile(`^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$`)
	namePattern      = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	dimensionPattern = regexp.MustCompile(`^[A-K][0-9]{1,2}$`)
	attackPattern    = regexp.MustCompile(`^T[0-9]{4}(\.[0-9]{3})?$`)
	yamlLine         = regexp.MustCompile(`line (\d+): (.*)`)
)

// detectorFields are the fields of a detector, in the order in which they are usually written.
var detectorFields = []string{"id", "dimension", "title", "doc", "mode", "on", "subject", "every", "stake", "egress", "background", "policy", "joins", "params", "features",
	"after", "when", "confidence", "reason", "attack", "false_positives", "evasions", "tests"}

// Parse reads one detector file, which holds one detector, or a family of them: one for every row of
// its list `each`. What is wrong comes as [Problems]; as many as can be found at once, in the order of
// the file. It checks the form only: see [Compile] for types.
func Parse(file string, src []byte) ([]*Detector, error) {
	p := &parser{file: file, made: map[*yaml.Node]Text{}}
	list := p.parse(src)
	if err := p.problems.sort().Err(); err != nil {
		return nil, err
	}
	for _, d := range list {
		d.File = file
	}
	return list, nil
}

type parser struct {
	file     string
	lines    []string
	problems Problems
	row      string              // of a family, that is being read
	made     map[*yaml.Node]Text // texts that rows were put into
}

func (p *parser) parse(src []byte) []*Detector {
	if len(src) > MaxFileBytes {
		p.add(nil, "value", fmt.Sprintf("the file has %d bytes, more than %d", len(src), MaxFileBytes), "split it")
		return nil
	}
	p.lines = strings.Split(string(src), "\n")
	var doc, more yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(src))
	if err := dec.Decode(&doc); err != nil && err != io.EOF {
		p.yamlError(err)
		return nil
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		p.add(nil, "yaml", "a detector file is one YAML mapping", "start with `id: family.name`")
		return nil
	}
	switch err := dec.Decode(&more); {
	case err == nil:
		if len(more.Content) > 0 {
			more = *more.Content[0]
		}
		p.add(&more, "yaml", "a detector file holds one detector", "put the second into a file of its own, or make it a row of `each`")
	case err != io.EOF:
		p.yamlError(err)
	}
	p.plain(doc.Content[0])
	if len(p.problems) > 0 {
		return nil
	}
	return p.detectors(doc.Content[0])
}

// plain refuses what makes YAML mean something else than it shows.
func (p *parser) plain(n *yaml.Node) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		p.add(n, "yaml", "anchors, aliases and tags have no place in a detector file", "write the value out")
		return
	}
	for _, c := range n.Content {
		p.plain(c)
	}
}

// add reports a problem at n. Of a file that is wrong everywhere the first thousand are enough.
func (p *parser) add(n *yaml.Node, code, what, hint string) {
	if len(p.problems) == 1000 {
		return
	}
	pr := &Problem{File: p.file, Row: p.row, Code: code, What: printable(what), Hint: printable(hint)}
	if n != nil {
		pr.Line, pr.Column = n.Line, n.Column
		if n.Line-1 < len(p.lines) && n.Line > 0 {
			pr.Source = p.lines[n.Line-1]
		}
	}
	p.problems = append(p.problems, pr)
}

// yamlError reports what the YAML parser says, at the first line that cannot be read.
func (p *parser) yamlError(err error) {
	what, line := strings.TrimPrefix(err.Error(), "yaml: "), 1
	if m := yamlLine.FindStringSubmatch(what); m != nil {
		line, _ = strconv.Atoi(m[1])
		what = m[2]
	}
	// The parser often names the line where the broken thing began, or the one before it.
	for n := min(line, len(p.lines)) - 1; n >= 0 && n < min(line+200, len(p.lines)); n++ {
		var node yaml.Node
		if yaml.Unmarshal([]byte(strings.Join(p.lines[:n], "\n")), &node) == nil {
			line = n + 1
		}
	}
	at := &yaml.Node{Line: line, Column: 1}
	if line >= 1 && line <= len(p.lines) {
		l := p.lines[line-1]
		at.Column = len(l) - len(strings.TrimLeft(l, " ")) + 1
	}
	p.add(at, "yaml", what, "check indentation and quotes; text with `: ` or a leading symbol needs quotes")
}

// each walks a mapping; handle has one function per allowed key.
func (p *parser) each(n *yaml.Node, what string, handle map[string]func(key, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.add(n, "value", what+" must be a mapping", "")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		h, ok := handle[k.Value]
		switch {
		case seen[k.Value]:
			p.add(k, "duplicate", fmt.Sprintf("%s has %q twice", what, clip(k.Value, 64)), "")
		case !ok:
			names := make([]string, 0, len(handle))
			for name := range handle {
				names = append(names, name)
			}
			p.add(k, "field", fmt.Sprintf("%s has no field %q", what, clip(k.Value, 64)), didYouMean(k.Value, names))
		default:
			h(k, v)
		}
		seen[k.Value] = true
	}
}

func (p *parser) detector(n *yaml.Node) *Detector {
	d := &Detector{Mode: moat.Enforce, Every: time.Hour, Stake: 10}
	given := map[string]bool{}
	set := func(name string, f func(v *yaml.Node)) func(k, v *yaml.Node) {
		return func(_, v *yaml.Node) { given[name] = true; f(v) }
	}
	var features, params, lets, tests *yaml.Node
	p.each(n, "a detector", map[string]func(k, v *yaml.Node){
		"id": set("id", func(v *yaml.Node) {
			d.ID = p.text(v, 64)
			if !idPattern.MatchString(d.ID) {
				p.add(v, "value", fmt.Sprintf("id %.64q is not of the form family.name", d.ID), "lower-case letters, digits and _, such as account.login_failures")
			}
			d.Family, _, _ = strings.Cut(d.ID, ".")
		}),
		"dimension": set("dimension", func(v *yaml.Node) {
			d.Dimension = p.text(v, 4)
			if !dimensionPattern.MatchString(d.Dimension) {
				p.add(v, "value", fmt.Sprintf("dimension %.8q is not one of the catalogue", d.Dimension), "a letter A–K and a number, such as B5")
			}
		}),
		"basis":       set("basis", func(v *yaml.Node) { d.Basis = p.basis(v) }),
		"certain":     set("certain", func(v *yaml.Node) { d.Certain = p.truth(v) }),
		"strange":     set("strange", func(v *yaml.Node) { d.Strange = p.strange(v) }),
		"destination": set("destination", func(v *yaml.Node) { d.Destination = p.expression(v) }),
		"title":       set("title", func(v *yaml.Node) { d.Title = p.text(v, 120) }),
		"doc":         set("doc", func(v *yaml.Node) { d.Doc = p.text(v, 4000) }),
		"mode":        set("mode", func(v *yaml.Node) { p.check(v, d.Mode.UnmarshalText([]byte(p.text(v, 16)))) }),
		"on":          set("on", func(v *yaml.Node) { d.On = p.types(v) }),
		"subject":     set("subject", func(v *yaml.Node) { d.Subject = p.entity(v) }),
		"after":       set("after", func(v *yaml.Node) { d.After = p.expression(v) }),
		"when":        set("when", func(v *yaml.Node) { d.When = p.expression(v) }),
		"confidence": set("confidence", func(v *yaml.Node) {
			d.Confidence = p.expression(v)
		}),
		"reason":          set("reason", func(v *yaml.Node) { d.Reason = p.expression(v) }),
		"every":           set("every", func(v *yaml.Node) { d.Every = time.Duration(p.duration(v) * float64(time.Second)) }),
		"stake":           set("stake", func(v *yaml.Node) { d.Stake = p.stake(v) }),
		"egress":          set("egress", func(v *yaml.Node) { d.Egress = p.truth(v) }),
		"background":      set("background", func(v *yaml.Node) { d.Background = p.truth(v) }),
		"policy":          set("policy", func(v *yaml.Node) { d.Policy = p.truth(v) }),
		"joins":           set("joins", func(v *yaml.Node) { d.Joins = p.truth(v) }),
		"attack":          set("attack", func(v *yaml.Node) { d.Attack = p.attack(v) }),
		"false_positives": set("false_positives", func(v *yaml.Node) { d.FalsePositives = p.texts(v, 400) }),
		"evasions":        set("evasions", func(v *yaml.Node) { d.Evasions = p.texts(v, 400) }),
		"params":          set("params", func(v *yaml.Node) { params = v }),
		"features":        set("features", func(v *yaml.Node) { features = v }),
		"let":             set("let", func(v *yaml.Node) { lets = v }),
		"tests":           set("tests", func(v *yaml.Node) { tests = v }),
	})
	for _, need := range []string{"id", "dimension", "title", "doc", "on", "subject", "when", "confidence", "reason", "false_positives", "evasions", "tests"} {
		if !given[need] {
			p.add(n, "field", fmt.Sprintf("the detector has no %q", need), "every detector says what it sees, what fools it, and carries tests")
		}
	}
	// Parameters come first: features and expressions refer to them.
	if params != nil {
		p.params(params, d)
	}
	if features != nil {
		p.features(features, d)
	}
	if lets != nil {
		p.lets(lets, d)
	}
	if tests != nil {
		p.tests(tests, d)
	}
	return d
}

func (p *parser) check(v *yaml.Node, err error) {
	if err != nil {
		p.add(v, "value", err.Error(), "")
	}
}

func (p *parser) text(v *yaml.Node, limit int) string {
	if v.Kind != yaml.ScalarNode {
		p.add(v, "value", "a text is wanted here", "")
		return ""
	}
	if len(v.Value) > limit {
		p.add(v, "value", fmt.Sprintf("the text has %d bytes, more than %d", len(v.Value), limit), "")
		return ""
	}
	return strings.TrimSpace(v.Value)
}

func (p *parser) texts(v *yaml.Node, limit int) []string {
	var out []string
	if v.Kind != yaml.SequenceNode {
		p.add(v, "value", "a list is wanted here", "one `- text` a line")
		return nil
	}
	for _, c := range v.Content {
		out = append(out, p.text(c, limit))
	}
	return out
}

func (p *parser) attack(v *yaml.Node) []string {
	ids := p.texts(v, 16)
	for i, id := range ids {
		if !attackPattern.MatchString(id) {
			p.add(v.Content[i], "value", fmt.Sprintf("%.16q is no ATT&CK technique", id), "such as T1078 or T1110.004")
		}
	}
	return ids
}

func (p *parser) types(v *yaml.Node) []moat.EventType {
	var out []moat.EventType
	names := make([]string, 0, moat.EventTypes)
	for t := moat.NoType + 1; t < moat.EventTypes; t++ {
		names = append(names, t.String())
	}
	for i, s := range p.texts(v, 32) {
		t, err := moat.ParseEventType(s)
		if err != nil {
			p.add(v.Content[i], "unknown", err.Error(), didYouMean(s, names))
			continue
		}
		if !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		p.add(v, "value", "on names no event type", "such as on: [order.access]")
	}
	return out
}

func (p *parser) entity(v *yaml.Node) moat.EntityKind {
	k, err := moat.ParseEntityKind(p.text(v, 16))
	p.check(v, err)
	const hint = "use account, app, host, device, ip, shop, outlet, partner or peers"
	switch k {
	case moat.Order:
		p.add(v, "value", "an event names many orders: they cannot be the subject", hint)
	case moat.Destination:
		p.add(v, "value", "no statistics are kept of a destination: it cannot be the subject", hint+"; what the detector's findings name is said by destination: event.destination")
	default:
		return k
	}
	return moat.NoEntity
}

func (p *parser) truth(v *yaml.Node) bool {
	s := p.text(v, 8)
	if s != "true" && s != "false" && v.Kind == yaml.ScalarNode {
		p.add(v, "value", fmt.Sprintf("%.8q is neither true nor false", s), "")
	}
	return s == "true"
}

// basis reads what findings rest on.
func (p *parser) basis(v *yaml.Node) string {
	s := p.text(v, 16)
	if !slices.Contains(Bases, s) && v.Kind == yaml.ScalarNode {
		p.add(v, "unknown", fmt.Sprintf("%.16q is no basis", s), "want "+strings.Join(Bases, ", ")+"; without one it is the family")
	}
	return s
}

// strange reads kinds of entities that an event names beside the subject.
func (p *parser) strange(v *yaml.Node) []moat.EntityKind {
	var out []moat.EntityKind
	for i, s := range p.texts(v, 16) {
		k, err := moat.ParseEntityKind(s)
		if err != nil || k != moat.Device && k != moat.IP {
			p.add(v.Content[i], "value", fmt.Sprintf("%.16q cannot be strange", s), "want device or ip: what a thief brings with him")
			continue
		}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func (p *parser) stake(v *yaml.Node) int64 {
	n := p.number(v)
	if n < 0 || n > MaxStake || n != math.Trunc(n) {
		p.add(v, "value", fmt.Sprintf("stake must be a whole number of people from 0 to %d", MaxStake), "")
		return 0
	}
	return int64(n)
}

// expression keeps the text with its place, so that messages of the CEL compiler point into
// the file.
func (p *parser) expression(v *yaml.Node) Text { return p.block(v, MaxExpressionBytes) }

func (p *parser) block(v *yaml.Node, limit int) Text {
	s := p.text(v, limit)
	if v.Kind != yaml.ScalarNode || len(v.Value) > limit {
		return Text{}
	}
	if s == "" {
		p.add(v, "value", "the expression is empty", "")
	}
	if t, ok := p.made[v]; ok {
		return t
	}
	return textOf(v, p.lines)
}

// duration returns seconds.
func (p *parser) duration(v *yaml.Node) float64 {
	s, err := seconds(p.text(v, 16))
	p.check(v, err)
	return s
}

// seconds reads 90s, 5m, 1h, 30d or 0.
func seconds(s string) (float64, error) {
	if s == "0" {
		return 0, nil
	}
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if v, err := strconv.ParseFloat(n, 64); err == nil && v >= 0 && v < 4000 {
			return v * 86400, nil
		}
	} else if v, err := time.ParseDuration(s); err == nil && v >= 0 {
		return v.Seconds(), nil
	}
	return 0, fmt.Errorf("%.16q is no duration: write it like 90s, 5m, 1h or 30d", s)
}

func (p *parser) number(v *yaml.Node) float64 {
	if v.Kind != yaml.ScalarNode {
		p.add(v, "value", "a number is wanted here", "")
		return 0
	}
	s := p.text(v, 32)
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		return f
	}
	f, err := seconds(s)
	if err != nil {
		p.add(v, "value", fmt.Sprintf("%.32q is neither a number nor a duration", s), "durations are written like 5m or 30d and count seconds")
	}
	return f
}

func (p *parser) params(n *yaml.Node, d *Detector) {
	if n.Kind != yaml.MappingNode || len(n.Content) > 2*MaxParams {
		p.add(n, "value", fmt.Sprintf("params must be a mapping of at most %d parameters", MaxParams), "")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		prm := Param{Name: k.Value, Line: k.Line, Min: math.Inf(-1), Max: math.Inf(1)}
		if slices.ContainsFunc(d.Params, func(other Param) bool { return other.Name == prm.Name }) {
			p.add(k, "duplicate", fmt.Sprintf("there are two parameters %.32q", prm.Name), "")
			continue
		}
		given := 0
		num := func(to *float64) func(_, v *yaml.Node) {
			return func(_, v *yaml.Node) { *to = p.number(v); given++ }
		}
		p.each(v, "a parameter", map[string]func(_, v *yaml.Node){
			"default": num(&prm.Default), "min": num(&prm.Min), "max": num(&prm.Max),
			"unit": func(_, v *yaml.Node) { prm.Unit = p.text(v, 32); given++ },
			"doc":  func(_, v *yaml.Node) { prm.Doc = p.text(v, 400); given++ },
		})
		switch {
		case !namePattern.MatchString(prm.Name):
			p.add(k, "value", fmt.Sprintf("%.32q is no name", prm.Name), "lower-case letters, digits and _")
		case given < 5:
			p.add(k, "field", fmt.Sprintf("parameter %.32s needs default, unit, min, max and doc", prm.Name), "")
		case prm.Default < prm.Min || prm.Default > prm.Max:
			p.add(k, "value", fmt.Sprintf("the default of %.32s is outside its bounds", prm.Name), "")
		}
		d.Params = append(d.Params, prm)
	}
}

func (p *parser) lets(n *yaml.Node, d *Detector) {
	if n.Kind != yaml.MappingNode || len(n.Content) > 2*MaxLets {
		p.add(n, "value", fmt.Sprintf("let must be a mapping of at most %d names to expressions", MaxLets), "")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, l := n.Content[i], Let{Name: n.Content[i].Value, Value: p.expression(n.Content[i+1])}
		switch {
		case !namePattern.MatchString(l.Name):
			p.add(k, "value", fmt.Sprintf("%.32q is no name", l.Name), "lower-case letters, digits and _")
		case l.Name == "event" || l.Name == "ip" || l.Name == "ua" || l.Name == "params",
			slices.ContainsFunc(d.Features, func(f Feature) bool { return f.Name == l.Name }),
			slices.ContainsFunc(d.Let, func(o Let) bool { return o.Name == l.Name }):
			p.add(k, "duplicate", fmt.Sprintf("%.32q is the name of something else", l.Name), "")
		default:
			d.Let = append(d.Let, l)
		}
	}
}

func (p *parser) features(n *yaml.Node, d *Detector) {
	if n.Kind != yaml.MappingNode || len(n.Content) > 2*MaxFeatures {
		p.add(n, "value", fmt.Sprintf("features must be a mapping of at most %d features", MaxFeatures), "")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		p.feature(n.Content[i], n.Content[i+1], d)
	}
}

func (p *parser) feature(k, v *yaml.Node, d *Detector) {
	f := Feature{Name: k.Value, Of: d.Subject, On: d.On, Params: feature.Params{}, Line: k.Line, Col: k.Column}
	switch {
	case !namePattern.MatchString(f.Name) || f.Name == "event" || f.Name == "ip" || f.Name == "ua" || f.Name == "params":
		p.add(k, "value", fmt.Sprintf("%.32q is no name for a feature", f.Name), "lower-case letters, digits and _; event, ip, ua and params are taken")
	case slices.ContainsFunc(d.Features, func(other Feature) bool { return other.Name == f.Name }):
		p.add(k, "duplicate", fmt.Sprintf("there are two features %.32q", f.Name), "")
	}
	handle := map[string]func(k, v *yaml.Node){
		"kind":  func(_, v *yaml.Node) { f.Kind = p.kind(v) },
		"of":    func(_, v *yaml.Node) { f.Of = p.entity(v) },
		"on":    func(_, v *yaml.Node) { f.On = p.types(v) },
		"value": func(_, v *yaml.Node) { f.Value = p.expression(v) },
		"where": func(_, v *yaml.Node) { f.Where = p.expression(v) },
		"steps": func(_, v *yaml.Node) { f.Steps = p.expressions(v, "steps must be a list of conditions", MaxSteps) },
		"levels": func(_, v *yaml.Node) {
			f.Levels = p.expressions(v, fmt.Sprintf("levels must be a list of 1 to %d texts, the finest first", feature.MaxLevels), feature.MaxLevels)
		},
	}
	// Every other key is a parameter of the kind, looked at once the kind is known.
	type given struct{ k, v *yaml.Node }
	var params []given
	if v.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(v.Content); i += 2 {
			if name := v.Content[i].Value; handle[name] == nil {
				handle[name] = func(k, v *yaml.Node) { params = append(params, given{k, v}) }
			}
		}
	}
	before := len(p.problems)
	p.each(v, "a feature", handle)
	if f.Kind == nil {
		if len(p.problems) == before {
			p.add(k, "field", fmt.Sprintf("feature %.32s has no kind", f.Name), "such as {kind: count, window: 1h}")
		}
		return
	}
	for _, g := range params {
		p.featureParam(g.k, g.v, &f, d)
	}
	if f.Kind.Takes(feature.Steps) {
		f.Params["steps"] = float64(len(f.Steps))
	}
	all, err := f.Kind.Fill(f.Params)
	if err != nil && len(p.problems) == before {
		p.add(k, "value", err.Error(), "")
	}
	f.Params = all
	d.Features = append(d.Features, f)
}

// expressions reads a list of 1 to most expressions.
func (p *parser) expressions(v *yaml.Node, what string, most int) (list []Text) {
	if v.Kind != yaml.SequenceNode || len(v.Content) == 0 || len(v.Content) > most {
		p.add(v, "value", what, "")
		return nil
	}
	for _, c := range v.Content {
		list = append(list, p.expression(c))
	}
	return list
}

func (p *parser) kind(v *yaml.Node) *feature.Kind {
	name := p.text(v, 32)
	k := feature.Find(name)
	if k == nil {
		names := make([]string, len(feature.Kinds))
		for i := range feature.Kinds {
			names[i] = feature.Kinds[i].Name
		}
		p.add(v, "unknown", fmt.Sprintf("unknown kind of feature %.32q", name), didYouMean(name, names))
	}
	return k
}

// featureParam reads a parameter of f's kind: a number, a duration or params.name.
func (p *parser) featureParam(k, v *yaml.Node, f *Feature, d *Detector) {
	names := []string{"kind", "of", "on", "value", "where"}
	for _, prm := range f.Kind.Params {
		names = append(names, prm.Name)
	}
	if !slices.Contains(names[5:], k.Value) {
		p.add(k, "field", fmt.Sprintf("%s has no parameter %q", f.Kind.Name, clip(k.Value, 32)), didYouMean(k.Value, names))
		return
	}
	var x float64
	before := len(p.problems)
	if ref, ok := strings.CutPrefix(v.Value, "params."); ok {
		i := slices.IndexFunc(d.Params, func(prm Param) bool { return prm.Name == ref })
		if i < 0 {
			p.add(v, "unknown", fmt.Sprintf("there is no parameter %.32q", ref), "declare it under params")
			return
		}
		if f.refs == nil {
			f.refs = map[string]string{}
		}
		x, f.refs[k.Value] = d.Params[i].Default, ref
	} else if x = p.number(v); len(p.problems) > before {
		return
	}
	if _, err := f.Kind.Fill(feature.Params{k.Value: x}); err != nil {
		p.add(v, "value", err.Error(), "")
	}
	f.Params[k.Value] = x
}

func (p *parser) tests(n *yaml.Node, d *Detector) {
	if n.Kind != yaml.SequenceNode || len(n.Content) > MaxTests {
		p.add(n, "value", fmt.Sprintf("tests must be a list of at most %d tests", MaxTests), "")
		return
	}
	fires, rests := 0, 0
	for _, c := range n.Content {
		var t Test
		p.each(c, "a test", map[string]func(_, v *yaml.Node){
			"name":   func(_, v *yaml.Node) { t.Name = p.text(v, 120) },
			"script": func(_, v *yaml.Node) { t.Script = p.block(v, MaxScriptBytes) },
		})
		if strings.Contains(t.Script.S, "expect none") {
			rests++
		}
		if strings.Contains(t.Script.S, "expect finding") {
			fires++
		}
		d.Tests = append(d.Tests, t)
	}
	if fires == 0 || rests == 0 {
		p.add(n, "test", "a detector needs a script that must fire and one that must not", "`expect finding account alice` and `expect none`")
	}
}

// AsProblems returns err's problems, or nil if it is another sort of error.
func AsProblems(err error) Problems {
	var p Problems
	errors.As(err, &p)
	return p
}
