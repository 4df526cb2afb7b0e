package indicator

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moat-platform/moat/discover/indicator/internal/feed"
)

// Limits of the patterns of crawlers.
const (
	maxPatterns    = 8192 // of all files together
	maxPattern     = 256  // bytes
	maxExpressions = 512  // patterns of all files that are more than a text to find
	minLiteral     = 3    // bytes of text that a pattern must ask for
	maxLiterals    = 64   // texts of which a pattern may ask for one
)

// pattern is one crawler.
type pattern struct {
	name     string
	literals []string       // a user agent that matches holds one of these
	regexp   *regexp.Regexp // nil: to hold one is enough
}

// readPatterns reads the form of crawler-user-agents.json: an array of objects
// of which each has a "pattern".
func readPatterns(r io.Reader) ([]pattern, feed.Tally, error) {
	b, err := io.ReadAll(io.LimitReader(r, feed.MaxBytes+1))
	if err != nil {
		return nil, feed.Tally{}, err
	}
	var tally feed.Tally
	refuse := func(format string, args ...any) ([]pattern, feed.Tally, error) {
		return nil, tally, &feed.Refused{Reason: fmt.Sprintf(format, args...), Faults: tally.Faults}
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return refuse("it is no JSON array of crawlers")
	}
	var patterns []pattern
	line, counted := 1, int64(0)
	for dec.More() {
		var crawler struct {
			Pattern string `json:"pattern"`
		}
		err := dec.Decode(&crawler)
		line, counted = line+bytes.Count(b[counted:dec.InputOffset()], []byte("\n")), dec.InputOffset()
		if _, mistyped := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !mistyped {
			return refuse("line %d: it is not whole JSON", line)
		}
		var p pattern
		if err == nil {
			p, err = newPattern(crawler.Pattern)
		}
		if err != nil {
			tally.Fail(line, err)
			continue
		}
		tally.Good++
		if patterns = append(patterns, p); len(patterns) > maxPatterns {
			return refuse("it has more than %d patterns", maxPatterns)
		}
	}
	if _, err := dec.Token(); err != nil {
		return refuse("line %d: it is not whole JSON", line)
	}
	return patterns, tally, tally.Judge()
}

// fits tells whether there are not too many patterns.
func fits(patterns []pattern) bool {
	expressions := 0
	for _, p := range patterns {
		if p.regexp != nil {
			expressions++
		}
	}
	return len(patterns) <= maxPatterns && expressions <= maxExpressions
}

func newPattern(text string) (pattern, error) {
	if text == "" || len(text) > maxPattern {
		return pattern{}, fmt.Errorf("a pattern has 1 to %d bytes", maxPattern)
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, fmt.Errorf("%.60q: %w", text, err)
	}
	tree = tree.Simplify()
	need, whole := needs(tree)
	if len(need) == 0 || shortest(need) < minLiteral {
		return pattern{}, fmt.Errorf("%.60q asks for no text of %d bytes or more", text, minLiteral)
	}
	p := pattern{name: strings.Clone(strings.Trim(nameOf(tree), " /;,()-^")), literals: need}
	if p.name == "" {
		p.name = text
	}
	if !whole {
		p.regexp, err = regexp.Compile(text)
	}
	return p, err
}

// needs returns texts of which any match of re holds at least one; whole tells
// that they are just the texts that re matches, wherever they stand. None means
// that nothing can be said.
func needs(re *syntax.Regexp) (texts []string, whole bool) {
	switch re.Op {
	case syntax.OpLiteral:
		if re.Flags&syntax.FoldCase == 0 {
			return []string{string(re.Rune)}, true
		}
		return foldings(re.Rune)
	case syntax.OpCharClass:
		for i := 0; i < len(re.Rune); i += 2 {
			for r := re.Rune[i]; r <= re.Rune[i+1]; r++ {
				if texts = append(texts, string(r)); len(texts) > 4 {
					return nil, false
				}
			}
		}
		return texts, true
	case syntax.OpEmptyMatch:
		return []string{""}, true
	case syntax.OpCapture:
		return needs(re.Sub[0])
	case syntax.OpPlus:
		texts, _ = needs(re.Sub[0])
	case syntax.OpAlternate:
		whole = true
		for _, sub := range re.Sub {
			t, w := needs(sub)
			if len(t) == 0 || len(texts)+len(t) > maxLiterals {
				return nil, false
			}
			texts, whole = append(texts, t...), whole && w
		}
	case syntax.OpConcat:
		return needsOfAll(re.Sub)
	}
	return texts, whole
}

// needsOfAll joins what consecutive parts need, as far as they are whole, and
// keeps the longest.
func needsOfAll(parts []*syntax.Regexp) (best []string, whole bool) {
	run := []string{""}
	keep := func(texts []string) {
		if len(texts) > 0 && shortest(texts) > shortest(best) {
			best = texts
		}
	}
	whole = true
	for _, part := range parts {
		t, w := needs(part)
		if w && len(run)*len(t) <= maxLiterals {
			run = product(run, t)
			continue
		}
		whole = false
		keep(run)
		keep(t)
		run = []string{""}
		if w {
			run = t
		}
	}
	if whole {
		return run, true
	}
	keep(run)
	return best, false
}

// foldings returns the ways to write runes in upper and lower case, of the
// first few if they are too many; whole tells that they are of all.
func foldings(runes []rune) (texts []string, whole bool) {
	texts = []string{""}
	for _, r := range runes {
		forms := []string{string(r)}
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			forms = append(forms, string(f))
		}
		if len(texts)*len(forms) > maxLiterals/4 {
			return texts, false
		}
		texts = product(texts, forms)
	}
	return texts, true
}

func product(a, b []string) []string {
	out := make([]string, 0, len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			out = append(out, x+y)
		}
	}
	return out
}

