package run

import (
	"context"
	"slices"

	moat "github.com/moat-platform/moat"
)

// gathering is events of a table that are to be read, and which keys led to them. They are read together, each once, however many of the
// keys lead to it: a person, the device and the address that the person uses have the same events. What is read one after the other lies
// one after the other then, and all of it can be asked for before.
type gathering struct {
	ctx      context.Context
	table    *reader
	ask      *ahead // nil if the table seems to be in memory
	tenant   moat.Tenant
	from, to moat.Time
	fn       func(key int, r *Row) error

	list  []uint64 // the number of the event, and in the lower half that of the key
	last  int      // key
	mixed bool     // there are several keys
	row   Row
}

// maxGathered is about how many events are read together.
const maxGathered = 1 << 16

// add takes in the events of a key, in order.
func (g *gathering) add(key int, ords []uint32) error {
	g.mixed = g.mixed || len(g.list) > 0 && key != g.last
	g.last = key
	for _, ord := range ords {
		g.list = append(g.list, uint64(ord)<<32|uint64(uint32(key)))
	}
	if len(g.list) < maxGathered {
		return nil
	}
	return g.read()
}

// read calls fn with what was gathered, as far as it is in the window and the tenant sees it.
func (g *gathering) read() error {
	if err := g.ctx.Err(); err != nil {
		return err
	}
	if g.mixed {
		slices.Sort(g.list)
	}
	if g.ask != nil {
		g.ask.events(g.list, g.from, g.to)
	}
	for i := 0; i < len(g.list); {
		ord := uint32(g.list[i] >> 32)
		seen, err := g.table.load(&g.row, ord, g.tenant, g.from, g.to)
		if err != nil {
			return err
		}
		for ; i < len(g.list) && uint32(g.list[i]>>32) == ord; i++ {
			if seen {
				if err := g.fn(int(uint32(g.list[i])), &g.row); err != nil {
					return stopped(err)
				}
			}
		}
	}
	g.list, g.mixed = g.list[:0], false
	return nil
}
