package lake

import (
	"context"
	"errors"
	"os"

	"github.com/moat-platform/moat"
)

// maxRetries bounds how often a scan looks again for files that were merged or
// expired under it.
const maxRetries = 100

// ScanDir is [Lake.Scan] for readers beside the process that owns the lake at dir: it changes
// nothing on the disk. It sees what is in files, also of those that are merged while it reads,
// each event once. progress, which may be nil, is told how many sequences of the log are done,
// of how many.
func ScanDir(ctx context.Context, dir string, f Filter, progress func(done, total uint64), fn func(Position, *moat.Event) error) error {
	files, err := listFor(dir, &f)
	if err != nil {
		return err
	}
	var done, total uint64
	for _, e := range files {
		total += e.Last - e.First + 1
	}
	var at Range // what was read last
	for tries := 0; len(files) > 0; {
		file := files[0]
		// A merged file may begin with what was read from its parts.
		from := file.First
		if file.Partition == at.Partition && at.Last >= from {
			from = at.Last + 1
		}
		if file.Partition < at.Partition || from > file.Last {
			files = files[1:]
			continue
		}
		err := scanFile(ctx, file, &f, func(p Position, e *moat.Event) error {
			if p.Seq < from {
				return nil
			}
			return fn(p, e)
		})
		if errors.Is(err, os.ErrNotExist) && tries < maxRetries {
			tries++
			if files, err = listFor(dir, &f); err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		at = Range{Partition: file.Partition, First: file.First, Last: file.Last}
		done = min(done+file.Last-from+1, total)
		if progress != nil {
			progress(done, total)
		}
		files = files[1:]
	}
	return nil
}

// listFor lists the files that f may select from, by partition and sequence.
func listFor(dir string, f *Filter) ([]File, error) {
	all, err := List(dir)
	if err != nil || f.Partition == nil {
		return all, err
	}
	var out []File
	for _, e := range all {
		if e.Partition == *f.Partition {
			out = append(out, e)
		}
	}
	return out, nil
}
