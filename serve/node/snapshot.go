package node

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/dispose/decision"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

// openPartition brings a partition to where it was: from its newest readable snapshot, else
// from the lake; the river gives the rest once it runs.
func (n *Node) openPartition(ctx context.Context, id int) (*partition, error) {
	p := &partition{n: n, id: id, turn: make(chan struct{}, 1), questions: make(chan *question, maxQuestions), ended: make(chan struct{}), keep: make(chan work, maxWorks), stored: make(chan struct{}, 1)}
	touches, err := n.Index.Writer(id)
	if err != nil {
		return nil, err
	}
	if err := p.checkRiver(ctx); err != nil {
		return nil, err
	}
	p.store = &keeper{p: p, lake: n.Lake.Writer(id), index: touches, letters: letters{p: p, piles: map[int]*pile{}}}
	defer func() { p.store.seq, p.handed = p.seq, p.seq }()
	if err := p.store.letters.load(); err != nil {
		return nil, err
	}
	files := p.snapshots()
	if files, err = p.checkBook(ctx, files); err != nil {
		return nil, err
	}
	for i, f := range files {
		lessons, err := p.restore(f)
		if err == nil {
			p.saved = p.seq
			if i+1 < len(files) {
				p.older = seqOf(files[i+1])
			}
			if err := p.recall(ctx, lessons); err != nil {
				return nil, err
			}
			return p, p.checkStores(ctx, touches)
		}
		if errors.Is(err, engine.ErrVersion) {
			n.log.Info("a snapshot is of another version: the state is made again from the log and the lake", "file", f)
			continue
		}
		n.log.Error("a snapshot cannot be read and was set aside", "file", f, "error", err)
		if err := os.Rename(f, f+".damaged"); err != nil {
			return nil, fmt.Errorf("cannot set snapshot aside: %w", err)
		}
	}
	if err := p.begin(); err != nil {
		return nil, err
	}
	if err := p.recall(ctx, 0); err != nil {
		return nil, err
	}
	return p, p.rebuild(ctx)
}

// checkRiver refuses a river that ends before what was stored from it: it was lost or replaced, and the events that
// it took in next would pass for old ones.
func (p *partition) checkRiver(ctx context.Context) error {
	_, last, err := p.n.River.Bounds(ctx, p.id)
	if err != nil {
		return err
	}
	stored := p.n.Lake.Position(p.id)
	for _, f := range p.snapshots() {
		stored = max(stored, seqOf(f))
	}
	if last < stored {
		return fmt.Errorf("the river ends at message %d, but the store has it up to %d: put the river back from the same backup, or begin in another folder", last, stored)
	}
	return nil
}

// begin makes the engine and what follows it, empty.
func (p *partition) begin() (err error) {
	p.risks, p.budget, p.seq = risk.NewKeeper(p.n.Odds), decision.NewBudget(decision.Limits{}), 0
	p.used = nil
	p.across = foresee.New(foresee.Config{Plan: p.n.Plan, Seed: p.n.Seed, Key: foresee.Key(hashKey(p.n.Master, "foresee")), Limits: p.n.cfg.Limits,
		Part: p.id, Parts: p.n.River.Partitions(), Run: rand.Uint64()})
	p.engine, err = engine.New(engine.Config{Plan: p.n.Plan, Seed: p.n.Seed, Net: p.n.net, Limits: p.n.cfg.Limits, After: p.see, Beside: func(f func()) { go f() }})
	return err
}

// rebuild folds the events of the lake again, when there is no snapshot but there are events
// that the river no longer holds.
func (p *partition) rebuild(ctx context.Context) error {
	first, last, err := p.n.River.Bounds(ctx, p.id)
	if err != nil {
		return err
	}
	upTo := p.n.Lake.Position(p.id)
	if upTo == 0 || last > 0 && first <= 1 {
		return nil // the river has it all
	}
	p.n.log.Warn("the engine's state is built again from the lake", "partition", p.id, "up_to", upTo)
	sent, err := p.n.Book.Position(ctx, p.id) // what came of messages that the book has was sent to others, or waits among the letters; the lake may have more
	if err != nil {
		return err
	}
	if sent == 0 { // the book is a new one
		sent = upTo
	}
	// Message by message, as it was, since findings are folded before those that others gave in the same message.
	var w moat.BatchWriter
	var changes book.Changes
	events := 0
	commit := func() error {
		c := changes
		changes, events = book.Changes{}, 0
		c.Cases = lastOf(c.Cases)
		return p.n.Book.Commit(ctx, p.id, p.seq, c)
	}
	step := func() error {
		r, err := p.engine.Step(w.Bytes(), nil)
		w.Reset()
		if err != nil {
			return err
		}
		out, err := p.tell()
		if err != nil {
			return err
		}
		if p.seq > sent {
			p.store.letters.post(out)
		}
		changes.Add(p.digest(&r, &out))
		if events += r.Events; events < 4096 {
			return nil
		}
		return commit()
	}
	err = p.n.Lake.Scan(ctx, lake.Filter{Tenant: moat.Everyone(), Partition: &p.id}, func(at lake.Position, e *moat.Event) error {
		if at.Seq != p.seq && w.Len() > 0 {
			if err := step(); err != nil {
				return err
			}
		}
		p.learnUpTo(at.Seq - 1)
		p.seq = at.Seq
		w.Append(e)
		return nil
	})
	if err == nil {
		err = step()
	}
	if err == nil {
		err = commit()
	}
	p.seq = upTo
	p.learnUpTo(upTo)
	return err
}

