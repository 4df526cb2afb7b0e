package node

import (
	"context"
	"fmt"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/store/book"
)

// Standing is the risk of a partner itself at a time, from what the book holds: see [risk.Stand]. It gives [book.ErrNotFound] if the
// tenant does not see the partner.
func Standing(ctx context.Context, b *book.Book, odds risk.Calibration, learned *risk.Learned, t moat.Tenant, partner string, now moat.Time) (risk.Standing, error) {
	found, in, err := house(ctx, b, t, partner, now)
	if err != nil {
		return risk.Standing{}, err
	}
	return risk.Stand(odds, learned, partner, found, in, now), nil
}

// house reads what a standing rests on.
func house(ctx context.Context, b *book.Book, t moat.Tenant, partner string, now moat.Time) (found []moat.Finding, in risk.Incidents, err error) {
	if !t.Sees(partner) {
		return nil, in, fmt.Errorf("cannot read risk of partner: %w", book.ErrNotFound)
	}
	for f, err := range b.AllFindings(ctx, t, book.Query{Partner: partner, House: true, Since: now - risk.Remembered, Until: now + 1}) {
		if err != nil {
			return nil, in, err
		}
		found = append(found, f)
	}
	in, err = b.Incidents(ctx, t, partner, now-risk.Remembered)
	return found, in, err
}

// history is how long nothing may have been found for a book to be somebody's past, loaded to be judged.
const history = 30 * moat.Day

// AsOf returns the time at which standings are to be computed: now, or the end of a past that was loaded.
func AsOf(ctx context.Context, b *book.Book, t moat.Tenant, now moat.Time) (moat.Time, error) {
	newest, _, err := b.Findings(ctx, t, book.Query{Limit: 1})
	if err != nil || len(newest) == 0 || now-newest[0].Time <= history {
		return now, err
	}
	return newest[0].Time, nil
}

// Standings returns those of several partners, in their order, at [AsOf].
func (n *Node) Standings(ctx context.Context, t moat.Tenant, partners []book.Partner, now moat.Time) ([]risk.Standing, error) {
	now, err := AsOf(ctx, n.Book, t, now)
	if err != nil {
		return nil, err
	}
	out := make([]risk.Standing, 0, len(partners))
	for _, p := range partners {
		found, in, err := house(ctx, n.Book, t, p.ID, now)
		if err != nil {
			return nil, err
		}
		n.school.mu.Lock() // what is learned changes under it
		out = append(out, risk.Stand(n.Odds, n.school.learned, p.ID, found, in, now))
		n.school.mu.Unlock()
	}
	return out, nil
}
