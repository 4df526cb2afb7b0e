package canary

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
)

// Form is what values look like: alternatives of literal text with open places.
type Form struct{ choices [][]place }

type place struct {
	literal string
	from    string // an open place takes one of these characters
}

const (
	digits   = "0123456789"
	lower    = "abcdefghijklmnopqrstuvwxyz"
	capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// Bounds of patterns.
const (
	maxPattern = 4096
	maxChoices = 256
)

// ParseForm reads a pattern: # stands for a digit, @ for a letter, ^ for a capital letter, * for a letter or digit, \ takes the next
// character as it is, and | separates alternatives, as in a pool of numbers: 202-555-01##|202-555-02##.
func ParseForm(pattern string) (*Form, error) {
	if pattern == "" || len(pattern) > maxPattern {
		return nil, fmt.Errorf("a pattern has 1 to %d bytes", maxPattern)
	}
	f := &Form{choices: [][]place{nil}}
	add := func(p place) {
		last := &f.choices[len(f.choices)-1]
		*last = append(*last, p)
	}
	escaped := false
	for _, r := range pattern {
		switch {
		case r == unicode.ReplacementChar, r < ' ', r == 0x7f:
			return nil, errors.New("a pattern is text in UTF-8 without control characters")
		case escaped:
			add(place{literal: string(r)})
			escaped = false
		case r == '\\':
			escaped = true
		case r == '#':
			add(place{from: digits})
		case r == '@':
			add(place{from: lower})
		case r == '^':
			add(place{from: capitals})
		case r == '*':
			add(place{from: digits + lower})
		case r == '|':
			f.choices = append(f.choices, nil)
		default:
			add(place{literal: string(r)})
		}
	}
	if escaped || len(f.choices) > maxChoices {
		return nil, fmt.Errorf(`a pattern has at most %d alternatives and ends with no \`, maxChoices)
	}
	for _, c := range f.choices {
		if len(c) == 0 {
			return nil, errors.New("an alternative of the pattern is empty")
		}
	}
	return f, nil
}

// PatternFor makes a pattern of an example: of an order or a credential by [PatternOf], of a phone by [PhonePattern]. No other address can be
// made of one.
func PatternFor(k Kind, example string) (string, error) {
	switch k {
	case Phone:
		return PhonePattern(example)
	case Address:
		return "", fmt.Errorf("%w: addresses like the example would be somebody's: give a pattern of rooms that are yours, such as 12 Quay Street, Room ##", ErrLot)
	}
	return PatternOf(example), nil
}

// PatternOf makes a pattern from an example: letters, signs and the first two digits stay, all other digits are open. So the ids
// begin like the real ones and have their length.
func PatternOf(example string) string {
	var b strings.Builder
	kept := 0
	for _, r := range example {
		switch {
		case r >= '0' && r <= '9':
			if kept++; kept > 2 {
				r = '#'
			}
		case strings.ContainsRune(`#@^*|\`, r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Bits is how many bits it takes to guess a value: the binary logarithm of one over the probability of the likeliest. Each alternative is as likely as the
// others, so one that has little room is guessed easily, whatever the others have.
func (f *Form) Bits() float64 {
	least := math.Inf(1)
	for _, c := range f.choices {
		n := 1.0
		for _, p := range c {
			n *= float64(max(1, len(p.from)))
		}
		least = min(least, n)
	}
	return math.Log2(least * float64(len(f.choices)))
}

// render fills the open places.
func (f *Form) render(s *stream) string {
	c := f.choices[0]
	if len(f.choices) > 1 {
		c = f.choices[s.below(len(f.choices))]
	}
	var b strings.Builder
	for _, p := range c {
		if p.from == "" {
			b.WriteString(p.literal)
			continue
		}
		b.WriteByte(p.from[s.below(len(p.from))])
	}
	return b.String()
}
