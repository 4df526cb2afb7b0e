package load

import (
	"bytes"

	"github.com/moat-platform/moat"
)

// Body is a batch of events as NDJSON whose ids and times can be renewed in place, so that
// one body can be sent many times and is new to the receiver every time.
type Body struct {
	Text  []byte
	Count int
	ids   []int // where the digits of the ids begin
	times []int // where the digits of the times begin
}

const (
	idDigits   = 12
	timeDigits = 16
)

// Body returns the next n events of one partner as one body.
func (s *Stream) Body(partner, n int) *Body {
	return s.body(partner, n, s.Next)
}

// Login returns a login of an account of one partner as a body: what an application asks about before it lets somebody in.
func (s *Stream) Login(partner int) *Body {
	return s.body(partner, 1, func() *moat.Event {
		for {
			if e := s.Next(); e.Type == moat.AuthLogin && e.Outcome == moat.Success {
				return e
			}
		}
	})
}

// body makes a body of n events that next returns.
func (s *Stream) body(partner, n int, next func() *moat.Event) *Body {
	b := &Body{Count: n}
	s.only = partner
	for range n {
		e := next()
		e.ID, e.Partner = "000000000000", ""
		line := moat.AppendJSON(nil, e)
		// The encoder writes times as RFC 3339; integers are as good and of fixed width.
		i := bytes.Index(line, []byte(`"time":"`))
		j := i + len(`"time":"`) + bytes.IndexByte(line[i+len(`"time":"`):], '"') + 1
		line = append(line[:i:i], append([]byte(`"time":0000000000000000`), line[j:]...)...)
		at := len(b.Text)
		b.ids = append(b.ids, at+bytes.Index(line, []byte(`"id":"`))+len(`"id":"`))
		b.times = append(b.times, at+i+len(`"time":`))
		b.Text = append(append(b.Text, line...), '\n')
	}
	return b
}

// Renew gives the events the ids from first on and the time now.
func (b *Body) Renew(first uint64, now moat.Time) {
	for i := range b.ids {
		digits(b.Text[b.ids[i]:b.ids[i]+idDigits], first+uint64(i))
		digits(b.Text[b.times[i]:b.times[i]+timeDigits], uint64(now)+uint64(i))
	}
}

func digits(to []byte, n uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = byte('0' + n%10)
		n /= 10
	}
}
