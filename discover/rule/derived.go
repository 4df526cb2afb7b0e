package rule

import (
	_ "embed"
	"math"
	"math/bits"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"

	"github.com/moat-platform/moat"
)

// What follows from an event's fields alone, and would be clumsy or dear to write in every rule. None of it
// allocates; texts are parts of fields, constants, or stand in the frame's buffer
// until the next one is asked for.
func derived() map[string]*variable {
	num := func(doc string, f numFn) *variable { return &variable{typ: cel.DoubleType, num: f, doc: doc} }
	str := func(doc string, f strFn) *variable { return &variable{typ: cel.StringType, str: f, doc: doc} }
	from := func(of, doc string, f strFn) *variable {
		return &variable{typ: cel.StringType, str: f, of: of, doc: doc}
	}
	return map[string]*variable{
		"event.hour": num("hour of the day in UTC, 0..23", func(f *Frame) float64 {
			return float64(modulo(f.Event.Time, moat.Day) / moat.Hour)
		}),
		"event.weekday": num("day of the week in UTC, 0 for Monday to 6", func(f *Frame) float64 {
			return float64(modulo(f.Event.Time+3*moat.Day, 7*moat.Day) / moat.Day) // 1970 began on a Thursday
		}),
		"event.month_turn": num("days from the event's day to the nearest turn of the month in UTC: 0 on the last and the first day, 1 on those next to them, 15 at most", monthTurn),
		"event.age_s":      num("receipt less the event's own time in seconds, below 0 when it claims to be from the future; 0 for events from files", age),
		"event.route": str("path of the request (path, else url) with ids replaced by *", func(f *Frame) string {
			if f.Event.Path != "" {
				return f.route(f.Event.Path)
			}
			return f.route(f.Event.URL)
		}),
		"event.destination_host": from("event.destination", "host name of the destination, or what stands behind its last @", func(f *Frame) string { return HostOf(f.Event.Destination) }),
		"event.destination_name": from("event.destination", "words of the destination's host name, without its top level, digits, and what anybody may add (api, cdn, eu, …): the same for names that look alike", func(f *Frame) string {
			return f.nameOf(HostOf(f.Event.Destination))
		}),
		"event.destination_look": from("event.destination", "the destination's name as an eye that reads quickly takes it: the same for names that differ in a vowel, a doubled letter or two that changed places", func(f *Frame) string {
			return f.lookOf(f.nameOf(HostOf(f.Event.Destination)))
		}),
		"event.destination_owner": from("event.destination", "the part of the destination's host name that somebody registered, such as example.com or example.co.uk", func(f *Frame) string { return ownerOf(HostOf(f.Event.Destination)) }),
		"event.lookalike":         num("1 when a setting that held an address now holds one of another owner, whose name looks like that of the old one; else 0", lookalike),
		"event.url_host":          from("event.url", "host name in the url", func(f *Frame) string { return HostOf(f.Event.URL) }),
		"event.peer_host":         from("event.peer", "the other end of a connection without its port", func(f *Frame) string { return HostOf(f.Event.Peer) }),
		"event.timezone_country":  str("country of the client's time zone, two letters, or empty", func(f *Frame) string { return zones()[f.Event.Timezone] }),
		"event.language_country":  str("country in the client's language (zh-CN), two letters, or empty", func(f *Frame) string { return region(f.Event.Language) }),
	}
}

// modulo is t mod m, never below 0.
func modulo(t, m moat.Time) moat.Time { return ((t % m) + m) % m }

// dayMemo remembers what follows from a day: most events are of the same.
type dayMemo struct {
	begin, end moat.Time
	turn       float64
}

// monthTurn goes by the calendar alone, as closing the books and monthly reports do.
func monthTurn(f *Frame) float64 {
	if at, m := f.Event.Time, &f.day; at < m.begin || at >= m.end {
		t := at.Std()
		last := time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
		begin := at - modulo(at, moat.Day)
		*m = dayMemo{begin, begin + moat.Day, float64(min(t.Day()-1, last-t.Day()))}
	}
	return f.day.turn
}

