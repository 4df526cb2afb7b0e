package main

import (
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/store/book"
)

func TestTable(t *testing.T) {
	var b strings.Builder
	s := &screen{w: &b, width: 44}
	tab := newTable(" r", "who", "n", "why")
	tab.row("alice", 5, "because of a reason that is longer than the screen is wide")
	tab.row("王小明", cell{"12,345", red}, "evil\x1b[2Jline\nbreak")
	tab.print(s)
	want := `WHO          N  WHY
alice        5  because of a reason that is…
王小明  12,345  evil\x1b[2Jline break
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	b.Reset()
	s.colour, s.width = true, 0
	tab.print(s)
	if out := b.String(); !strings.Contains(out, "\x1b[1;31m12,345\x1b[0m") || !strings.Contains(out, "longer than the screen is wide") || strings.Contains(out, "\x1b[2J") {
		t.Errorf("in colour and without a limit: %q", out)
	}
	newTable("", "empty").print(s)
}

func TestWords(t *testing.T) {
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	check(number(0), "0")
	check(number(999), "999")
	check(number(1000), "1,000")
	check(number(-1234567), "-1,234,567")
	check(many(1, "case"), "1 case")
	check(many(2000, "entity"), "2,000 entities")
	check(many(3, "address"), "3 addresses")
	check(many(56, "day"), "56 days")
	check(shorten("abcdef", 6), "abcdef")
	check(shorten("abcdefg", 6), "abcde…")
	check(shorten("王小明", 5), "王小…")
	check(clean("a\u202eb\x00\nc"), "a\\u202eb\\x00\nc")
	check(clean("b\u200bob \u00adli\u2028x\u3164y\ufe0f\U000e0041\x7f"), `b\u200bob \u00adli\u2028x\u3164y\ufe0f\U000e0041\x7f`)
	check(clean("王小明 Łukasz ☃ ÷"), "王小明 Łukasz ☃ ÷")
	check(shell("plain-1.2"), "plain-1.2")
	check(shell("it's"), `'it'\''s'`)
	check(shell(""), "''")
	check(instant(0), "-")
	check(instant(moat.Day), "1970-01-02 00:00:00")
	check(strings.Join(fold("one two three  four", 8), "|"), "one two|three|four")
	check(bytesOf(map[string]int{"ip": 16, "account": 8}), "account 8, ip 16")
}

func TestWhen(t *testing.T) {
	for text, want := range map[string]string{
		"2026-03-02": "2026-03-02T00:00:00Z", "2026-03-02T09:00:00+01:00": "2026-03-02T08:00:00Z", "1772442000": "2026-03-02T09:00:00Z",
	} {
		var w when
		if err := w.UnmarshalText([]byte(text)); err != nil || moat.Time(w).String() != want {
			t.Errorf("%s is read as %s, %v; want %s", text, moat.Time(w), err, want)
		}
	}
	for text, ago := range map[string]time.Duration{"36h": 36 * time.Hour, "7d": 7 * 24 * time.Hour, "90m": 90 * time.Minute} {
		var w when
		if err := w.UnmarshalText([]byte(text)); err != nil || time.Since(moat.Time(w).Std())-ago > time.Minute || time.Since(moat.Time(w).Std()) < ago {
			t.Errorf("%s is read as %s, %v", text, moat.Time(w), err)
		}
	}
	for _, text := range []string{"", "d", "yesterday", "-3h", "-3d", "2026-13-01"} {
		if err := new(when).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for a time", text)
		}
	}
}

func TestReach(t *testing.T) {
	for listen, want := range map[string]string{"0.0.0.0": "127.0.0.1:8480", "::": "127.0.0.1:8480", "127.0.0.1": "127.0.0.1:8480", "192.0.2.7": "192.0.2.7:8480", "2001:db8::7": "[2001:db8::7]:8480"} {
		if got := reach(&net.TCPAddr{IP: net.ParseIP(listen), Port: 8480}); got != want {
			t.Errorf("who listens on %s is told of as %s, want %s", listen, got, want)
		}
	}
}

func TestAdvice(t *testing.T) {
	a := &app{globals: globals{Data: "d"}}
	for _, err := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT, fs.ErrPermission, fs.ErrNotExist, book.ErrNoBook, book.ErrOlder, book.ErrNewer, river.ErrInUse} {
		if len(a.advice(fmt.Errorf("cannot open d: %w", err))) == 0 {
			t.Errorf("nothing is said about what to do when %v", err)
		}
	}
}
