package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// The formats of files.
const (
	FormatNDJSON = "ndjson" // the event contract, one object a line, or a JSON array of them
	FormatSSHD   = "sshd"   // auth.log, secure: sshd, sudo and su in syslog
	FormatAccess = "access" // nginx, Apache: combined or common
)

// Formats returns the names of all formats.
func Formats() []string { return []string{FormatNDJSON, FormatSSHD, FormatAccess} }

// errContext: a line was read, and is no event in itself.
var errContext = errors.New("context")

// format reads the lines of one file. What it emits is valid until emit returns.
type format interface {
	// line reads one line. It emits its events, and may emit those of earlier lines.
	// It returns errContext for a line that is known to be no event, a *moat.Problem
	// for an event that is not within the contract, and any other error for a line that it cannot read.
	line(text []byte, emit func(*moat.Event)) error
	// settle emits what has waited for a line to come until before, or, with 0, whatever waits.
	settle(before moat.Time, emit func(*moat.Event))
}

// newFormat returns a reader of the named format.
func (l *loading) newFormat(name string) (format, error) {
	switch name {
	case FormatNDJSON:
		return &jsonLines{decoder: moat.Decoder{AllowPartner: true}, app: l.App}, nil
	case FormatSSHD:
		return newSyslog(l.Host, l.location, l.now(), l.lineID), nil
	case FormatAccess:
		return &access{host: l.Host, lineID: l.lineID}, nil
	}
	return nil, fmt.Errorf("unknown format %.40q: want one of %s", name, strings.Join(Formats(), ", "))
}

// detectFormat tells the format of a file by its first lines, or "".
func detectFormat(head []byte) string {
	const most = 50
	var json, sshd, web, lines int
	for text := range bytes.Lines(head) {
		text = bytes.TrimSpace(text)
		if len(text) == 0 {
			continue
		}
		if lines == 0 && text[0] == '[' {
			if rest := bytes.TrimSpace(head[bytes.IndexByte(head, '[')+1:]); len(rest) > 0 && (rest[0] == '{' || rest[0] == ']') {
				return FormatNDJSON
			}
		}
		if lines++; lines > most {
			break
		}
		if text[0] == '{' {
			json++
		} else if _, ok := parseHeader(string(text)); ok {
			sshd++
		} else if _, ok := parseAccess(string(text)); ok {
			web++
		}
	}
	switch best := max(json, sshd, web); {
	case best == 0:
		return ""
	case best == json:
		return FormatNDJSON
	case best == sshd:
		return FormatSSHD
	default:
		return FormatAccess
	}
}

// jsonLines reads the event contract.
type jsonLines struct {
	app     string // of lines that name none
	decoder moat.Decoder
	event   moat.Event
	scratch []byte
}

func (f *jsonLines) line(text []byte, emit func(*moat.Event)) error {
	f.decoder.Release()
	if err := decodeFor(&f.decoder, text, &f.event, f.app, &f.scratch); err != nil {
		return err
	}
	emit(&f.event)
	return nil
}

func (f *jsonLines) settle(moat.Time, func(*moat.Event)) {}

// fit makes text from a log fit a field: whole characters only, and not too many bytes.
func fit(s string, f moat.FieldID) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	return cutText(s, moat.Fields[f].Max)
}

// setPeer puts the other end of a connection into e: its address, or its name into extra.
func setPeer(e *moat.Event, peer string) {
	if a, err := netip.ParseAddr(peer); err == nil {
		e.IP = a.WithZone("").String()
	} else if peer != "" && peer != "-" && peer != "UNKNOWN" {
		e.Extra = string(append(appendQuoted([]byte(`{"client_host":`), fit(peer, moat.FieldHost)), '}'))
	}
}

// clock is a time of day and date as a log line gives it, with the year if it does.
type clock struct {
	year, day int // year 0: not given
	month     time.Month
	seconds   int // of the day
	micros    int
	zone      *time.Location // nil: not given
}

// in returns the instant, with a year and a place for lines that give none, and
// whether there is such a day.
func (c clock) in(year int, place *time.Location) (moat.Time, bool) {
	if c.year != 0 {
		year = c.year
	}
	if c.zone != nil {
		place = c.zone
	}
	t := time.Date(year, c.month, c.day, 0, 0, c.seconds, c.micros*1000, place)
	// A second that daylight saving skips moves; a day that does not exist must not.
	if d := time.Date(year, c.month, c.day, 0, 0, 0, 0, time.UTC); d.Day() != c.day || year < 1970 || t.Unix() <= 0 {
		return 0, false
	}
	return moat.TimeOf(t), true
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// monthOf returns the month of an English abbreviation, or 0.
func monthOf(s string) time.Month {
	if len(s) == 3 {
		if i := strings.Index(months, s); i >= 0 && i%3 == 0 {
			return time.Month(i/3 + 1)
		}
	}
	return 0
}

// timeOfDay reads "15:04:05" as seconds, or -1.
func timeOfDay(s string) int {
	if len(s) != 8 || s[2] != ':' || s[5] != ':' {
		return -1
	}
	h, m, sec := decimal(s[:2]), decimal(s[3:5]), decimal(s[6:])
	if h < 0 || h > 23 || m < 0 || m > 59 || sec < 0 || sec > 60 {
		return -1
	}
	return h*3600 + m*60 + sec
}

// decimal reads up to nine digits, or returns -1.
func decimal(s string) int {
	if s == "" || len(s) > 9 || !allDigits(s) {
		return -1
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n
}
