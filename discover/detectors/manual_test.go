package detectors_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/rule"
)

const manualPath = "../../docs/reference/detectors.md"

var update = flag.Bool("update", false, "rewrite the reference page")

// TestManual keeps the reference page equal to the files; -update rewrites it.
func TestManual(t *testing.T) {
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(display(err))
	}
	plan, err := rule.Compile(list, rule.Options{Sources: sources})
	if err != nil {
		t.Fatal(display(err))
	}
	got := manual(plan)
	if *update {
		if err := os.WriteFile(manualPath, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(manualPath)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is stale: run go test ./discover/detectors -run TestManual -update", manualPath)
	}
}

// manual is the whole page.
func manual(plan *rule.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Detectors

<!-- Written by go test ./discover/detectors -run TestManual -update; do not edit. -->

These %d detectors ship with Moat. Each is one YAML file in [discover/detectors](../../discover/detectors), which carries its own
tests; each section below is that file in words. [How to write one](../detectors.md) says what the parts mean and how to change a
parameter or a mode without touching a file. Together they keep %d features; the kinds are in [features.md](features.md).

`, len(plan.Detectors), plan.Features)
	b.WriteString("| detector | watches | raises the risk of the | what it sees |\n| --- | --- | --- | --- |\n")
	for _, d := range plan.Detectors {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", d.ID, anchor(d.ID), codes(types(d)), d.Subject, cellText(d.Title))
	}
	for _, d := range plan.Detectors {
		section(&b, d)
	}
	return b.String()
}

func section(b *strings.Builder, d *rule.Compiled) {
	fmt.Fprintf(b, "\n## %s\n\n**%s.** %s\n\n", d.ID, d.Title, strings.Join(strings.Fields(d.Doc), " "))
	fmt.Fprintf(b, "Watches %s; %s the %s; mode `%s`. Says the same of one %s again after %s", codes(types(d)), d.Brings(), d.Subject, d.Mode, d.Subject, span(d.Every))
	fmt.Fprintf(b, ", or sooner when it is surer. People at risk when it is right: at least %s. File: [%s](../../discover/detectors/%s).\n\n",
		number(d.Stake), d.File, d.File)
	b.WriteString("```\n")
	if d.Detector.After.S != "" {
		fmt.Fprintf(b, "after       %s of silence\n", fold(d.Detector.After.S))
	}
	fmt.Fprintf(b, "when        %s\nconfidence  %s\nreason      %s\n```\n", fold(d.Detector.When.S), fold(d.Detector.Confidence.S), fold(d.Detector.Reason.S))
	if len(d.Params) > 0 {
		b.WriteString("\n| parameter | unit | default | least | most | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
		for _, p := range d.Params {
			fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", p.Name, p.Unit, decimal(p.Default), decimal(p.Min), decimal(p.Max), cellText(p.Doc))
		}
	}
	if len(d.Features) > 0 {
		b.WriteString("\n| feature | kind | kept per |\n| --- | --- | --- |\n")
		for _, f := range d.Features {
			fmt.Fprintf(b, "| `%s` | [%s](features.md#%s) | %s |\n", f.Name, f.Kind.Name, f.Kind.Name, f.Of)
		}
	}
	if len(d.Attack) > 0 {
		var links []string
		for _, id := range d.Attack {
			links = append(links, fmt.Sprintf("[%s](https://attack.mitre.org/techniques/%s/)", id, strings.ReplaceAll(id, ".", "/")))
		}
		fmt.Fprintf(b, "\nATT&CK: %s.\n", strings.Join(links, ", "))
	}
	var tests []string
	for _, t := range d.Tests {
		tests = append(tests, t.Name)
	}
	fmt.Fprintf(b, "\n- Fires wrongly on: %s.\n- Is evaded by: %s.\n- Tested with: %s.\n", join(d.FalsePositives), join(d.Evasions), join(tests))
}

func types(d *rule.Compiled) (words []string) {
	for _, t := range d.On {
		words = append(words, t.String())
	}
	return words
}

func codes(words []string) string { return "`" + strings.Join(words, "` `") + "`" }

// join lists what may be nothing.
func join(list []string) string {
	if len(list) == 0 {
		return "nothing known"
	}
	return strings.Join(list, "; ")
}

// anchor is what a heading is linked by on the usual hosts.
func anchor(id string) string { return strings.ReplaceAll(id, ".", "") }

func cellText(s string) string { return strings.ReplaceAll(strings.TrimSuffix(s, "."), "|", `\|`) }

// fold breaks an expression into lines that fit on a page, below its first word.
func fold(s string) string {
	const width = 110
	var lines []string
	line := ""
	for _, w := range strings.Fields(s) {
		if line != "" && len(line)+1+len(w) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += w
	}
	return strings.Join(append(lines, line), "\n            ")
}

func span(d time.Duration) string {
	for _, u := range []struct {
		d    time.Duration
		noun string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch {
		case d == u.d && u.noun == "hour":
			return "an hour"
		case d == u.d:
			return "a " + u.noun
		case d > u.d && d%u.d == 0:
			return fmt.Sprintf("%d %ss", d/u.d, u.noun)
		}
	}
	return d.String()
}

func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

func number(n int64) string {
	s := []byte(strconv.FormatInt(n, 10))
	for i := len(s) - 3; i > 0; i -= 3 {
		s = slices.Insert(s, i, ',')
	}
	return string(s)
}
