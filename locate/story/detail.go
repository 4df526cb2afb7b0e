package story

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/run"
)

// Undetailed says of how many acts no more is told than the diary keeps, and why.
type Undetailed struct {
	Acts int    `json:"acts"`
	Why  string `json:"why"` // a sentence without its end
}

// String is the whole sentence.
func (u *Undetailed) String() string {
	return fmt.Sprintf("%s without details: %s", many(int64(u.Acts), "act"), u.Why)
}

// Details tells of each touch, as far as t sees it, what a diary does not keep: which program, file, page, statement or setting it was. It is ""
// where there is nothing more to tell, and where the lake could not tell it: beyond the first [maxDetails], where it does not have the event, cannot be
// read, or takes longer than three seconds. Then it is said of how many touches, and why; else that is nil.
func (t *Teller) Details(ctx context.Context, tenant moat.Tenant, touches []diary.Touch) ([]string, *Undetailed, error) {
	out := make([]string, len(touches))
	want := map[run.At]int{}
	var from, to moat.Time
	over := 0
	for i := range touches {
		x := &touches[i]
		switch {
		case !detailed[x.Type] && x.Type != moat.HTTPRequest && x.Type != moat.APICall && x.Type != moat.HostLogin:
			continue
		case len(want) >= maxDetails:
			over++
			continue
		case len(want) == 0:
			from, to = x.Time, x.Time
		}
		from, to, want[x.At] = min(from, x.Time), max(to, x.Time), i
	}
	if len(want) == 0 || t.cfg.Scan == nil {
		return out, nil, nil
	}
	why, err := t.look(ctx, lake.Filter{Tenant: tenant, From: from, To: to + 1}, func(at lake.Position, e *moat.Event) bool {
		key := run.At{Partition: at.Partition, Seq: at.Seq, Row: uint32(at.Row)}
		if i, ok := want[key]; ok {
			out[i] = short(detail(e))
			delete(want, key)
		}
		return len(want) == 0
	})
	if left := len(want) + over; left > 0 {
		return out, &Undetailed{left, why}, err
	}
	return out, nil, err
}

// look reads events of the lake until found says that it has enough, and tells why others were not found. What takes longer than the
// lake may take, or cannot be read, is done without.
func (t *Teller) look(ctx context.Context, f lake.Filter, found func(lake.Position, *moat.Event) bool) (why string, err error) {
	brief, cancel := context.WithTimeout(ctx, detailsFor)
	defer cancel()
	err = t.cfg.Scan(brief, f, func(at lake.Position, e *moat.Event) error {
		if found(at, e) {
			return errEnough
		}
		return nil
	})
	switch {
	case err == nil:
		return "the lake does not have their events: not yet, not any more, or their file is lost", nil
	case errors.Is(err, errEnough):
		return fmt.Sprintf("no more than %d are looked up at once", maxDetails), nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the lake takes longer than %s", detailsFor), nil
	}
	t.cfg.Logger.Warn("events cannot be looked up in the lake", "error", err)
	if errors.Is(err, lake.ErrDamaged) {
		return "a file of the lake is damaged", nil
	}
	return "the lake cannot be read", nil
}

// detail says what an event was about.
func detail(e *moat.Event) string {
	var s string
	switch e.Type {
	case moat.AccountChange:
		s = e.Change + " " + e.Object
	case moat.HostLogin:
		s = e.Service + " " + e.Method + " " + e.Reason
	case moat.DBQuery:
		s = cmp.Or(e.Template, e.Statement)
		if e.Client != "" {
			s = e.Client + ": " + s
		}
	case moat.HostProcess:
		s = e.Args
		if name := path.Base(e.Exe); !strings.HasPrefix(s, name) && !strings.HasPrefix(s, e.Exe) {
			s = name + " " + s
		}
	case moat.HostFile:
		s = e.Path
	case moat.HostNetwork:
		s = size(e.Bytes) + " to " + cmp.Or(e.Peer, "an unknown address")
		if e.Direction == "in" {
			s = "from " + e.Peer
		}
		s += by(e.Exe)
	case moat.HostMalware:
		s = e.Name + " " + e.Path
	case moat.APICall:
		s = e.Method
	case moat.HTTPRequest:
		s = e.Method + " " + cmp.Or(e.Path, e.URL)
		if e.Status != 0 {
			s += fmt.Sprintf(" → %d", e.Status)
		}
	}
	return strings.Join(strings.Fields(s), " ")
}
