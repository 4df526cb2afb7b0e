package measure

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moat-platform/moat/sim/leak"
)

// TestBars is the gate: in a small measurement no figure may fall far below its bar. `moat drill trace`
// measures the bars themselves.
func TestBars(t *testing.T) {
	r, err := Run(t.Context(), Config{Seeds: []uint64{3}, Trials: 5, Ecosystem: "flows"})
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range r.Bars {
		slack := []float64{0.16, 0.2, 0.2, 0.31, 0.1, 0.08}[i]
		if !b.Most && b.Got < b.Want-slack || b.Most && b.Got > b.Want+slack {
			t.Errorf("%s: %.2f, the bar is %.2f", b.Name, b.Got, b.Want)
		}
	}
	var page bytes.Buffer
	if err := WritePage(&page, r); err != nil {
		t.Fatal(err)
	}
	if s := page.String(); strings.Count(s, "<svg") != 8 || strings.Contains(s, "NaN") || strings.Contains(s, "http") {
		t.Errorf("the page has %d plots, or something that does not belong there", strings.Count(s, "<svg"))
	}
}

// TestStopped: who interrupts it need not wait for the other leaks.
func TestStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var n atomic.Int64
	_, err := Run(ctx, Config{Seeds: []uint64{3}, Trials: 50, Ecosystem: "flows", Progress: func(int, int) { n.Add(1); stop() }})
	if !errors.Is(err, context.Canceled) || n.Load() > 50 {
		t.Errorf("after %d leaks: %v", n.Load(), err)
	}
}

func TestCalibration(t *testing.T) {
	// By hand: nine tenths claimed and all true is 0.1 off; one fifth claimed and none true 0.2; half of each.
	ece, bins := calibration([]Claim{{Posterior: 0.9, True: true}, {Posterior: 0.9, True: true}, {Posterior: 0.2}, {Posterior: 0.2}})
	if math.Abs(ece-0.15) > 1e-12 || len(bins) != 2 || bins[0].Claims != 2 {
		t.Errorf("%g of %+v, want 0.15", ece, bins)
	}
}

// TestLeaks checks that leaks are what they are said to be.
func TestLeaks(t *testing.T) {
	w := leak.New(leak.Config{Seed: 2, Days: 10, PerDay: 300})
	for _, p := range []leak.Plan{{Complaints: 20, Noise: 0.2, Sources: 1}, {Complaints: 30, Noise: 0.5, Sources: 2}, {Complaints: 10}} {
		a, b := w.Leak(p), w.Leak(p)
		noise, seen := 0, map[string]bool{}
		for i, c := range a.Complaints {
			if seen[c.Order] || c != b.Complaints[i] || c.At == 0 {
				t.Fatalf("%+v: complaint %+v comes twice, or differs the second time", p, c)
			}
			seen[c.Order] = true
			if c.Source < 0 {
				noise++
			}
		}
		want := int(math.Round(p.Noise * float64(p.Complaints)))
		if p.Sources == 0 {
			want = p.Complaints
		}
		if len(a.Complaints) != p.Complaints || len(a.Sources) != p.Sources || noise != want {
			t.Errorf("%+v: %d complaints, %d sources, %d noise", p, len(a.Complaints), len(a.Sources), noise)
		}
	}
}
