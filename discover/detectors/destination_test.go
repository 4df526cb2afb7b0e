package detectors_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/detectors"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/rule"
)

// TestDestination checks that a finding whose reason names a destination lists it, as the events have it.
func TestDestination(t *testing.T) {
	list, sources, err := detectors.All()
	if err != nil {
		t.Fatal(display(err))
	}
	for _, d := range list {
		if strings.Contains(d.Reason.S, "{event.destination}") && d.Destination.S != "event.destination" {
			t.Errorf("%s names a destination, and its findings do not list it", d.ID)
		}
	}
	plan, err := rule.Compile(list, rule.Options{Sources: sources})
	if err != nil {
		t.Fatal(display(err))
	}
	e, err := engine.New(engine.Config{Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	const hook = "https://in.lamp-erp.example/v1"
	var w moat.BatchWriter
	begin, _ := moat.ParseTime("2026-03-02T09:00:00Z")
	add := func(at moat.Time, ev moat.Event) {
		ev.ID, ev.Time, ev.Received, ev.Partner, ev.App = at.Std().String(), begin+at, begin+at, "acme", "erp"
		ev.MarkAll()
		w.Append(&ev)
	}
	for day := range moat.Time(9) {
		for n := range moat.Time(6) {
			add(day*moat.Day+n*moat.Hour, moat.Event{Type: moat.OrderTransmit, Destination: "https://wms.example", DestinationKind: "wms", Count: 5})
		}
	}
	add(10*moat.Day, moat.Event{Type: moat.AccountChange, Actor: "li", Object: "erp", Change: "webhook", After: hook, IP: "203.0.113.8"})
	add(10*moat.Day+moat.Second, moat.Event{Type: moat.AccountChange, Actor: "li", Object: "erp", Change: "scope", After: "orders.read", IP: "203.0.113.8"})
	add(10*moat.Day+moat.Hour, moat.Event{Type: moat.OrderTransmit, Destination: hook, DestinationKind: "erp", Count: 500})
	r, err := e.Step(w.Bytes(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{"application.callback_changed": true, "egress.new_destination_of_app": true, "application.scope_granted": false}
	for _, f := range r.Findings {
		lists := slices.Contains(f.Related, moat.Entity{Kind: moat.Destination, ID: hook})
		if told, ok := want[f.Detector]; ok && lists != told {
			t.Errorf("%s lists %v", f.Detector, f.Related)
		}
		delete(want, f.Detector)
	}
	if len(want) > 0 {
		t.Errorf("not found: %v", want)
	}
}
