package scope

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"io"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
)

// Order is one order that a source had in hand.
type Order struct {
	ID         string
	Partners   []string
	Shops      []string // of the event that names the fewest
	Fields     []string // shown readable
	Masked     []string // only ever shown encrypted or masked
	First      moat.Time
	Last       moat.Time
	Touches    int64
	Operations []string
	Complained bool
}

// Export calls fn for each order that was shown, masked or not, once, but for canaries: the earliest first as long as
// there are no more than [Config.MaxOrders]. If there are more, it reads all again for each part of them
// that fits in memory, and they come in the order of parts. It stops with the error that fn returns.
func (f *Finder) Export(ctx context.Context, tenant moat.Tenant, q Question, fn func(*Order) error) (damaged int, err error) {
	s, err := f.survey(ctx, tenant, q, pass{ids: true})
	if err != nil {
		return 0, err
	}
	level := uint(s.orders.level.Load())
	if level == 0 { // all of them fit
		return s.damaged, s.export(fn)
	}
	for n := range uint64(1) << level {
		if s, err = f.survey(ctx, tenant, q, pass{ids: true, bits: level, n: n}); err != nil {
			return 0, err
		}
		if err := s.export(fn); err != nil {
			return 0, err
		}
		damaged = max(damaged, s.damaged)
	}
	return damaged, nil
}

func (s *survey) export(fn func(*Order) error) error {
	var list []*order
	s.orders.each(func(o *order) {
		if !o.planted { // nobody is to be told
			list = append(list, o)
		}
	})
	slices.SortFunc(list, func(a, b *order) int {
		return cmp.Or(cmp.Compare(a.first, b.first), bytes.Compare(s.orders.id(a), s.orders.id(b)))
	})
	for _, o := range list {
		var shops []string
		if o.wide > 0 {
			shops = s.shopsOf(int(o.shops))
		}
		err := fn(&Order{ID: string(s.orders.id(o)), Partners: s.partners.named(o.partners), Shops: shops, Fields: s.fields.named(o.plain),
			Masked: s.fields.named(o.masked &^ o.plain), First: o.first, Last: o.last, Touches: int64(o.touches),
			Operations: s.how.named(o.how), Complained: o.complained})
		if err != nil {
			return err
		}
	}
	return nil
}

// named returns the words of a mask, sorted.
func (w *words) named(mask uint32) (list []string) {
	for ; mask != 0; mask &= mask - 1 {
		list = append(list, w.list[bits.TrailingZeros32(mask)])
	}
	slices.Sort(list)
	return list
}

// ExportCSV writes what [Finder.Export] finds as CSV with a header. Lists have semicolons. A cell that a
// spreadsheet would take for a formula has an apostrophe before it.
func (f *Finder) ExportCSV(ctx context.Context, tenant moat.Tenant, q Question, to io.Writer) (orders int64, damaged int, err error) {
	w := csv.NewWriter(to)
	w.Write([]string{"order", "partner", "shops", "fields", "masked_fields", "first", "last", "touches", "how", "complained"})
	damaged, err = f.Export(ctx, tenant, q, func(o *Order) error {
		orders++
		join := func(l []string) string { return strings.Join(l, ";") }
		cells := []string{o.ID, join(o.Partners), join(o.Shops), join(o.Fields), join(o.Masked), o.First.Std().Format(time.RFC3339), o.Last.Std().Format(time.RFC3339),
			strconv.FormatInt(o.Touches, 10), join(o.Operations), []string{"no", "yes"}[oneIf(o.Complained)]}
		for i, c := range cells {
			if c != "" && strings.ContainsRune("=+-@\t\r", rune(c[0])) {
				cells[i] = "'" + c
			}
		}
		return w.Write(cells)
	})
	if err == nil {
		w.Flush()
		err = w.Error()
	}
	return orders, damaged, err
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}
