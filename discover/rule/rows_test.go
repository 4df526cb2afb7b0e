package rule_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/rule"
)

// family makes two detectors: one of addresses, one of devices.
const family = `each:
  - id: access.many_addresses
    title: Many addresses
    noun: addresses
    value: event.ip
    on: [order.access]
    field: ip
    fire: |
      event order.access actor=alice ip=1.2.3.{i} orders=A{i} operation=view times=9
      wait 1m
    most: 5
  - id: access.many_devices
    title: Many devices
    stake: 70
    noun: devices
    value: event.device
    on: [order.access, auth.login]
    field: device
    fire: event auth.login actor=alice device=d{i} times=4
    most: 3
dimension: B5
doc: Counts the ${noun} of an account.
on: ${on}
subject: account
params:
  most: {default: "${most}", min: 1, max: 50, unit: "${noun}", doc: "how many ${noun} are too many"}
features:
  used: {kind: distinct, window: 1d, value: "${value}"}
when: used > params.most
confidence: 0.1
reason: "{event.actor} used {used} ${noun}, the last {event.${field}}"
false_positives: ["a busy day of ${noun}"]
evasions: [patience]
tests:
  - name: many
    script: |
      ${fire}
      expect finding account alice
  - name: one
    script: |
      event order.access actor=alice ${field}=x orders=A1 operation=view
      expect none
`

// TestRows shows what a family is made to, and that each of its detectors is changed alone.
func TestRows(t *testing.T) {
	list, err := rule.Parse("family.yaml", []byte(family))
	if err != nil {
		t.Fatal(display(err))
	}
	if len(list) != 2 {
		t.Fatalf("%d detectors", len(list))
	}
	a, d := list[0], list[1]
	for _, c := range []struct{ got, want string }{
		{a.ID, "access.many_addresses"}, {d.ID, "access.many_devices"}, {d.Dimension, "B5"}, {d.Title, "Many devices"}, {d.File, "family.yaml"},
		{d.Doc, "Counts the devices of an account."}, {d.Params[0].Unit, "devices"}, {d.FalsePositives[0], "a busy day of devices"},
		{a.Reason.S, "{event.actor} used {used} addresses, the last {event.ip}"}, {a.Features[0].Value.S, "event.ip"},
		{d.Tests[0].Script.S, "event auth.login actor=alice device=d{i} times=4\nexpect finding account alice"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
	if a.Stake != 10 || d.Stake != 70 || a.Params[0].Default != 5 || d.Params[0].Default != 3 || !slices.Equal(d.On, []moat.EventType{moat.OrderAccess, moat.AuthLogin}) {
		t.Errorf("%+v\n%+v", a, d)
	}
	for line, want := range map[int]int{1: 9, 2: 10, 3: 38} {
		if got := a.Tests[0].Script.LineOf(line); got != want {
			t.Errorf("line %d of the script is line %d of the file, want %d", line, got, want)
		}
	}
	shadow := moat.Shadow
	p, err := rule.Compile(list, rule.Options{Overrides: map[string]rule.Override{
		"access.many_addresses": {Params: map[string]float64{"most": 8}}, "access.many_devices": {Mode: &shadow}}})
	if err != nil {
		t.Fatal(display(err))
	}
	if x, y := p.Detectors[0], p.Detectors[1]; x.Mode != moat.Enforce || x.Params[0].Default != 8 || y.Mode != moat.Shadow || y.Params[0].Default != 3 {
		t.Errorf("%+v\n%+v", x.Detector, y.Detector)
	}
	if _, err := rule.Parse("plain.yaml", []byte(strings.Replace(base, "A detector that", "A ${busy} detector that", 1))); err != nil {
		t.Errorf("a file without rows is filled in: %v", err)
	}
}