func shortest(texts []string) int {
	n := 0
	for i, t := range texts {
		if i == 0 || len(t) < n {
			n = len(t)
		}
	}
	return n
}

// nameOf returns the text that re matches, of alternatives the first, without
// what may be left out.
func nameOf(re *syntax.Regexp) string {
	var b strings.Builder
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		if len(re.Rune) <= 8 && re.Rune[0] > ' ' && re.Rune[0] < utf8.RuneSelf {
			return string(re.Rune[0])
		}
	case syntax.OpCapture, syntax.OpPlus, syntax.OpAlternate:
		return nameOf(re.Sub[0])
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			b.WriteString(nameOf(sub))
		}
	}
	return b.String()
}

// crawlers finds patterns in a user agent. Of each text that a pattern needs,
// three consecutive bytes that are rare in browsers' user agents are kept in a
// table; a look-up passes over the user agent once and looks closer only where
// such three bytes stand.
type crawlers struct {
	patterns []pattern
	shift    uint8
	slots    []slot // open addressing, a power of two
	needles  []needle
}

// slot is three bytes and the needles that hold them.
type slot struct {
	gram     uint32 // plus one; 0 is free
	from, to uint32
}

// needle is a text that a pattern needs; the three bytes stand at offset.
type needle struct {
	text       string
	offset     int
	pattern    int
	expression int // its number, -1 if the text is enough
}

// browsers are user agents of people. What occurs in them is no good sign of a crawler.
const browsers = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/120.0.0.0 " +
	"Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 Version/17.1 Mobile/15E148 Safari/604.1 " +
	"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) (iPad; CPU OS 16_6 like Mac OS X) Mozilla/5.0 (compatible; MSIE 9.0; Trident/5.0) " +
	"Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0 OPR/105.0.0.0 SamsungBrowser/23.0 MicroMessenger/8.0 " +
	"Mozilla/5.0 (Linux; Android 13; SM-G991B Build/TP1A; wv) Mobile MQQBrowser/13.0 UCBrowser/15.0 Dalvik/2.1.0 Language/zh_CN http://www. .com"

func gramAt(s string, i int) uint32 {
	return uint32(s[i])<<16 | uint32(s[i+1])<<8 | uint32(s[i+2])
}

func newCrawlers(patterns []pattern) *crawlers {
	c := &crawlers{patterns: patterns}
	cost := map[uint32]int{} // how often we would look closer for nothing
	for i := range len(browsers) - 2 {
		cost[gramAt(browsers, i)] += 1000
	}
	for _, p := range patterns {
		for _, text := range p.literals {
			for i := range len(text) - 2 {
				cost[gramAt(text, i)]++
			}
		}
	}
	byGram := map[uint32][]needle{}
	total, expressions := 0, 0
	for n, p := range patterns {
		expression := -1
		if p.regexp != nil {
			expression = expressions
			expressions++
		}
		for _, text := range p.literals {
			best := 0
			for i := range len(text) - 2 {
				if cost[gramAt(text, i)] < cost[gramAt(text, best)] {
					best = i
				}
			}
			g := gramAt(text, best)
			byGram[g] = append(byGram[g], needle{text, best, n, expression})
			total++
		}
	}
	size := 1
	for size < 4*len(byGram) {
		size *= 2
	}
	c.shift = 32
	for s := size; s > 1; s /= 2 {
		c.shift--
	}
	c.slots = make([]slot, size)
	c.needles = make([]needle, 0, total)
	grams := make([]uint32, 0, len(byGram))
	for g := range byGram {
		grams = append(grams, g)
	}
	slices.Sort(grams)
	for _, g := range grams {
		from := len(c.needles)
		c.needles = append(c.needles, byGram[g]...)
		i := c.slotOf(g)
		for c.slots[i].gram != 0 {
			i = (i + 1) & uint32(size-1)
		}
		c.slots[i] = slot{g + 1, uint32(from), uint32(len(c.needles))}
	}
	return c
}

// slotOf is where the search for a gram begins: Fibonacci hashing.
func (c *crawlers) slotOf(gram uint32) uint32 {
	return uint32(uint64(gram*0x9e3779b1) >> c.shift)
}

func (c *crawlers) find(agent string) (string, bool) {
	if len(agent) < minLiteral {
		return "", false
	}
	best := len(c.patterns)
	var tried [maxExpressions / 64]uint64
	mask := uint32(len(c.slots) - 1)
	gram := uint32(agent[0])<<8 | uint32(agent[1])
	for i := 2; i < len(agent); i++ {
		gram = (gram<<8 | uint32(agent[i])) & 0xffffff
		for at := c.slotOf(gram); c.slots[at].gram != 0; at = (at + 1) & mask {
			if c.slots[at].gram == gram+1 {
				for _, n := range c.needles[c.slots[at].from:c.slots[at].to] {
					if n.pattern < best && c.matches(&n, agent, i-2-n.offset, &tried) {
						best = n.pattern
					}
				}
				break
			}
		}
	}
	if best == len(c.patterns) {
		return "", false
	}
	return c.patterns[best].name, true
}

// matches tells whether n stands in agent at begin and its pattern matches.
// Tried marks expressions, so that a made-up user agent cannot have one run
// again and again.
func (c *crawlers) matches(n *needle, agent string, begin int, tried *[maxExpressions / 64]uint64) bool {
	if begin < 0 || !strings.HasPrefix(agent[begin:], n.text) {
		return false
	}
	if n.expression < 0 {
		return true
	}
	word, bit := &tried[n.expression/64], uint64(1)<<(n.expression%64)
	if *word&bit != 0 {
		return false
	}
	*word |= bit
	return c.patterns[n.pattern].regexp.MatchString(agent)
}
