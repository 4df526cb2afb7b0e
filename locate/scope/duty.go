package scope

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/moat-platform/moat"
)

// Duty is something that must be done when data leaked, and by when. Whether it applies is for
// people to say.
type Duty struct {
	ID     string `json:"id" yaml:"id"`
	Title  string `json:"title" yaml:"title"`
	To     string `json:"to" yaml:"to"`         // who must hear of it
	Within Period `json:"within" yaml:"within"` // from the discovery; 0 is "now": no hours are named
	When   string `json:"when" yaml:"when"`     // it applies
	Source string `json:"source" yaml:"source"` // where it is written
}

// Deadline is when a duty is due.
type Deadline struct {
	Duty
	Due moat.Time `json:"due"`
}

// Period is how long somebody has. It is written "72h", and 0 "now".
type Period time.Duration

// String writes whole hours as "72h", 0 as "now".
func (p Period) String() string {
	if p == 0 {
		return "now"
	}
	if d := time.Duration(p); d%time.Hour != 0 {
		return d.String()
	}
	return fmt.Sprintf("%dh", time.Duration(p)/time.Hour)
}

// MarshalText writes [Period.String].
func (p Period) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads "now" or a duration of at most a year.
func (p *Period) UnmarshalText(b []byte) error {
	if string(b) == "now" {
		*p = 0
		return nil
	}
	d, err := time.ParseDuration(string(b))
	if err != nil || d < time.Minute || d > 366*24*time.Hour {
		return fmt.Errorf("%.40q is no period: want now, or a duration of a minute to a year such as 72h", b)
	}
	*p = Period(d)
	return nil
}

//go:embed duties.yaml
var shipped []byte

// ShippedDuties returns the duties that come with Moat.
func ShippedDuties() []Duty {
	list, err := ParseDuties(shipped)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return list
}

// Bounds of a file of duties.
const (
	maxDuties    = 200
	maxDutyBytes = 256 << 10
	maxDutyText  = 500
)

// ParseDuties reads a list of duties in YAML, as in the file that is shipped. Every field is needed.
func ParseDuties(text []byte) ([]Duty, error) {
	if len(text) > maxDutyBytes {
		return nil, fmt.Errorf("cannot read duties: over %d bytes", maxDutyBytes)
	}
	var list []Duty
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&list); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("cannot read duties: %w", err)
	}
	if len(list) > maxDuties {
		return nil, fmt.Errorf("cannot read duties: %d of them, at most %d", len(list), maxDuties)
	}
	seen := map[string]bool{}
	for i, x := range list {
		for name, s := range map[string]string{"id": x.ID, "title": x.Title, "to": x.To, "when": x.When, "source": x.Source} {
			if s == "" || len(s) > maxDutyText {
				return nil, fmt.Errorf("cannot read duties: number %d: %s must have 1 to %d bytes", i+1, name, maxDutyText)
			}
		}
		if seen[x.ID] {
			return nil, fmt.Errorf("cannot read duties: %.80q is there twice", x.ID)
		}
		seen[x.ID] = true
	}
	return list, nil
}

// deadlines counts from the discovery.
func deadlines(duties []Duty, discovered moat.Time) []Deadline {
	out := make([]Deadline, len(duties))
	for i, d := range duties {
		out[i] = Deadline{d, discovered + moat.Time(time.Duration(d.Within).Microseconds())}
	}
	slices.SortStableFunc(out, func(a, b Deadline) int { return cmp.Compare(a.Due, b.Due) })
	return out
}
