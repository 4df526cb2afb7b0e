package playbook

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
	"go.yaml.in/yaml/v3"
)

// Bounds of a playbook.
const (
	MaxSize  = 64 << 10 // bytes of YAML
	MaxSteps = 20       // of one rank
	MaxFor   = 90 * moat.Day
)

// Error is one thing that is wrong with a playbook.
type Error struct {
	File    string
	Line    int // 1, 2, …; 0 for the file as a whole
	Column  int
	Message string
	Hint    string // what to do; may be ""
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	if e.Line == 0 {
		s = e.File + ": " + e.Message
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Load reads a playbook; file is its name for errors. It returns all that is
// wrong at once, as joined [*Error]s in the order of lines.
func Load(file string, text []byte) (*Playbook, error) {
	l := &loader{file: file, places: map[stepID]*yaml.Node{}}
	p := &Playbook{}
	l.load(p, text)
	if len(l.errs) == 0 {
		l.checkOrder(p)
	}
	if len(l.errs) == 0 {
		return p, nil
	}
	slices.SortStableFunc(l.errs, func(a, b *Error) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	errs := make([]error, len(l.errs))
	for i, e := range l.errs {
		errs[i] = e
	}
	return nil, fmt.Errorf("cannot load playbook: %w", errors.Join(errs...))
}

type stepID struct {
	rank moat.Rank
	step int
}

type loader struct {
	file   string
	errs   []*Error
	places map[stepID]*yaml.Node // where a step stands
}

func (l *loader) fail(n *yaml.Node, hint, format string, args ...any) {
	e := &Error{File: l.file, Message: fmt.Sprintf(format, args...), Hint: hint}
	if n != nil {
		e.Line, e.Column = n.Line, n.Column
	}
	l.errs = append(l.errs, e)
}

var yamlLine = regexp.MustCompile(`^line (\d{1,9}): (.*)`)

func (l *loader) load(p *Playbook, text []byte) {
	if len(text) > MaxSize {
		l.fail(nil, "", "it has %d bytes, at most %d are read", len(text), MaxSize)
		return
	}
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			l.fail(nil, "write which decisions P1 to P4 bring", "it is empty")
			return
		}
		at := &yaml.Node{Line: 1, Column: 1}
		what := strings.TrimPrefix(err.Error(), "yaml: ")
		if m := yamlLine.FindStringSubmatch(what); m != nil {
			at.Line, _ = strconv.Atoi(m[1])
			what = m[2]
		}
		l.fail(at, "", "%s", what)
		return
	}
	if err := d.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.fail(nil, "remove the line ---", "it holds more than one document")
		return
	}
	root := doc.Content[0]
	for key, value := range l.pairs(root, "P1, P2, P3 and P4") {
		var r moat.Rank
		if err := r.UnmarshalText([]byte(key.Value)); err != nil || r == moat.NoRank {
			l.fail(key, suggest(key.Value, "P1", "P2", "P3", "P4"), "unknown rank %.20q", key.Value)
			continue
		}
		l.rank(p, r, value)
	}
}

// pairs yields the keys and values of a mapping once each.
func (l *loader) pairs(n *yaml.Node, want string) func(func(k, v *yaml.Node) bool) {
	return func(yield func(k, v *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			l.fail(n, "", "want a mapping of %s", want)
			return
		}
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			k, v := n.Content[i], n.Content[i+1]
			switch {
			case k.Kind != yaml.ScalarNode:
				l.fail(k, "", "want one of %s", want)
			case v.Kind == yaml.AliasNode:
				l.fail(v, "write it out", "aliases are not read")
			case seen[k.Value]:
				l.fail(k, "", "%.40q is given twice", k.Value)
			default:
				seen[k.Value] = true
				if !yield(k, v) {
					return
				}
			}
		}
	}
}

func (l *loader) rank(p *Playbook, r moat.Rank, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		l.fail(n, "write - {action: verify, on: subject, kinds: [account], for: 12h}, or [] for none", "want a list of decisions")
		return
	}
	if len(n.Content) > MaxSteps {
		l.fail(n, "", "%s has %d decisions, at most %d are read", r, len(n.Content), MaxSteps)
		return
	}
	for _, item := range n.Content {
		l.places[stepID{r, len(p.ranks[r])}] = item
		p.ranks[r] = append(p.ranks[r], l.step(item))
	}
}

