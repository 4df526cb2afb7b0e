package rule

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// Limits of what one script may do.
const (
	MaxScriptEvents = 100_000
	MaxScriptValues = 64 << 20                    // bytes of the values of all events
	maxStatements   = 200_000                     // those in a repeat count each time
	maxScriptTime   = 4_102_444_800 * moat.Second // the year 2100
)

// Step is one thing that a script says: an event, or an expectation about the findings
// since the one before.
type Step struct {
	Line  int
	Event *moat.Event
	// Expect is set for expectations: None, or a finding for Entity.
	Expect bool
	None   bool
	Entity moat.Entity
}

// ParseScript reads the small language of tests, one statement a line:
//
//	start 2026-03-02T09:00:00Z          where the clock begins (that Monday if not said)
//	event TYPE field=value …            an event now; lists are separated by commas; extra.NAME=… is a member of extra
//	event TYPE … times=8 every=10s      that many, the clock moving on by every after each
//	wait 1h                             move the clock on
//	repeat 14 every 1d                  do the lines up to `end`, once a day
//	end
//	expect finding account alice        this detector found that entity since the last expect
//	expect none                         it found nothing since the last expect
//
// In values {i} is the number of the event on its line from 1 on, {d} that of the round of
// the innermost repeat, {n} that of the event in the script; {i:4} pads with zeros; A[1..20]
// is a list of twenty. Text after # is a remark. The partner is acme unless partner= says otherwise.
func ParseScript(src string) ([]Step, error) {
	s := &script{lines: strings.Split(src, "\n")}
	s.now, _ = moat.ParseTime("2026-03-02T09:00:00Z")
	end, err := s.run(0, 0)
	if err == nil && end < len(s.lines) {
		err = fmt.Errorf("line %d: end without repeat", end+1)
	}
	return s.steps, err
}

type script struct {
	lines []string
	now   moat.Time
	steps []Step
	n     int // events
	ran   int // statements
	size  int // of values
}

// run executes lines from i on to the end or to the `end` that closes its block, and
// returns the number of the line that it stopped at.
func (s *script) run(i, round int) (int, error) {
	for ; i < len(s.lines); i++ {
		words, err := fields(s.lines[i])
		if err != nil {
			return i, fmt.Errorf("line %d: %w", i+1, err)
		}
		if len(words) == 0 {
			continue
		}
		if s.ran++; s.ran > maxStatements {
			return i, fmt.Errorf("line %d: the script runs more than %d statements", i+1, maxStatements)
		}
		switch words[0] {
		case "end":
			return i, nil
		case "repeat":
			if i, err = s.repeat(i, words); err != nil {
				return i, err
			}
		case "start":
			if len(words) != 2 {
				return i, fmt.Errorf("line %d: write start TIME", i+1)
			}
			s.now, err = moat.ParseTime(words[1])
		case "wait":
			var d float64
			if len(words) != 2 {
				return i, fmt.Errorf("line %d: write wait DURATION", i+1)
			}
			if d, err = seconds(words[1]); err == nil {
				err = s.advance(d)
			}
		case "event":
			err = s.event(i, words[1:], round)
		case "expect":
			err = s.expect(i, words[1:])
		default:
			err = fmt.Errorf("unknown statement %.20q: want start, event, wait, repeat, end or expect", words[0])
		}
		if err != nil {
			return i, fmt.Errorf("line %d: %w", i+1, err)
		}
	}
	return i, nil
}

// advance moves the clock on by d seconds.
func (s *script) advance(d float64) error {
	if d > float64(maxScriptTime-s.now)/1e6 {
		return fmt.Errorf("the clock runs past the year 2100")
	}
	s.now += moat.Time(d * 1e6)
	return nil
}

func (s *script) repeat(i int, words []string) (int, error) {
	bad := fmt.Errorf("line %d: write repeat N every DURATION", i+1)
	if len(words) != 4 || words[2] != "every" {
		return i, bad
	}
	n, err := strconv.Atoi(words[1])
	every, err2 := seconds(words[3])
	if err != nil || err2 != nil || n < 1 || n > 10000 {
		return i, bad
	}
	end := i
	begin := s.now
	for r := range n {
		s.now = begin
		if err := s.advance(float64(r) * every); err != nil {
			return i, fmt.Errorf("line %d: %w", i+1, err)
		}
		if end, err = s.run(i+1, r+1); err != nil {
			return end, err
		}
		if end == len(s.lines) {
			return end, fmt.Errorf("line %d: repeat without end", i+1)
		}
	}
	after := s.now
	s.now = begin
	if err := s.advance(float64(n) * every); err != nil {
		return i, fmt.Errorf("line %d: %w", i+1, err)
	}
	s.now = max(s.now, after)
	return end, nil
}

func (s *script) expect(i int, words []string) error {
	st := Step{Line: i + 1, Expect: true}
	switch {
	case len(words) == 1 && words[0] == "none":
		st.None = true
	case len(words) == 3 && words[0] == "finding":
		k, err := moat.ParseEntityKind(words[1])
		if err != nil {
			return err
		}
		st.Entity = moat.Entity{Kind: k, ID: words[2]}
	default:
		return fmt.Errorf("write expect none, or expect finding KIND ID")
	}
	s.steps = append(s.steps, st)
	return nil
}