func age(f *Frame) float64 {
	e := f.Event
	if e.Received == 0 || e.Flags&moat.FlagHistory != 0 {
		return 0
	}
	return float64(e.Received-e.Time) / float64(moat.Second)
}

// maxRoute bounds a route; what is longer is cut.
const maxRoute = 256

// route writes the path of a URL into the frame's buffer, with * for each segment that looks like an id: three
// digits or more, nothing but digits, or more than 32 bytes.
func (f *Frame) route(url string) string {
	if i := strings.IndexAny(url, "?#"); i >= 0 {
		url = url[:i]
	}
	if i := strings.Index(url, "://"); i >= 0 {
		if url = url[i+3:]; strings.IndexByte(url, '/') < 0 {
			return "/"
		}
		url = url[strings.IndexByte(url, '/'):]
	}
	n := 0
	for i, more := 0, true; more && n < maxRoute; {
		end := strings.IndexByte(url[i:], '/')
		if more = end >= 0; !more {
			end = len(url) - i
		}
		part := url[i : i+end]
		if isID(part) {
			part = "*"
		}
		n += copy(f.buffer[n:], part)
		if more && n < maxRoute {
			f.buffer[n] = '/'
			n++
		}
		i += end + 1
	}
	return f.text(n)
}

func isID(s string) bool {
	digits := 0
	for i := range len(s) {
		if s[i]-'0' < 10 {
			digits++
		}
	}
	return digits >= 3 || digits > 0 && digits == len(s) || len(s) > 32
}

