package ingest

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/moat-platform/moat"
)

// header is what a syslog line says before its message.
type header struct {
	at      clock
	host    string
	program string
	pid     string
	message string
}

// parseHeader reads a syslog line: RFC 3164 ("Dec 10 06:55:46 host sshd[1]: …"), the same with
// an ISO time in front, or RFC 5424; each with or without a priority.
func parseHeader(s string) (h header, ok bool) {
	if len(s) > 2 && s[0] == '<' {
		end := strings.IndexByte(s[:min(len(s), 6)], '>')
		if end < 2 || !allDigits(s[1:end]) {
			return h, false
		}
		s = s[end+1:]
		if rest, ok := strings.CutPrefix(s, "1 "); ok {
			return parse5424(rest)
		}
	}
	if len(s) < len("Dec 10 06:55:46 h p") {
		return h, false
	}
	if h.at.month = monthOf(s[:3]); h.at.month != 0 {
		if s[3] != ' ' || s[6] != ' ' {
			return h, false
		}
		h.at.day, h.at.seconds = decimal(strings.TrimLeft(s[4:6], " ")), timeOfDay(s[7:15])
		if h.at.day < 1 || h.at.day > 31 || h.at.seconds < 0 || s[15] != ' ' {
			return h, false
		}
		s = s[16:]
	} else {
		stamp, rest, _ := strings.Cut(s, " ")
		if h.at, ok = isoTime(stamp); !ok {
			return h, false
		}
		s = rest
	}
	h.host, s, ok = strings.Cut(strings.TrimLeft(s, " "), " ")
	if !ok || h.host == "" || len(h.host) > 256 {
		return h, false
	}
	h.tag(s)
	return h, true
}

// tag reads "sshd[24200]: message". A message without a tag has no program.
func (h *header) tag(s string) {
	end := strings.IndexByte(s, ':')
	if end <= 0 || strings.IndexByte(s[:end], ' ') >= 0 {
		h.message = s
		return
	}
	h.program, h.message = s[:end], strings.TrimPrefix(s[end+1:], " ")
	if i := strings.IndexByte(h.program, '['); i >= 0 && strings.HasSuffix(h.program, "]") {
		h.program, h.pid = h.program[:i], h.program[i+1:len(h.program)-1]
	}
	if i := strings.LastIndexByte(h.program, '/'); i >= 0 {
		h.program = h.program[i+1:]
	}
}

// parse5424 reads what follows "<34>1 ".
func parse5424(s string) (h header, ok bool) {
	var part [5]string // time, host, program, process, message id
	for i := range part {
		if part[i], s, ok = strings.Cut(s, " "); !ok {
			return h, false
		}
	}
	if h.at, ok = isoTime(part[0]); !ok {
		return h, false
	}
	h.host, h.program, h.pid = nilValue(part[1]), nilValue(part[2]), nilValue(part[3])
	if s, ok = skipStructured(s); !ok {
		return h, false
	}
	h.message = strings.TrimPrefix(strings.TrimPrefix(s, " "), "\xef\xbb\xbf")
	return h, true
}

func nilValue(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// skipStructured skips the structured data of RFC 5424: "-", or elements in brackets.
func skipStructured(s string) (rest string, ok bool) {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return rest, true
	}
	if !strings.HasPrefix(s, "[") {
		return s, false
	}
	text := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && text:
			i++
		case c == '"':
			text = !text
		case c == ']' && !text:
			if i+1 == len(s) || s[i+1] != '[' {
				return s[i+1:], true
			}
		}
	}
	return s, false
}

// isoTime reads RFC 3339, also with a zone without a colon.
func isoTime(s string) (c clock, ok bool) {
	if len(s) < len("2006-01-02T15:04:05Z") || len(s) > 40 || s[4] != '-' || s[10] != 'T' {
		return c, false
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		if t, err = time.Parse("2006-01-02T15:04:05Z0700", s); err != nil {
			return c, false
		}
	}
	c = clock{year: t.Year(), month: t.Month(), day: t.Day(), seconds: t.Hour()*3600 + t.Minute()*60 + t.Second(), micros: t.Nanosecond() / 1000, zone: t.Location()}
	return c, c.year >= 1970
}

// years gives lines that name no year the one in which they follow each other:
// forwards rather than back, unless back is five times nearer (lines a
// little out of order, a clock that was wrong for a moment). It counts in a
// calendar in which all months have 31 days, so that it needs no year to begin with.
type years struct {
	year int // of the last line, from the first line's 0
	last int64
	any  bool
}

const yearSeconds = 372 * 86400

