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

// Details tells of each touch, as far as t sees it, what a diary does not keep: which program, file, page, statement or setting it was. It is ""
// where there is nothing more to tell, beyond the first [maxDetails], and where the lake does not have the event, or not within three seconds.
func (t *Teller) Details(ctx context.Context, tenant moat.Tenant, touches []diary.Touch) ([]string, error) {
	out := make([]string, len(touches))
	want := map[run.At]int{}
	var from, to moat.Time
	for i := range touches {
		x := &touches[i]
		if !detailed[x.Type] && x.Type != moat.HTTPRequest && x.Type != moat.APICall && x.Type != moat.HostLogin || len(want) >= maxDetails {
			continue
		}
		if len(want) == 0 {
			from, to = x.Time, x.Time
		}
		from, to, want[x.At] = min(from, x.Time), max(to, x.Time), i
	}
	if len(want) == 0 || t.cfg.Scan == nil {
		return out, nil
	}
	return out, t.look(ctx, lake.Filter{Tenant: tenant, From: from, To: to + 1}, func(at lake.Position, e *moat.Event) bool {
		key := run.At{Partition: at.Partition, Seq: at.Seq, Row: uint32(at.Row)}
		if i, ok := want[key]; ok {
			out[i] = short(detail(e))
			delete(want, key)
		}
		return len(want) == 0
	})
}

// look reads events of the lake until found says that it has enough. What takes longer than the lake may take, or is damaged, is
// done without.
func (t *Teller) look(ctx context.Context, f lake.Filter, found func(lake.Position, *moat.Event) bool) error {
	brief, cancel := context.WithTimeout(ctx, detailsFor)
	defer cancel()
	err := t.cfg.Scan(brief, f, func(at lake.Position, e *moat.Event) error {
		if found(at, e) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) || errors.Is(err, lake.ErrDamaged) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return nil
	}
	return err
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
