package feature

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const manualPath = "../../docs/reference/features.md"

// TestManual keeps the reference page equal to Kinds; -update rewrites it.
func TestManual(t *testing.T) {
	got := manual()
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
		t.Errorf("%s is stale: run go test ./discover/feature -run TestManual -update", manualPath)
	}
}

func manual() string {
	var b strings.Builder
	b.WriteString(`# Features

<!-- Written by go test ./discover/feature -run TestManual -update; do not edit. -->

A feature is a statistic that Moat keeps per entity. A detector file names a kind, gives its
parameters, and uses its outputs; the first output is meant when none is named.

Time is the time of events. An event that comes late is added to its span of time while that is still
inside the window, else it is not counted; windows end at the newest time that the entity has seen.
Statistics of what came before (last, seen, baseline, quantiles, rarity, …) do not include the present event; counts do.

A value is a number, a key (a text), keys (a list of texts) or ip.place; levels is a list of one to four texts, the finest first, given
as levels: [event.ip, event.network, ip.country]; steps are conditions, given as steps: [condition, …].

State is the memory per entity with the default parameters; a kind with pairs keeps 16 more bytes for each value that an entity has had.
Cost is that of one event on a state in the processor's cache.

| kind | value | state | cost | what it tells |
| --- | --- | --- | --- | --- |
`)
	for i := range Kinds {
		k := &Kinds[i]
		what, _, _ := strings.Cut(k.Doc, ". ")
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %.0f ns | %s |\n", k.Name, k.Name, sorts(k), stateOf(k), k.CostNS, what)
	}
	for i := range Kinds {
		k := &Kinds[i]
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", k.Name, k.Doc)
		fmt.Fprintf(&b, "Value: %s. State: %s. Cost: %.0f ns.\n", sorts(k), stateOf(k), k.CostNS)
		if len(k.Params) > 0 {
			b.WriteString("\n| parameter | unit | default | least | most | meaning |\n| --- | --- | --- | --- | --- | --- |\n")
		}
		for _, p := range k.Params {
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", p.Name, p.Unit, p.text(p.Default), p.text(p.Min), p.text(p.Max), p.Doc)
		}
		b.WriteString("\n| output | unit | meaning |\n| --- | --- | --- |\n")
		for _, o := range k.Outputs {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", o.Name, o.Unit, o.Doc)
		}
	}
	return b.String()
}

func sorts(k *Kind) string {
	words := []string{k.Value.String()}
	for _, v := range k.Also {
		words = append(words, v.String())
	}
	return strings.Join(words, " or ")
}

func stateOf(k *Kind) string {
	p, err := k.Fill(nil)
	if err != nil {
		panic(err)
	}
	s := fmt.Sprintf("%d B", k.Size(p))
	if k.Pairs {
		s += " and pairs"
	}
	if k.Common != nil {
		s += fmt.Sprintf(", %d B for the partner", k.Common(p))
	}
	return s
}