// follow returns the year of the next line, counted from the first line's.
func (y *years) follow(c clock) int {
	at := (int64(c.month-1)*31+int64(c.day-1))*86400 + int64(c.seconds)
	if !y.any {
		y.any, y.last = true, at
		return 0
	}
	best, cost := y.year, int64(-1)
	for year := y.year - 1; year <= y.year+1; year++ {
		d := int64(year)*yearSeconds + at - y.last
		if d < 0 {
			d *= -5
		}
		if cost < 0 || d < cost {
			best, cost = year, d
		}
	}
	y.year, y.last = best, int64(best)*yearSeconds+at
	return best
}

// survey is what a first look at a whole file says of its years.
type survey struct {
	last  clock // of the last line without a year
	year  int   // its year, from the first line's
	leaps []int // years in which there is a 29th of February
}

// surveyYears reads all of r.
func surveyYears(r io.Reader) (s survey) {
	var y years
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 64<<10), moat.MaxLine)
	for lines.Scan() {
		b := lines.Bytes()
		if h, ok := parseHeader(string(b[:min(len(b), 128)])); ok && h.at.year == 0 {
			s.add(h.at, y.follow(h.at))
		}
	}
	return s
}

func (s *survey) add(c clock, year int) {
	s.last, s.year = c, year
	if c.month == time.February && c.day == 29 && !slices.Contains(s.leaps, year) {
		s.leaps = append(s.leaps, year)
	}
}

// first returns the year of the first line: the latest with which the last is not after now,
// give or take a day, and every 29th of February exists.
func (s *survey) first(now moat.Time, place *time.Location) int {
	this := now.Std().Year()
	if s.last.month == 0 {
		return this
	}
	for year := this + 1; year > this-12; year-- { // leap years may be eight years apart
		ok := true
		for _, leap := range s.leaps {
			y := year - s.year + leap
			ok = ok && y%4 == 0 && (y%100 != 0 || y%400 == 0)
		}
		if t, exists := s.last.in(year, place); ok && exists && t <= now+moat.Day {
			return year - s.year
		}
	}
	return this - s.year
}

// syslog reads the lines of auth.log and its like. It knows sshd, sudo and su; others are context.
type syslog struct {
	host     string // for lines that name none
	location *time.Location
	now      moat.Time
	lineID   func(string) string

	years years
	first int // year of the first line; 0: from the line itself
	event moat.Event
	conns conns
	again attempt // what "last message repeated" repeats
}

func newSyslog(host string, place *time.Location, now moat.Time, lineID func(string) string) *syslog {
	return &syslog{host: host, location: place, now: now, lineID: lineID, conns: conns{by: map[connKey]*conn{}}}
}

var (
	errSyslog = errors.New("not a syslog line")
	errDay    = errors.New("no such day in the year that the lines around it suggest")
)

func (f *syslog) line(text []byte, emit func(*moat.Event)) error {
	line := string(text)
	h, ok := parseHeader(line)
	if !ok {
		return errSyslog
	}
	year := h.at.year
	if year == 0 {
		if f.first == 0 {
			var s survey
			s.add(h.at, 0)
			f.first = s.first(f.now, f.location)
		}
		year = f.first + f.years.follow(h.at)
	}
	at, ok := h.at.in(year, f.location)
	if !ok {
		return errDay
	}
	if h.host == "" {
		h.host = f.host
	}
	f.conns.expire(at-graceTime, func(a *attempt) { f.emit(a, emit) })
	again := f.again
	f.again = attempt{}
	return f.message(&h, at, line, again, emit)
}

// message reads what a program says.
func (f *syslog) message(h *header, at moat.Time, line string, again attempt, emit func(*moat.Event)) error {
	a := attempt{at: at, host: h.host, service: h.program, pid: h.pid, count: 1}
	var ok bool
	switch {
	case h.program == "sshd" || h.program == "sshd-session" || h.program == "sshd-auth":
		a.service = "sshd"
		ok = f.sshd(&a, h.message, line, emit)
	case h.program == "sudo":
		ok = a.sudo(h.message)
	case h.program == "su":
		ok = a.su(h.message)
	case h.program == "":
		if n, rest := repeated(h.message, "last message repeated "); n > 0 && rest == "" && again.host == h.host {
			a, ok = again, true
			a.at, a.count, a.id = at, n, ""
		}
	}
	if !ok {
		return errContext
	}
	f.again = a
	if a.id == "" { // else it is the attempt of an earlier line
		a.id = f.lineID(line)
	}
	f.emit(&a, emit)
	return nil
}

func (f *syslog) settle(before moat.Time, emit func(*moat.Event)) {
	if before == 0 {
		before = 1 << 62
	}
	f.conns.expire(before, func(a *attempt) { f.emit(a, emit) })
}

// emit makes events of a, one for each time that it happened.
func (f *syslog) emit(a *attempt, emit func(*moat.Event)) {
	e := &f.event
	for i := range a.count {
		e.Reset()
		a.fill(e)
		if i > 0 {
			e.ID = a.id + "-" + itoa(i+1)
		}
		emit(e)
	}
}
