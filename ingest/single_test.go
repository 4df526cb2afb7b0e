package ingest

import (
	"errors"
	"testing"

	"github.com/moat-platform/moat"
)

// TestSingle reads single events as those of a batch are read.
func TestSingle(t *testing.T) {
	s, err := NewSingle([]byte("a key of sixteen"))
	if err != nil {
		t.Fatal(err)
	}
	from := Caller{Partner: "acme", App: "erp"}
	for _, c := range []struct {
		name, text, code string
		check            func(*moat.Event) bool
	}{
		{"app from the credentials", `{"type":"heartbeat","time":1750000000}`, "", func(e *moat.Event) bool { return e.App == "erp" && e.Partner == "acme" && e.ID != "" }},
		{"normal form", `{"type":"auth.login","time":1750000000,"actor":"SYSTEM","outcome":"success","ip":"::ffff:1.2.3.4"}`, "",
			func(e *moat.Event) bool { return e.IP == "1.2.3.4" && e.Actor == "system" && e.Received == 7 }},
		{"another app", `{"type":"heartbeat","time":1750000000,"app":"wms"}`, moat.CodeForbidden, nil},
		{"another partner", `{"type":"heartbeat","time":1750000000,"partner":"other"}`, moat.CodeForbidden, nil},
		{"the operator's type", `{"type":"complaint","time":1750000000,"orders":["1"]}`, moat.CodeForbidden, nil},
		{"two objects", `{"type":"heartbeat","time":1750000000}{}`, moat.CodeJSON, nil},
		{"nothing", ``, moat.CodeJSON, nil},
	} {
		e, err := s.Read([]byte(c.text), from, 7)
		var p *moat.Problem
		switch {
		case c.code == "" && (err != nil || !c.check(e)):
			t.Errorf("%s: %+v, %v", c.name, e, err)
		case c.code != "" && (!errors.As(err, &p) || p.Code != c.code):
			t.Errorf("%s: got %v, want code %s", c.name, err, c.code)
		}
	}
	if _, err := NewSingle(nil); err == nil {
		t.Error("a reader without a key was made")
	}
}
