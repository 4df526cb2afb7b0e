package node

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/lake"
	"github.com/moat-platform/moat/store/run"
)

// A snapshot never passes the store. Where one did, something was lost: a folder was deleted, is not mounted, or
// comes from an older backup.

// checkBook returns the snapshots that may be used. A book that ends before the newest was lost or replaced: then
// none may, and the events of the lake are folded again, which makes the same findings with the same ids.
func (p *partition) checkBook(ctx context.Context, snapshots []string) ([]string, error) {
	if len(snapshots) == 0 {
		return nil, nil
	}
	known, err := p.n.Book.Position(ctx, p.id)
	if err != nil {
		return nil, err
	}
	if known >= seqOf(snapshots[0]) {
		return snapshots, nil
	}
	p.n.log.Error("the book was lost or is older than the state: its findings and cases are made again from the events that are kept",
		"partition", p.id, "book_up_to", known, "state_up_to", seqOf(snapshots[0]),
		"hint", "partners, keys, and what people decided are only in a backup of the book: stop, put book.db back, and start again; or make them anew")
	return nil, nil
}

// checkLake says which messages lie between two files of the lake and are in none. Files that are known to be damaged were told of.
func (p *partition) checkLake() {
	last := uint64(0)
	for _, f := range p.n.Lake.Files() {
		if f.Partition != p.id {
			continue
		}
		known := slices.ContainsFunc(p.n.Lake.Lost(), func(l lake.Lost) bool { return l.Partition == p.id && l.First <= last+1 && l.Last >= f.First-1 })
		if last > 0 && f.First > last+1 && !known {
			p.n.log.Warn("the lake has no file with these messages: one was lost", "partition", p.id, "first", last+1, "last", f.First-1,
				"next", f.Path, "hint", "stop, put the file back from a backup, and start again; until then queries and replays lack these events. "+
					"Folders from before files touched have such gaps for mere repetitions, too")
		}
		last = max(last, f.Last)
	}
}

// checkStores says what is missing from lake and index, and builds an index that is behind the lake again.
func (p *partition) checkStores(ctx context.Context, touches *run.Writer) error {
	p.checkLake()
	kept := p.n.Lake.Position(p.id)
	if kept < p.seq {
		p.n.log.Error("events are missing from the lake: it was lost or is older than the state", "partition", p.id, "dir", filepath.Join(p.n.cfg.Dir, "lake"),
			"first", kept+1, "last", p.seq, "hint", "stop, put the folder back from a backup, and start again; until then queries and replays lack these events")
	}
	from := touches.Position()
	if from >= p.seq {
		return nil
	}
	p.n.log.Error("events are missing from the index: it was lost or is older than the state; it is built again from the lake", "partition", p.id,
		"dir", filepath.Join(p.n.cfg.Dir, indexFolder), "first", from+1, "last", p.seq, "hint", "what the lake does not hold any more is in a backup of the folder only")
	if err := p.index(ctx, touches, from); err != nil {
		return fmt.Errorf("cannot build the index again: %w", err)
	}
	return nil
}

// index hands the index the events of the lake after a message of the log, up to where the engine is.
func (p *partition) index(ctx context.Context, w *run.Writer, after uint64) error {
	seq := after // of the message that is being handed
	next := func(to uint64) error {
		if seq > after {
			w.End()
		}
		seq = to
		_, err := w.Begin(seq, 0)
		return err
	}
	err := p.n.Lake.Scan(ctx, lake.Filter{Tenant: moat.Everyone(), Partition: &p.id}, func(at lake.Position, e *moat.Event) error {
		if at.Seq <= after || at.Seq > p.seq {
			return nil
		}
		if at.Seq != seq {
			if err := next(at.Seq); err != nil {
				return err
			}
		}
		w.Add(uint32(at.Row), e)
		return nil
	})
	if err == nil && seq < p.seq { // the position must not stay behind what is there
		err = next(p.seq)
	}
	if err != nil {
		return err
	}
	w.End()
	return w.Flush(ctx)
}