var (
	counter  = regexp.MustCompile(`\{([idn])(?::(\d))?\}`)
	interval = regexp.MustCompile(`^(.*)\[(\d+)\.\.(\d+)\](.*)$`)
)

func (s *script) event(i int, words []string, round int) error {
	if len(words) == 0 {
		return fmt.Errorf("write event TYPE field=value …")
	}
	typ, err := moat.ParseEventType(words[0])
	if err != nil {
		return err
	}
	times, every := 1, 0.0
	var pairs [][2]string
	for _, w := range words[1:] {
		k, v, ok := strings.Cut(w, "=")
		if !ok {
			return fmt.Errorf("%.40q is not of the form field=value", w)
		}
		switch k {
		case "times":
			times, err = strconv.Atoi(v)
		case "every":
			every, err = seconds(v)
		default:
			pairs = append(pairs, [2]string{k, v})
		}
		if err != nil || times < 1 {
			return fmt.Errorf("cannot read %.40q", w)
		}
	}
	if times > MaxScriptEvents-s.n {
		return fmt.Errorf("the script has more than %d events", MaxScriptEvents)
	}
	for k := range times {
		s.n++
		e := &moat.Event{Partner: "acme", ID: fmt.Sprintf("e%06d", s.n), Time: s.now, Received: s.now}
		e.Type = typ
		for _, p := range pairs {
			v := counter.ReplaceAllStringFunc(p[1], func(m string) string {
				g := counter.FindStringSubmatch(m)
				width, _ := strconv.Atoi("0" + g[2])
				return fmt.Sprintf("%0*d", width, map[string]int{"i": k + 1, "d": round, "n": s.n}[g[1]])
			})
			if err := s.set(e, p[0], v); err != nil {
				return err
			}
			if s.size += len(v); s.size > MaxScriptValues {
				return fmt.Errorf("the values of the script's events have more than %d bytes", MaxScriptValues)
			}
		}
		e.MarkAll()
		e.Conclude()
		s.steps = append(s.steps, Step{Line: i + 1, Event: e})
		if err := s.advance(every); err != nil {
			return err
		}
	}
	return nil
}

// set sets a field of e, or the member NAME of its extra for extra.NAME.
func (s *script) set(e *moat.Event, field, value string) error {
	name, member := strings.CutPrefix(field, "extra.")
	if !member {
		return e.SetText(field, value, s.expand)
	}
	both, err := json.Marshal(map[string]string{name: value})
	if err != nil {
		return fmt.Errorf("cannot write %.40q into extra: %w", name, err)
	}
	if rest, ok := strings.CutSuffix(e.Extra, "}"); ok && rest != "{" {
		e.Extra = rest + "," + string(both[1:])
	} else {
		e.Extra = string(both)
	}
	return nil
}

// expand splits a list and writes out its intervals.
func (s *script) expand(list string) []string {
	var out []string
	for part := range strings.SplitSeq(list, ",") {
		m := interval.FindStringSubmatch(part)
		if m == nil {
			out = append(out, part)
			continue
		}
		a, _ := strconv.Atoi(m[2])
		b, _ := strconv.Atoi(m[3])
		for n := a; n <= b && len(out) < 1000 && s.size <= MaxScriptValues; n++ {
			out = append(out, fmt.Sprintf("%s%0*d%s", m[1], len(m[2]), n, m[4]))
			s.size += len(m[1]) + len(m[2]) + len(m[4]) + 16
		}
	}
	return out
}

// fields splits a line at blanks outside double quotes, drops the quotes and what
// follows a #.
func fields(line string) ([]string, error) {
	var out []string
	var b strings.Builder
	quoted, any := false, false
	for _, r := range line {
		blank := r == ' ' || r == '\t' || r == '\r'
		switch {
		case r == '"':
			quoted, any = !quoted, true
		case quoted || !blank && r != '#':
			b.WriteRune(r)
			any = true
		default:
			if any {
				out = append(out, b.String())
			}
			b.Reset()
			any = false
		}
		if r == '#' && !quoted {
			break
		}
	}
	if quoted {
		return nil, fmt.Errorf("a quotation mark is not closed")
	}
	if any {
		out = append(out, b.String())
	}
	return out, nil
}

// Check tells whether the findings since the expectation before s are as s wants them.
func (s *Step) Check(found []moat.Finding) error {
	if s.None {
		if len(found) > 0 {
			return fmt.Errorf("nothing should be found, but %s was: %s", found[0].Entity, found[0].Reason)
		}
		return nil
	}
	seen := ""
	for _, f := range found {
		if f.Entity == s.Entity {
			return nil
		}
		seen += " " + f.Entity.String()
	}
	if seen == "" {
		seen = " nothing"
	}
	return fmt.Errorf("%s should be found, but this was:%s", s.Entity, seen)
}
