package node

import (
	"context"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
)

// tide is how far a partition has come, as one look found it.
type tide struct {
	foresee.Tide
	seq, last uint64 // of the log: taken in, and held by the river
}

// looks is how many looks in succession must find a partition idle before it says that nothing older comes to it. What belongs together
// reaches the partitions of the river within far less.
const (
	lookEvery = time.Second
	looks     = 3
)

// watchTides has partitions that nothing comes to say so, lest the sightings of the others wait for them.
func (n *Node) watchTides(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var last [][]tide
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := n.tides(ctx)
		if err != nil {
			last = nil
			continue
		}
		if last = append(last, now); len(last) < looks {
			continue
		}
		for i, upTo := range idleTides(last) {
			if upTo > 0 && n.parts[i].vouch(ctx, now[i].Newest, upTo) != nil {
				return
			}
		}
		last = last[1:]
	}
}

// idleTides returns how far the partitions that nothing newer came to since the first look may say to have come: as far as the others had
// then; 0 for those that were not idle or have said so. When all were idle, that is the newest event of all.
func idleTides(last [][]tide) []moat.Time {
	first, now := last[0], last[len(last)-1]
	upTo, newest, all := moat.Time(0), moat.Time(0), true
	idle := make([]bool, len(now))
	for i := range now {
		idle[i] = now[i].seq >= first[i].last && now[i].Newest == first[i].Newest
		all = all && idle[i]
		upTo, newest = max(upTo, first[i].Upto), max(newest, first[i].Newest)
	}
	if all {
		upTo = newest
	}
	out := make([]moat.Time, len(now))
	for i := range now {
		if idle[i] && upTo > now[i].Told {
			out[i] = upTo
		}
	}
	return out
}

// tides looks at all partitions.
func (n *Node) tides(ctx context.Context) ([]tide, error) {
	list := make([]tide, len(n.parts))
	for i, p := range n.parts {
		t := &list[i]
		var err error
		if _, t.last, err = n.River.Bounds(ctx, p.id); err != nil {
			return nil, err
		}
		if err = p.do(ctx, func() { t.Tide, t.seq = p.across.Tide(), p.handed }); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// vouch has a partition that has taken in nothing newer say how far it has come.
func (p *partition) vouch(ctx context.Context, newest, upTo moat.Time) error {
	return p.do(ctx, func() {
		if p.taking || len(p.keep) == cap(p.keep) || p.across.Tide().Newest != newest {
			return // it is not idle any more
		}
		p.across.Vouch(upTo)
		out, err := p.across.Step()
		p.warn("cannot watch across partners", err)
		p.hand(work{out: out})
	})
}

// settle has all partitions say that nothing older comes to them than what the newest of all is; it tells whether one had not said so.
func (n *Node) settle(ctx context.Context) (said bool, err error) {
	now, err := n.tides(ctx)
	if err != nil {
		return false, err
	}
	newest := moat.Time(0)
	for i := range now {
		newest = max(newest, now[i].Newest)
	}
	for i := range now {
		if now[i].Told >= newest {
			continue
		}
		if err := n.parts[i].vouch(ctx, now[i].Newest, newest); err != nil {
			return said, err
		}
		said = true
	}
	return said, nil
}
