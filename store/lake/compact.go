package lake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/moat-platform/moat"
)

const (
	// A file of smallRows or more is not merged any further.
	smallRows = 1 << 20
	// mergedRows bounds the rows of a merged file.
	mergedRows = 4 << 20
	// copyRows is the size from which a row group is copied as it is.
	copyRows = 64 << 10
	// openDayFiles is how many small files the newest day may have.
	openDayFiles = 16
)

// Compact merges neighbouring small files of a partition and day into files of one to
// four million rows: those of past days, and those of the newest day when it has more than 16.
// It may be stopped at any point, by ctx or by a crash: each event stays
// visible once. It costs little for row groups that are large already, which are copied.
func (l *Lake) Compact(ctx context.Context) error {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	var errs []error
	for _, run := range l.runs() {
		if err := l.merge(ctx, run); err != nil {
			// One damaged file must not keep the others from being merged.
			errs = append(errs, fmt.Errorf("cannot compact lake: %w", err))
		}
	}
	return errors.Join(errs...)
}

// runs returns the neighbouring files that are to be merged with each other.
func (l *Lake) runs() (out [][]*entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := ""
	for _, e := range l.files {
		newest = max(newest, e.Day)
	}
	for at := 0; at < len(l.files); {
		end := at
		small := 0
		for end < len(l.files) && l.files[end].Partition == l.files[at].Partition && l.files[end].Day == l.files[at].Day &&
			(end == at || l.files[end].First == l.files[end-1].Last+1) { // a lost file that is put back must not pass for merged
			if l.files[end].Rows < smallRows {
				small++
			}
			end++
		}
		if l.files[at].Day < newest || small > openDayFiles {
			out = append(out, split(l.files[at:end])...)
		}
		at = end
	}
	return out
}

// split cuts the files of a partition and day into runs of two or more that are worth merging.
func split(files []*entry) (out [][]*entry) {
	var run []*entry
	rows := int64(0)
	cut := func() {
		if len(run) > 1 {
			out = append(out, run)
		}
		run, rows = nil, 0
	}
	for _, e := range files {
		if e.Rows >= smallRows || rows+e.Rows > mergedRows {
			cut()
		}
		if e.Rows < smallRows {
			run, rows = append(run, e), rows+e.Rows
		}
	}
	cut()
	return out
}

// merge replaces the files of run by one. The new file covers the range of each of them, which makes
// them leftovers the moment that it has its name.
func (l *Lake) merge(ctx context.Context, run []*entry) error {
	r := Range{Partition: run[0].Partition, First: run[0].First, Last: run[len(run)-1].Last}
	replaced, err := l.writeEvents(run[0].Day, r, func(f *fileWriter) error {
		m := newMerger(f, l.cfg.Yield)
		for _, e := range run {
			if err := m.addFile(ctx, e.Path); err != nil {
				return err
			}
		}
		return m.flush()
	})
	if err != nil {
		return err
	}
	return l.retire(replaced)
}

// merger writes the rows of several files into one.
type merger struct {
	out  *fileWriter
	x    *encoder
	grp  group
	blk  block
	rows int // in the row group that is being built
}

func newMerger(f *fileWriter, yield func()) *merger {
	m := &merger{out: f, x: newEncoder(yield)}
	m.grp.dicts = newDictionaries()
	return m
}

func (m *merger) addFile(ctx context.Context, path string) error {
	src, err := openSource(path)
	if err != nil {
		return err
	}
	defer src.close()
	all := Filter{Tenant: moat.Everyone()}
	for i := range src.meta.RowGroups {
		g := &src.meta.RowGroups[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		if g.NumRows >= copyRows {
			if err := m.flush(); err != nil {
				return err
			}
			if err := m.out.copyGroup(src.f, g, src.meta.sums[i]); err != nil {
				return err
			}
			continue
		}
		if err := src.scanGroup(ctx, i, &all, m.add, m); err != nil {
			return err
		}
	}
	return nil
}

// begin makes sure that there is a block for a page.
func (m *merger) begin() {
	if m.grp.blk == nil {
		m.grp.open(&m.blk)
	}
}

func (m *merger) add(seq uint64, row int, e *moat.Event) error {
	m.grp.add(seq, uint32(row), e)
	m.rows++
	return nil
}

// end copies the text of a page before it is let go.
func (m *merger) end() error {
	m.grp.commit()
	if m.blk.rows >= blockRows || m.blk.text >= blockBytes {
		if err := m.x.add(m.grp.seal()); err != nil {
			return err
		}
	}
	if m.rows >= 4*copyRows {
		return m.flush()
	}
	return nil
}

// flush writes the row group that is being built.
func (m *merger) flush() error {
	if m.rows == 0 {
		return nil
	}
	if m.grp.blk != nil {
		if err := m.x.add(m.grp.seal()); err != nil {
			return err
		}
	}
	if err := m.out.writeGroup(m.x, m.grp.dicts); err != nil {
		return err
	}
	m.x.reset()
	resetDictionaries(m.grp.dicts)
	m.rows = 0
	return nil
}

// Expire deletes the days that are older than the retention at now, then the
// oldest files until the rest is under the disk cap. Of a partition they go in
// the order of the log. Positions stay.
func (l *Lake) Expire(now time.Time) error {
	l.upkeep.Lock()
	defer l.upkeep.Unlock()
	oldest := ""
	if l.cfg.Retention > 0 {
		oldest = now.UTC().Add(-l.cfg.Retention).Format(dayForm)
	}
	files := l.Files()
	for i := 1; i < len(files); i++ { // of a partition none goes before those in front of it
		if a, b := &files[i-1], &files[i]; a.Partition == b.Partition {
			b.From = max(b.From, a.From)
		}
	}
	slices.SortStableFunc(files, func(a, b File) int { // by age: day, then event time
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.From, b.From))
	})
	total := int64(0)
	for _, f := range files {
		total += f.Bytes
	}
	drop := map[string]bool{}
	for _, f := range files {
		why := "retention"
		if f.Day >= oldest {
			if total <= l.cfg.MaxBytes {
				break
			}
			why = "disk cap"
		}
		drop[f.Path] = true
		total -= f.Bytes
		l.log.Info("deleting a file of events", "path", f.Path, "rows", f.Rows, "bytes", f.Bytes, "because", why)
	}
	if len(drop) == 0 {
		return nil
	}
	if err := l.drop(drop); err != nil {
		return fmt.Errorf("cannot expire events: %w", err)
	}
	return nil
}

// drop deletes files, after the positions that they prove are kept.
func (l *Lake) drop(paths map[string]bool) error {
	var gone []*entry
	positions := map[int]uint64{}
	l.mu.Lock()
	for _, e := range l.files {
		if paths[e.Path] {
			gone = append(gone, e)
			positions[e.Partition] = l.positions[e.Partition]
		}
	}
	l.mu.Unlock()
	for p, seq := range positions {
		if err := l.savePosition(p, seq); err != nil {
			return err
		}
	}
	l.mu.Lock()
	l.files = slices.DeleteFunc(l.files, func(e *entry) bool { return paths[e.Path] })
	l.mu.Unlock()
	if err := l.retire(gone); err != nil {
		return err
	}
	for _, e := range gone {
		os.Remove(l.dayDir(e.Day)) // fails, as it should, while the day has files
	}
	return nil
}
