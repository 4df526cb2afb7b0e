package canary

import (
	"errors"
	"fmt"
	"strings"
)

// Numbers are set aside for films and books: they ring nowhere. A pattern that reaches beyond them makes numbers that are somebody's.
//
// Sources: Ofcom, Telephone numbers for use in TV and radio drama; ATIS-0300115 (555-0100 to 0199); ACMA, Numbers for use in radio, books, film and TV;
// ARCEP, national numbering plan (numbers for audiovisual works); ComReg, National Numbering Scheme.

// reserved are numbers for fiction: the digits after the country code that all of them begin with, . for any digit, and how many follow.
type reserved struct {
	country, trunk string // in front of the number, from abroad and at home
	begin          string
	open           int
}

func fiction() []reserved {
	list := []reserved{{"1", "", "...55501", 2}}
	add := func(country string, open int, begins ...string) {
		for _, b := range begins {
			list = append(list, reserved{country, "0", b, open})
		}
	}
	add("44", 3, "7700900", "1632960", "1134960", "1144960", "1154960", "1164960", "1174960", "1184960", "1214960", "1314960", "1414960", "1514960", "1614960", "1914980", "2079460", "2896496", "2920180",
		"3069990", "8081570", "9098790")
	add("61", 4, "25550", "27010", "35550", "37010", "75550", "77010", "85550", "87010")
	add("33", 4, "19900", "26191", "35301", "46571", "53649", "63998")
	add("353", 5, "2091")
	return list
}

// forms are the digits that the numbers begin with, from abroad and at home.
func (r *reserved) forms() [2]string { return [2]string{r.country + r.begin, r.trunk + r.begin} }

// String names the range as people write it.
func (r *reserved) String() string {
	begin := strings.ReplaceAll(r.begin, ".", "?")
	return "+" + r.country + " " + begin + strings.Repeat("0", r.open) + " to " + begin + strings.Repeat("9", r.open)
}

// dial is the digits of an alternative: # where any may stand.
func dial(c []place) (string, bool) {
	var b strings.Builder
	for _, p := range c {
		switch {
		case p.from == digits:
			b.WriteByte('#')
		case p.from != "":
			return "", false
		case p.literal >= "0" && p.literal <= "9":
			b.WriteString(p.literal)
		}
	}
	return strings.TrimPrefix(b.String(), "00"), true
}

// Bounds of phones.
const (
	leastDigits = 5
	mostDigits  = 15 // ITU-T E.164
	poolDigits  = 4  // that are open in a pool of one's own: nobody rents more numbers in a row
)

// checkPhones returns why the numbers of a form may be somebody's.
func (f *Form) checkPhones() error {
	for _, c := range f.choices {
		number, ok := dial(c)
		if !ok {
			return errors.New("a phone has digits: of the places of a pattern it takes # alone")
		}
		if len(number) < leastDigits || len(number) > mostDigits {
			return fmt.Errorf("a phone has %d to %d digits", leastDigits, mostDigits)
		}
		if err := ringsNowhere(number); err != nil {
			return err
		}
	}
	return nil
}

// ringsNowhere takes numbers that lie within a range for fiction, and those of a small pool that lies outside of all of them.
func ringsNowhere(number string) error {
	var beyond *reserved
	for _, r := range fiction() {
		for _, form := range r.forms() {
			switch r.holds(form, number) {
			case all:
				return nil
			case some:
				beyond = &r
			}
		}
	}
	if beyond != nil {
		return fmt.Errorf("the pattern leaves the numbers that are set aside for fiction, %s: leave the last %d digits open at most, or name numbers that are yours", beyond, beyond.open)
	}
	if n := strings.Count(number, "#"); n > poolDigits {
		return fmt.Errorf("a pool of phones has at most %d open digits, this has %d: the others would be somebody's; name the numbers that are yours, or take some that are set aside for fiction, such as +44 7700 900###", poolDigits, n)
	}
	return nil
}

// share is how many of some numbers are in a range.
type share int

const (
	none share = iota
	some
	all
)

// holds tells how many of the numbers begin with form, in which . is any digit.
func (r *reserved) holds(form, number string) share {
	if len(number) != len(form)+r.open {
		return none
	}
	is := all
	for i := range len(form) {
		switch {
		case form[i] == '.' || form[i] == number[i]:
		case number[i] == '#':
			is = some
		default:
			return none
		}
	}
	return is
}

// PhonePattern makes a pattern of the numbers for fiction that an example is of. Others may be somebody's: it is an error.
func PhonePattern(example string) (string, error) {
	form, err := ParseForm(example)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrLot, err)
	}
	if strings.ContainsAny(example, `#@^*|\`) {
		return "", fmt.Errorf("%w: an example is a number, without open places", ErrLot)
	}
	number, _ := dial(form.choices[0])
	for _, r := range fiction() {
		for _, f := range r.forms() {
			if r.holds(f, number) != all {
				continue
			}
			b, left := []byte(example), r.open
			for i := len(b) - 1; left > 0; i-- {
				if b[i] >= '0' && b[i] <= '9' {
					b[i] = '#'
					left--
				}
			}
			return string(b), nil
		}
	}
	return "", fmt.Errorf("%w: numbers like the example may be somebody's: give numbers that are yours as a pattern, or an example that is set aside for fiction, such as +44 7700 900123 or +1 202-555-0123", ErrLot)
}

// phoneKey is what ways to write one number have in common: its last digits.
func phoneKey(number string) string { return number[max(0, len(number)-9):] }

// samePhone tells whether two numbers without signs are one, written for abroad or for home.
func samePhone(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	if a == b {
		return true
	}
	b = strings.TrimPrefix(b, "0")
	return len(b) >= 8 && len(a)-len(b) <= 3 && strings.HasSuffix(a, b)
}