// HostOf returns the host in a URL, an address with a port, or a mail address.
func HostOf(s string) string {
	if i := strings.Index(s, "://"); i >= 0 {
		s = s[i+3:]
	}
	if i := strings.IndexAny(s, "/?#"); i >= 0 {
		s = s[:i]
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if i := strings.IndexByte(s, ']'); i > 0 && s[0] == '[' {
		return s[1:i]
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && i == strings.IndexByte(s, ':') {
		return s[:i]
	}
	return s
}

// lookalike compares the addresses before and after a change of a setting.
func lookalike(f *Frame) float64 {
	before, after := HostOf(f.Event.Before), HostOf(f.Event.After)
	if strings.EqualFold(ownerOf(before), ownerOf(after)) {
		return 0
	}
	look := strings.Clone(f.lookOf(f.nameOf(before))) // both are written into the frame's buffer
	if look == "" || look != f.lookOf(f.nameOf(after)) {
		return 0
	}
	return 1
}

// ownerOf returns the part of a host name that somebody registered: its last two words, or three where the last has
// two letters and the one before at most three, as in co.uk and com.cn.
func ownerOf(host string) string {
	top := strings.LastIndexByte(host, '.')
	second := strings.LastIndexByte(host[:max(0, top)], '.')
	if second >= 0 && len(host)-top-1 == 2 && top-second-1 <= 3 {
		second = strings.LastIndexByte(host[:second], '.')
	}
	return host[second+1:]
}

// nameOf writes the words of a host name into the frame's buffer, with spaces between them. Of an address there is none.
func (f *Frame) nameOf(host string) string {
	end := strings.LastIndexByte(host, '.')
	if end < 0 || host[end+1:] == "" || host[end+1]-'0' < 10 {
		return ""
	}
	n := 0
	for rest := host[:end]; rest != "" && n < maxRoute; {
		word := rest
		if i := strings.IndexAny(rest, ".-_"); i >= 0 {
			word, rest = rest[:i], rest[i+1:]
		} else {
			rest = ""
		}
		start := n
		if n > 0 {
			f.buffer[n] = ' '
			n++
		}
		at := n
		n += copy(f.buffer[n:], strings.Trim(word, "0123456789"))
		for i := at; i < n; i++ {
			if c := f.buffer[i]; c >= 'A' && c <= 'Z' {
				f.buffer[i] = c | 0x20
			}
		}
		if at == n || isAddition(f.buffer[at:n]) {
			n = start
		}
	}
	return f.text(n)
}

// lookOf writes, over a name in the frame's buffer, what is left of it when it is read quickly: of each word of five letters or more
// the first one and then its consonants, each once, in the order of the alphabet; 0 is an o, 1 an l, and rn an m.
func (f *Frame) lookOf(name string) string {
	n := 0
	for at := 0; at < len(name); {
		end := at
		for end < len(name) && name[end] != ' ' {
			end++
		}
		word := f.buffer[at:end]
		if n > 0 {
			f.buffer[n] = ' '
			n++
		}
		at = end + 1
		if len(word) < 5 {
			n += copy(f.buffer[n:], word)
			continue
		}
		first, letters := word[0], uint32(0)
		for i := 1; i < len(word); i++ {
			switch c := word[i]; {
			case c == 'n' && word[i-1] == 'r':
				letters = letters&^(1<<('r'-'a')) | 1<<('m'-'a')
			case c == '1':
				letters |= 1 << ('l' - 'a')
			case c >= 'a' && c <= 'z' && !strings.ContainsRune("aeiouy", rune(c)):
				letters |= 1 << (c - 'a')
			}
		}
		f.buffer[n] = first
		n++
		for ; letters != 0; letters &= letters - 1 {
			f.buffer[n] = 'a' + byte(bits.TrailingZeros32(letters))
			n++
		}
	}
	return f.text(n)
}

// isAddition tells whether a word of a host name, in lower case, says nothing about whose it is.
func isAddition(word []byte) bool {
	switch string(word) {
	case "www", "api", "cdn", "app", "web", "net", "com", "org", "co", "io", "eu", "us", "uk", "cn", "de", "asia", "intl", "global", "cloud", "online", "secure", "static", "prod", "live", "new", "v":
		return true
	}
	return false
}

// region returns the country of a language tag: its last part of two letters behind the first part.
func region(tag string) string {
	for {
		i := strings.LastIndexAny(tag, "-_")
		if i < 0 {
			return ""
		}
		if p := tag[i+1:]; len(p) == 2 && p[0]-'A' < 26 && p[1]-'A' < 26 {
			return p
		}
		tag = tag[:i]
	}
}

//go:embed zones.txt
var zonesText string

// zones is the country of each time zone.
var zones = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(zonesText) {
		words := strings.Fields(line)
		for _, w := range words[1:] {
			if words[0] != "#" {
				m[w] = words[0]
			}
		}
	}
	return m
})

// colleague is what a colleague of an account did, by own, role, roleHeads, partner and heads: sums of the account, of its role and of its
// partner, and how many did anything. The mean of its role is drawn to that of its partner by the weight of three people
// (empirical Bayes, Efron and Morris 1975), so that a role of one or two is not taken at its word.
func colleague(of []operand) numFn {
	own, role, roleHeads, partner, heads := of[0], of[1], of[2], of[3], of[4]
	return func(f *Frame) float64 {
		x := own.of(f)
		others := max(role.of(f)-x, 0) + 3*(partner.of(f)-x)/max(heads.of(f)-1, 1)
		return finite(others / (max(roleHeads.of(f)-1, 0) + 3))
	}
}

// stouffer combines robust z scores of independent channels: Σz/√k (Stouffer 1949).
func stouffer(a []numFn) numFn {
	root := math.Sqrt(float64(len(a)))
	return func(f *Frame) float64 {
		sum := 0.0
		for _, z := range a {
			sum += z(f)
		}
		return finite(sum / root)
	}
}

// upperTail is the chance that a standard normal number is above z.
func upperTail(z float64) float64 { return math.Erfc(z/math.Sqrt2) / 2 }