func (p *partition) file(seq uint64) string {
	return filepath.Join(p.n.cfg.Dir, "state", fmt.Sprintf("p%03d-%020d.snap", p.id, seq))
}

func seqOf(file string) uint64 {
	name := strings.TrimSuffix(filepath.Base(file), ".snap")
	n, _ := strconv.ParseUint(name[strings.LastIndexByte(name, '-')+1:], 10, 64)
	return n
}

// snapshots lists the partition's snapshots, newest first.
func (p *partition) snapshots() []string { return snapshotsOf(p.n.cfg.Dir, p.id) }

func snapshotsOf(dir string, partition int) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "state", fmt.Sprintf("p%03d-*.snap", partition)))
	slices.Sort(files)
	slices.Reverse(files)
	return files
}

// snapshot makes the store durable up to here, then writes the engine's state. Two
// snapshots are kept, and the river from the older on, so that a damaged one costs
// only time.
func (p *partition) snapshot() error {
	if err := p.flush(context.Background()); err != nil {
		return err
	}
	if p.seq == p.saved {
		return p.makeRoom()
	}
	name := p.file(p.seq)
	if err := p.write(name + ".tmp"); err != nil {
		os.Remove(name + ".tmp")
		return err
	}
	if err := os.Rename(name+".tmp", name); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(name)); err != nil {
		return err
	}
	p.older, p.saved = p.saved, p.seq
	for i, f := range p.snapshots() {
		if i >= 2 {
			os.Remove(f)
		}
	}
	if p.older == 0 {
		return nil
	}
	return p.n.River.Trim(context.Background(), p.id, p.older)
}

// makeRoom gives the older snapshot up if nothing came since the newer one because the river is full of what lies
// between the two: else nothing would ever come again. Should the one that is left be damaged, the lake has it all.
func (p *partition) makeRoom() error {
	if p.older == p.saved {
		return nil
	}
	s, err := p.n.River.Stats(context.Background(), p.id)
	if err != nil || s.Bytes <= uint64(s.MaxBytes)/2 {
		return err
	}
	for i, f := range p.snapshots() {
		if i > 0 {
			os.Remove(f)
		}
	}
	p.older = p.saved
	return p.n.River.Trim(context.Background(), p.id, p.saved)
}

func (p *partition) write(name string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	var head bytes.Buffer
	if err := p.risks.Snapshot(&head); err != nil {
		return err
	}
	budget, err := p.budget.MarshalBinary()
	if err != nil {
		return err
	}
	head.Write(budget)
	b := bufio.NewWriterSize(f, 1<<20)
	pre := binary.LittleEndian.AppendUint64(nil, uint64(head.Len()))
	pre = binary.LittleEndian.AppendUint64(pre, xxh3.Hash(head.Bytes()))
	b.Write(pre)
	b.Write(head.Bytes())
	// Questions are answered while gigabytes are written: they change nothing.
	if err := p.engine.Snapshot(serving{b, p}); err != nil {
		return err
	}
	if err := p.across.Snapshot(serving{b, p}); err != nil {
		return err
	}
	if err := b.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// serving is a writer that lets the partition answer questions between pieces.
type serving struct {
	io.Writer
	p *partition
}

func (s serving) Write(b []byte) (int, error) {
	s.p.pause()
	return s.Writer.Write(b)
}

// restore reads one snapshot and returns the last lesson that it knew; what it leaves behind on an error is thrown away by begin.
func (p *partition) restore(name string) (lessons uint64, err error) {
	if err := p.begin(); err != nil {
		return 0, err
	}
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	b := bufio.NewReaderSize(f, 1<<20)
	var pre [16]byte
	if _, err := io.ReadFull(b, pre[:]); err != nil {
		return 0, errors.Join(engine.ErrSnapshot, err)
	}
	size := binary.LittleEndian.Uint64(pre[:])
	if size > 1<<30 {
		return 0, engine.ErrSnapshot
	}
	head := make([]byte, size)
	if _, err := io.ReadFull(b, head); err != nil || xxh3.Hash(head) != binary.LittleEndian.Uint64(pre[8:]) {
		return 0, errors.Join(engine.ErrSnapshot, err)
	}
	dec := bytes.NewReader(head)
	lines := bufio.NewReaderSize(dec, 1<<16)
	risks, err := lines.ReadBytes('\n')
	if err != nil {
		return 0, errors.Join(engine.ErrSnapshot, err)
	}
	if lessons, err = p.risks.Restore(bytes.NewReader(risks)); err != nil {
		return 0, err
	}
	budget, err := io.ReadAll(lines)
	if err != nil {
		return 0, err
	}
	if err := p.budget.UnmarshalBinary(budget); err != nil {
		return 0, errors.Join(engine.ErrSnapshot, err)
	}
	if err := p.engine.Restore(b); err != nil {
		return 0, err
	}
	if _, err := b.Peek(1); err != io.EOF { // without it: it is from before partners were watched together
		if err := p.across.Restore(b); err != nil {
			return 0, err
		}
	}
	p.seq = seqOf(name)
	return lessons, nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
