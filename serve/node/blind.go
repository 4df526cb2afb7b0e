package node

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/store/run"
)

// Bounds of looking for hands whose orders nobody knows: of each partner some events are read, so few that a trace does not wait for them.
const (
	blindRows     = 1 << 17 // of all partners
	blindMost     = 1 << 13 // of one
	blindLeast    = 1 << 8
	blindPartners = blindRows / blindLeast
)

// blind tells which partners count orders in a window without naming them. Of a partner with many events some are read, so that it is a lower bound.
func blind(d *diary.Diary) func(context.Context, moat.Tenant, moat.Time, moat.Time) ([]trace.Blind, error) {
	return func(ctx context.Context, t moat.Tenant, from, to moat.Time) ([]trace.Blind, error) {
		names, err := d.Partners(ctx, t)
		if err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(names, func(p string) bool { _, veiled := moat.Unveiled(p); return veiled || p == foresee.Everyone })
		names = names[:min(len(names), blindPartners)]
		most := min(blindMost, blindRows/max(1, len(names)))
		var list []trace.Blind
		for _, name := range names {
			x := trace.Blind{Partner: name}
			left := most
			_, err := d.Each(ctx, t, diary.Query{Partner: name, Entity: moat.Entity{Kind: moat.Partner, ID: name}, From: from, To: to}, func(r *run.Row) error {
				if left--; left < 0 {
					x.More = true
					return errEnough
				}
				n, all, err := unnamed(r)
				x.Records, x.Of = x.Records+n, x.Of+all
				return err
			})
			if err != nil && !errors.Is(err, errEnough) {
				return nil, err
			}
			if x.Records > 0 {
				list = append(list, x)
			}
		}
		slices.SortFunc(list, func(a, b trace.Blind) int {
			return cmp.Or(cmp.Compare(b.Records, a.Records), cmp.Compare(a.Partner, b.Partner))
		})
		return list, nil
	}
}

// unnamed is how many orders somebody had in hand in an event that does not name them, of how many.
func unnamed(r *run.Row) (n, of int64, err error) {
	act, err := r.Act()
	if err != nil || act.Outcome == moat.Failure {
		return 0, 0, err
	}
	switch act.Type {
	case moat.OrderAccess, moat.OrderTransmit, moat.DataDecrypt, moat.APICall:
	default:
		return 0, 0, nil
	}
	var named int64
	err = r.Orders(func(id []byte) {
		if len(id) > 0 {
			named++
		}
	})
	return max(0, r.Count-named), max(r.Count, named), err
}
