package ingest

import (
	"context"
	"io"
	"os"
	"slices"

	"github.com/moat-platform/moat"
)

// probeBytes is how much of a file is read to see when it begins.
const probeBytes = 64 << 10

// inOrder sorts files by when their events begin. The windows of detectors go forward only, and what a shell makes
// of access.log.* is 1, 10, 2, which is no order of time. If one of the files does not tell, all stay as
// they were named.
func (l *Loader) inOrder(ctx context.Context, paths []string) []string {
	if len(paths) < 2 {
		return paths
	}
	type file struct {
		path  string
		first moat.Time
	}
	files := make([]file, len(paths))
	for i, path := range paths {
		first := l.begins(ctx, path)
		if first == 0 {
			return paths
		}
		files[i] = file{path, first}
	}
	slices.SortStableFunc(files, func(a, b file) int { return int(min(max(a.first-b.first, -1), 1)) })
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.path
	}
	return out
}

// begins returns the earliest time near the beginning of a file, 0 if that cannot be told.
func (l *Loader) begins(ctx context.Context, path string) moat.Time {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 0
	}
	probe := *l
	probe.River, probe.Watch, probe.Progress = nowhere{}, nil, nil
	g, err := probe.start(ctx)
	if err != nil {
		return 0
	}
	// The end is cut off, which compressed files take for damage; what came before it counts.
	_ = g.stream(path, io.LimitReader(f, probeBytes), 0, func() (survey, error) { return surveyFile(path) })
	r, _ := g.end(nil)
	return r.First
}

// nowhere is a river that keeps nothing.
type nowhere struct{}

func (nowhere) Partitions() int                                     { return 1 }
func (nowhere) PartitionOf(string) int                              { return 0 }
func (nowhere) Append(context.Context, int, []byte) (uint64, error) { return 1, nil }
