package canary

import (
	"strings"

	"github.com/moat-platform/moat"
)

// Verdict says what the use of a canary means.
type Verdict string

// The verdicts. Normal is no alarm: it is how a partner's system lists a planted order among all others.
const (
	Normal    Verdict = ""
	Shown     Verdict = "shown"     // by its own channel: looked at or printed with few others
	Left      Verdict = "left"      // by its own channel: exported, decrypted or handed on
	Elsewhere Verdict = "elsewhere" // at another partner, or by another channel of its own
	Used      Verdict = "used"      // a credential was tried, a phone called, an address written to, an order complained about
	Crawler   Verdict = "crawler"   // elsewhere or used, by a program that reads all of the Web
)

// few is up to how many orders somebody looks at who looks at single ones.
const few = 5

// Touch says what it means that an event names a canary. crawler tells that its user agent is a known crawler's.
func Touch(l *Lot, e *moat.Event, crawler bool) Verdict {
	v := touch(l, e)
	if crawler && (v == Elsewhere || v == Used) {
		return Crawler
	}
	return v
}

func touch(l *Lot, e *moat.Event) Verdict {
	switch {
	case l.Kind == Credential, e.Type == moat.Complaint:
		return Used
	case e.Partner != l.Partner, !ownChannel(l.Channel, e):
		return Elsewhere
	}
	switch e.Type {
	case moat.OrderTransmit, moat.DataDecrypt:
		return Left
	case moat.OrderAccess:
		switch e.Operation {
		case "export", "export_list", "download", "decrypt", "send":
			return Left
		case "view", "print", "print_list":
			if e.Touched() <= few {
				return Shown
			}
		}
	}
	return Normal
}

// ownChannel tells whether an event may come by the channel: one of the form kind:id is compared with what the event says of that
// kind, any other is a name that events do not know.
func ownChannel(channel string, e *moat.Event) bool {
	kind, id, ok := strings.Cut(channel, ":")
	if !ok {
		return true
	}
	k, err := moat.ParseEntityKind(kind)
	if err != nil {
		return true
	}
	is := e.EntityID(k)
	return is == "" || is == id
}
