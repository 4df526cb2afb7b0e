package lake

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
)

// Each change of the disk goes through these few functions, each announced
// to Lake.step, so that a test can stop the world between any two of them.

// writeFile writes path so that it is there whole and durable, or not at all.
func (l *Lake) writeFile(path string, write func(*os.File) error) error {
	tmp := path + ".tmp"
	if err := l.step("create", tmp); err != nil {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o640)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		if err = l.step("sync", tmp); err == nil {
			err = f.Sync()
		}
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = l.rename(tmp, path)
	}
	if err != nil && l.step("clean", tmp) == nil {
		os.Remove(tmp) // what is left is removed by the next Open
	}
	return err
}

// rename moves a file and makes that durable.
func (l *Lake) rename(from, to string) error {
	if err := l.step("rename", to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return l.syncDir(filepath.Dir(to))
}

func (l *Lake) syncDir(dir string) error {
	if err := l.step("syncdir", dir); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (l *Lake) remove(path string) error {
	if err := l.step("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// writeEvents writes the file of a range, calling write to fill it, and makes it visible.
func (l *Lake) writeEvents(day string, r Range, write func(*fileWriter) error) (replaced []*entry, err error) {
	dir := l.dayDir(day)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := l.step("mkdir", dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return nil, err
		}
		if err := l.syncDir(l.events()); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, fileName(r))
	err = l.writeFile(path, func(f *os.File) error {
		b := bufio.NewWriterSize(&stepWriter{l, f}, 256<<10)
		w, err := newFileWriter(b)
		if err == nil {
			err = write(w)
		}
		if err == nil {
			err = w.close()
		}
		if err == nil {
			err = b.Flush()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	f, err := readFile(path, r, day)
	if err != nil {
		return nil, err
	}
	return l.added(f), nil
}

// stepWriter announces each write, and writes only half of one that is to fail.
type stepWriter struct {
	l *Lake
	f *os.File
}

func (w *stepWriter) Write(b []byte) (int, error) {
	if err := w.l.step("write", w.f.Name()); err != nil {
		n, _ := w.f.Write(b[:len(b)/2])
		return n, err
	}
	return w.f.Write(b)
}
