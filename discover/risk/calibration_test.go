package risk_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
)

// TestOdds: what is not measured is believed, thin data counts little, and nothing moves without bound.
func TestOdds(t *testing.T) {
	c := risk.Calibration{Detectors: map[string]risk.Measure{
		"never of few":      {N: 5, Slope: 1, Shift: -10},
		"never of very few": {N: 1, Slope: 1, Shift: -10},
		"never of many":     {N: 10_000, Slope: 1, Shift: -10},
		"rarely of many":    {N: 10_000, True: 1, Slope: 1, Shift: -10},
		"half as sure":      {N: 20, True: 10, Slope: 1, Shift: -2 * math.Ln2},
		"exact":             {N: math.MaxInt32, True: 1, Slope: 0.5, Shift: 0.25},
		"always":            {N: 1000, True: 1000, Slope: 1, Shift: 20},
	}}
	for _, x := range []struct {
		detector    string
		score, want float64
	}{
		{"unknown", 0.5, 1},
		{"unknown", 0.8, 4},
		{"unknown", 1, 999},
		{"unknown", 0, 1.0 / 999},
		{"never of few", 0.5, math.Exp(-risk.MaxDoubt)},
		{"never of very few", 0.5, math.Exp(-10.0 / 21)},
		{"never of many", 0.5, math.Exp(-risk.MaxDoubt)},
		{"rarely of many", 0.5, math.Exp(-risk.MaxShift)},
		{"half as sure", 0.5, 0.5},
		{"exact", 0.5, math.Exp(0.25)},
		{"exact", 0.8, math.Exp(0.5*math.Log(4) + 0.25)},
		{"always", 0.5, math.Exp(risk.MaxTrust)},
	} {
		if got := c.Odds(x.detector, x.score); math.Abs(got/x.want-1) > 1e-6 {
			t.Errorf("odds of %s at %g: %g, want %g", x.detector, x.score, got, x.want)
		}
		if got, want := (risk.Calibration{}).Odds(x.detector, x.score), c.Odds("unknown", x.score); got != want {
			t.Errorf("without measures odds of %s at %g: %g, want %g", x.detector, x.score, got, want)
		}
	}
}

// TestCalibratedKeeper: a finding counts for what was measured.
func TestCalibratedKeeper(t *testing.T) {
	alice := moat.Entity{Kind: moat.Account, ID: "alice"}
	f := finding("1", "a", alice, 0, 0.6)
	stated := risk.NewKeeper(risk.Calibration{}).Fold(f)
	odds := risk.Calibration{Detectors: map[string]risk.Measure{f.Detector: {N: 1000, True: 100, Slope: 1, Shift: -1}}}
	k := risk.NewKeeper(odds)
	measured := k.Fold(f)
	if len(stated.Cases) != 1 || len(measured.Cases) != 0 || measured.Risk.Score >= stated.Risk.Score {
		t.Errorf("stated: risk %g, %d cases; measured: risk %g, %d cases", stated.Risk.Score, len(stated.Cases), measured.Risk.Score, len(measured.Cases))
	}
	if p := odds.Odds(f.Detector, 0.6); math.Abs(measured.Risk.Score-100*p/(1+p)) > 1e-9 {
		t.Errorf("risk %g of odds %g", measured.Risk.Score, p)
	}
	if with := k.With(f.Partner, alice, []moat.Finding{*f}, f.Time); with.Score != measured.Risk.Score {
		t.Errorf("a question is answered with %g, a finding brings %g", with.Score, measured.Risk.Score)
	}
}

// TestFor: measures hold for the texts that were measured, and the score at which cases open for most of them.
func TestFor(t *testing.T) {
	c := risk.Calibration{OpenAt: 20, Detectors: map[string]risk.Measure{"a": {N: 95, Source: "1"}, "b": {N: 5, Source: "2"}}}
	for _, x := range []struct {
		marks map[string]string
		kept  int
		open  float64
	}{
		{map[string]string{"a": "1", "b": "2", "c": "3"}, 2, 20},
		{map[string]string{"a": "1", "b": "changed"}, 1, 20},
		{map[string]string{"a": "changed", "b": "2"}, 1, 0},
		{nil, 0, 0},
	} {
		if got := c.For(x.marks); len(got.Detectors) != x.kept || got.OpenAt != x.open {
			t.Errorf("for %v: %+v", x.marks, got)
		}
	}
	if zero := (risk.Calibration{}).For(map[string]string{"a": "1"}); zero.OpenAt != 0 || zero.Odds("a", 0.5) != 1 {
		t.Errorf("nothing measured: %+v", zero)
	}
	f := finding("1", "a", moat.Entity{Kind: moat.Account, ID: "alice"}, 0, 0.3)
	if n := len(risk.NewKeeper(risk.Calibration{OpenAt: 30}).Fold(f).Cases) + len(risk.NewKeeper(risk.Calibration{OpenAt: 31}).Fold(f).Cases); n != 1 {
		t.Errorf("a risk of 30 opens %d cases, want one at 30 and none at 31", n)
	}
}

func TestParseCalibration(t *testing.T) {
	good := `{"version":1,"made":{"world":"w"},"detectors":{"a.b":{"n":3,"true":2,"precision_low":0.2,"slope":1,"shift":-0.5}}}`
	c, err := risk.ParseCalibration([]byte(good))
	if err != nil || c.Detectors["a.b"].Shift != -0.5 {
		t.Fatal(c, err)
	}
	for _, bad := range []string{
		``, `[]`, good + good, `{"version":2,"made":{"world":"w"}}`, strings.Replace(good, `"n":3`, `"n":1`, 1), strings.Replace(good, `"shift":-0.5`, `"shift":-50`, 1),
		strings.Replace(good, `"slope":1`, `"slope":-1`, 1), strings.Replace(good, `a.b`, ``, 1), strings.Replace(good, `world`, `word`, 1),
		strings.Repeat(" ", risk.MaxCalibration) + good,
	} {
		if _, err := risk.ParseCalibration([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "cannot read calibration: ") {
			t.Errorf("%.60s: %v", bad, err)
		}
	}
	shipped, err := os.ReadFile("../detectors/calibration.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := risk.ParseCalibration(shipped); err != nil {
		t.Error(err)
	}
}

func FuzzParseCalibration(f *testing.F) {
	f.Add([]byte(`{"version":1,"made":{"world":"w"},"detectors":{"a.b":{"n":3,"true":2,"precision_low":0.2,"slope":1,"shift":-0.5}}}`), 0.5)
	f.Add([]byte(`{"version":1,"detectors":{"a.b":{"n":9007199254740993,"slope":10,"shift":20}}}`), 1.0)
	f.Fuzz(func(t *testing.T, text []byte, score float64) {
		c, err := risk.ParseCalibration(text)
		if err != nil {
			return
		}
		for id := range c.Detectors {
			if o := c.Odds(id, score); !(o > 0 && o < 1e5) && score == score {
				t.Errorf("odds of %q at %g: %g", id, score, o)
			}
		}
	})
}

func TestWilson(t *testing.T) {
	for _, x := range []struct {
		yes, n int
		want   float64
	}{{0, 0, 0}, {0, 5, 0}, {5, 5, 0.5655}, {50, 100, 0.4038}, {950, 1000, 0.9347}} {
		if got := risk.Wilson(x.yes, x.n); math.Abs(got-x.want) > 5e-4 {
			t.Errorf("%d of %d: %.4f, want %.4f", x.yes, x.n, got, x.want)
		}
	}
}
