package node

import (
	"context"
	"log/slog"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/store/book"
)

// Tracer returns what traces leaks over what the node keeps.
func (n *Node) Tracer() *trace.Tracer {
	return tracer(n.Index, n.Book, n.canaries.index.Load())
}

// ReadTracer opens what a data folder knows of leaks for reading, as [ReadIndex] does, with the findings of b. It must be
// closed; b stays open.
func ReadTracer(ctx context.Context, dir string, b *book.Book, log *slog.Logger) (t *trace.Tracer, closeIt func() error, err error) {
	x, err := ReadCanaries(ctx, dir, b)
	if err != nil {
		return nil, nil, err
	}
	touches, err := ReadIndex(dir, log)
	if err != nil {
		return nil, nil, err
	}
	return tracer(touches, b, x), touches.Close, nil
}

func tracer(touches *index.Index, b *book.Book, x *canary.Index) *trace.Tracer {
	return &trace.Tracer{Rows: trace.Kept(touches.Ledger, touches.Diary), Findings: trace.Findings(b), Complaints: b.ComplaintTimes, Blind: blind(touches.Diary), Planted: func(t moat.Tenant, order string) (trace.Canary, bool) {
		c, ok := LookCanary(x, t, "", order)
		return trace.Canary{Order: order, Kind: string(c.Kind), Partner: c.Partner, Channel: c.Channel, Token: c.Token}, ok
	}}
}
