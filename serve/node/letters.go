package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/foresee"
	"github.com/moat-platform/moat/river"
)

// letters is what a partition has to tell others: sightings to the partition that watches them all, warnings and uses of canaries to
// those of their partners. Their ids are made from content: what is sent again after a crash counts once.
//
// What finds no room in the river waits, in memory and, once it is flushed, in a file beside the snapshots. A snapshot must not pass
// what was not sent; but it cannot wait for it either, since the partition that has to make room by its snapshot may be this one, or wait for it.
type letters struct {
	p       *partition
	piles   map[int]*pile // by the partition that they go to
	bytes   int           // of whole batches in piles
	saved   bool          // there is a file
	givenUp atomic.Uint64 // events that were too many to wait
}

// pile is what goes to one partition, in order.
type pile struct {
	whole [][]byte // batches that are not changed any more
	open  moat.BatchWriter
}

// maxLetter is the size at which what is to be sent no longer waits for more: every river takes it as one message. Of more than maxLetters bytes in all the
// rest is given up, sightings from half of it on: they are many, and an alarm is one.
const (
	maxLetter  = 512 << 10
	maxLetters = 64 << 20
)

// post takes up what is to be sent.
func (l *letters) post(out foresee.Out) {
	if out.Sightings != nil {
		l.read(out.Sightings) // it was made a moment ago
	}
	for _, e := range out.Warnings {
		l.add(e)
	}
}

func (l *letters) read(batch []byte) error {
	var r moat.BatchReader
	var e moat.Event
	if err := r.Open(batch); err != nil {
		return err
	}
	for r.Next(&e) {
		l.add(&e)
	}
	return r.Err()
}

func (l *letters) add(e *moat.Event) {
	room := maxLetters
	if e.Type == moat.Sighting {
		room /= 2
	}
	if l.bytes >= room {
		l.givenUp.Add(1)
		l.p.warn(givingUp, errLetters)
		return
	}
	to := l.p.n.River.PartitionOf(e.Partner)
	p := l.piles[to]
	if p == nil {
		p = &pile{}
		l.piles[to] = p
	}
	if p.open.Append(e); p.open.Size() >= maxLetter {
		p.whole = append(p.whole, slices.Clone(p.open.Bytes()))
		l.bytes += p.open.Size()
		p.open.Reset()
		l.p.warn(telling, l.sendTo(to, p))
	}
}

const (
	telling  = "cannot tell others"
	givingUp = "what others are to be told is given up"
)

var errLetters = fmt.Errorf("more than %d MiB wait for room in the river", maxLetters/2>>20)

// send appends what there is room for.
func (l *letters) send() {
	var failed error
	for to, p := range l.piles {
		if err := l.sendTo(to, p); err != nil {
			failed = err
		}
	}
	l.p.warn(telling, failed)
}

func (l *letters) sendTo(to int, p *pile) error {
	for len(p.whole) > 0 {
		if err := l.append(to, p.whole[0]); err != nil {
			return err
		}
		l.bytes -= len(p.whole[0])
		p.whole = slices.Delete(p.whole, 0, 1)
		l.p.warn(givingUp, nil)
	}
	if p.open.Len() == 0 {
		return nil
	}
	err := l.append(to, p.open.Bytes())
	if err == nil {
		p.open.Reset()
	}
	return err
}

func (l *letters) append(to int, batch []byte) error {
	_, err := l.p.n.River.Append(context.Background(), to, batch)
	var full *river.FullError
	if errors.As(err, &full) { // without the size, lest each try be another reason
		return full
	}
	return err
}

// flush sends what there is room for and makes the rest durable.
func (l *letters) flush() error {
	l.send()
	var rest [][]byte
	for _, p := range l.piles {
		rest = append(rest, p.whole...)
		if p.open.Len() > 0 {
			rest = append(rest, p.open.Bytes())
		}
	}
	if len(rest) == 0 {
		if !l.saved {
			return nil
		}
		l.saved = false
		return os.Remove(l.file())
	}
	all, err := moat.JoinBatches(nil, rest...)
	if err == nil {
		err = replaceFile(l.file(), all)
	}
	if err != nil {
		return fmt.Errorf("cannot keep what others are to be told: %w", err)
	}
	l.saved = true
	return nil
}

// load takes up what was kept when the folder was last at work.
func (l *letters) load() error {
	all, err := os.ReadFile(l.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = l.read(all)
	}
	if errors.Is(err, moat.ErrCorruptBatch) {
		l.p.n.log.Error("what others were to be told cannot be read and was set aside", "file", l.file(), "error", err)
		return os.Rename(l.file(), l.file()+".damaged")
	}
	l.saved = true
	return err
}

func (l *letters) file() string {
	return filepath.Join(l.p.n.cfg.Dir, "state", fmt.Sprintf("p%03d.letters", l.p.id))
}

// replaceFile makes b the whole content of a file, durably.
func replaceFile(name string, b []byte) error {
	f, err := os.OpenFile(name+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(name))
}
