package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

const (
	followEvery = 200 * time.Millisecond
	lastSend    = 10 * time.Second // for what is left when a follow is stopped
)

// Follow loads a file and then what is written to it, until ctx ends; then it returns
// the report and nil. What is there at first is history; what comes later is
// received when it is read. A file that is cut to nothing is read from its start, and one that is
// replaced (rotated) is read to its end before the new one is begun. The file
// must not be compressed.
func (l *Loader) Follow(ctx context.Context, path string) (Report, error) {
	g, err := l.start(ctx)
	if err != nil {
		return Report{}, err
	}
	err = g.follow(path)
	if g.ctx.Err() != nil && (err == nil || errors.Is(err, g.ctx.Err())) {
		err, g.failed = nil, nil
	}
	// What was read must not be lost because the time is up.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastSend)
	defer cancel()
	g.ctx = last
	if err != nil {
		err = fmt.Errorf("cannot follow %s: %w", path, err)
	}
	return g.end(err)
}

func (g *loading) follow(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	t := &tail{ctx: g.ctx, path: path, file: f, wait: g.Wait}
	defer t.close()
	if compressed(f) {
		return errors.New("it is compressed: it cannot grow")
	}
	g.name = path
	g.read = &counted{ctx: g.ctx, r: t}
	defer func() { g.report.Bytes += g.read.n; g.progress("") }()
	g.in.reset(g.read)
	reader, err := g.open(func() (survey, error) { return surveyFile(path) })
	if err != nil {
		return err
	}
	t.idle = func() error {
		reader.settle(g.now()-graceTime, g.emit)
		if err := g.flush(); err != nil {
			return err
		}
		g.live = true
		g.progress("")
		return nil
	}
	return g.lines(reader)
}

// compressed tells whether f begins as gzip or zstd does.
func compressed(f *os.File) bool {
	var head [4]byte
	n, _ := f.ReadAt(head[:], 0) // what cannot be read now is told when it is
	return n >= 2 && head[0] == 0x1f && head[1] == 0x8b || n == 4 && head == [4]byte{0x28, 0xb5, 0x2f, 0xfd}
}

// tail reads a file that grows, until its context ends.
type tail struct {
	ctx    context.Context
	path   string
	file   *os.File
	offset int64
	ended  bool // the last byte read ended a line
	wait   func(ctx context.Context, d time.Duration) error
	idle   func() error // called when all there is has been read
	next   *os.File     // has taken the place of file
}

func (t *tail) close() {
	t.file.Close()
	if t.next != nil {
		t.next.Close()
	}
}

// Read reads what is there, or waits for more.
func (t *tail) Read(p []byte) (int, error) {
	for {
		if err := t.ctx.Err(); err != nil {
			return 0, err
		}
		n, err := t.file.Read(p)
		if n > 0 {
			t.offset += int64(n)
			t.ended = p[n-1] == '\n'
			return n, nil
		}
		if err != nil && err != io.EOF {
			return 0, err
		}
		if broke, err := t.turn(); err != nil {
			return 0, err
		} else if broke && !t.ended { // a line that was never finished
			t.ended = true
			return copy(p, "\n"), nil
		} else if broke {
			continue
		}
		if t.idle != nil {
			if err := t.idle(); err != nil {
				return 0, err
			}
		}
		if err := t.wait(t.ctx, followEvery); err != nil {
			return 0, err
		}
	}
}

// turn goes to the file that path names now, or to the start of one that was cut, and
// tells whether it did either. A replaced file is looked at once more before it is left, as its
// writer may not have noticed yet.
func (t *tail) turn() (bool, error) {
	if t.next != nil {
		t.file.Close()
		t.file, t.next, t.offset = t.next, nil, 0
		return true, nil
	}
	have, err := t.file.Stat()
	if err != nil {
		return false, err
	}
	if have.Size() < t.offset {
		t.offset = 0
		_, err := t.file.Seek(0, io.SeekStart)
		return true, err
	}
	now, err := os.Stat(t.path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) { // between two files
			return false, nil
		}
		return false, err
	}
	if os.SameFile(have, now) {
		return false, nil
	}
	if t.next, err = os.Open(t.path); errors.Is(err, os.ErrNotExist) {
		t.next, err = nil, nil
	}
	return false, err
}