func (l *loader) step(n *yaml.Node) (s Step) {
	given := map[string]bool{}
	before := len(l.errs)
	for key, value := range l.pairs(n, "action, on, kinds and for") {
		given[key.Value] = true
		switch key.Value {
		case "action":
			if err := s.Action.UnmarshalText([]byte(value.Value)); err != nil || s.Action == moat.Allow || value.Kind != yaml.ScalarNode {
				l.fail(value, suggest(value.Value, actions...), "unknown action %.20q", value.Value)
			}
		case "on":
			if s.On = Role(value.Value); s.On != Subject && s.On != Related && s.On != Stranger {
				l.fail(value, suggest(value.Value, string(Subject), string(Related), string(Stranger)), "unknown role %.20q", value.Value)
			}
		case "kinds":
			s.Kinds = l.kinds(value)
		case "for":
			s.For = l.duration(value)
		default:
			l.fail(key, suggest(key.Value, "action", "on", "kinds", "for"), "unknown key %.20q", key.Value)
		}
	}
	if len(l.errs) > before { // what is missing may only be misspelt
		return s
	}
	for _, key := range []string{"action", "on", "kinds", "for"} {
		if !given[key] {
			l.fail(n, "", "%s is missing", key)
		}
	}
	return s
}

func (l *loader) kinds(n *yaml.Node) []moat.EntityKind {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > int(moat.EntityKinds) {
		l.fail(n, "write kinds: [account, device]", "want a list of entity kinds")
		return nil
	}
	var kinds []moat.EntityKind
	for _, item := range n.Content {
		k, err := moat.ParseEntityKind(item.Value)
		switch {
		case err != nil:
			l.fail(item, suggest(item.Value, entityKinds()...), "unknown entity kind %.20q", item.Value)
		case k == moat.Destination:
			l.fail(item, "decide about the account or the app that sends there", "nothing can be decided about a destination: no enforcer keeps orders from it")
		case slices.Contains(kinds, k):
			l.fail(item, "", "%s is given twice", k)
		default:
			kinds = append(kinds, k)
		}
	}
	return kinds
}

var durationText = regexp.MustCompile(`^([1-9][0-9]{0,5})([mhd])$`)

func (l *loader) duration(n *yaml.Node) moat.Time {
	m := durationText.FindStringSubmatch(n.Value)
	if m == nil {
		l.fail(n, "write 90m, 24h or 7d", "%.20q is no duration", n.Value)
		return 0
	}
	count, _ := strconv.Atoi(m[1]) // at most six digits
	d := moat.Time(count) * map[string]moat.Time{"m": moat.Minute, "h": moat.Hour, "d": moat.Day}[m[2]]
	if d > MaxFor {
		l.fail(n, "a case that goes on brings it again", "%s is longer than %d days", n.Value, MaxFor/moat.Day)
	}
	return d
}

// checkOrder wants that a case that gets worse is never treated more mildly:
// on whatever a rank acts, each worse rank acts at least as severely, unless
// it does nothing at all by itself.
func (l *loader) checkOrder(p *Playbook) {
	type target struct {
		on   Role
		kind moat.EntityKind
	}
	need := map[target]Step{}
	for r := moat.P4; r >= moat.P1; r-- {
		if len(p.ranks[r]) == 0 {
			continue
		}
		has := map[target]Step{}
		for _, s := range p.ranks[r] {
			for _, k := range s.Kinds {
				if t := (target{s.On, k}); s.Action > has[t].Action {
					has[t] = s
				}
			}
		}
		for k := range moat.EntityKinds {
			for _, on := range []Role{Subject, Related, Stranger} {
				t := target{on, k}
				if has[t].Action < need[t].Action {
					l.fail(l.places[stepID{r, 0}], fmt.Sprintf("give %s at least %s on %s %s", r, need[t].Action, t.on, t.kind),
						"%s is milder on %s %s than a rank that is less bad", r, t.on, t.kind)
				}
				need[t] = has[t]
			}
		}
	}
}

var actions = []string{"observe", "verify", "throttle", "mask", "read_only", "deny", "ban", "isolate"}

func entityKinds() (names []string) {
	for k := moat.NoEntity + 1; k < moat.EntityKinds; k++ {
		names = append(names, k.String())
	}
	return names
}

// suggest names the word that was probably meant, or all of them.
func suggest(got string, words ...string) string {
	best, distance := "", 3
	for _, w := range words {
		if d := edits(strings.ToLower(got), strings.ToLower(w), distance); d < distance {
			best, distance = w, d
		}
	}
	if best != "" {
		return "did you mean " + best + "?"
	}
	return "want one of " + strings.Join(words, ", ")
}

// edits is the Levenshtein distance of a and b; limit or more when they are far apart.
func edits(a, b string, limit int) int {
	if len(a) > len(b)+limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
