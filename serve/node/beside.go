package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/index"
	"github.com/moat-platform/moat/locate/scope"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/lake"
)

// ErrNoFolder says that a folder holds no data of Moat.
var ErrNoFolder = errors.New("no data folder")

// indexFolder is where a data folder has the index.
const indexFolder = "index"

// ReadIndex opens the ledger and the diary of a data folder for reading, beside the process that works on the
// folder, if any: what that process has not written to files yet, at most half a minute, is not seen.
func ReadIndex(dir string, log *slog.Logger) (*index.Index, error) {
	master, err := masterOf(dir)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, indexFolder)); errors.Is(err, fs.ErrNotExist) && len(outdated(dir)) > 0 {
		return nil, fmt.Errorf("cannot read %s: its ledger and diary are of an older version; start `moat serve` on it once, which makes the index out of the lake", dir)
	}
	return index.Open(index.Config{Dir: filepath.Join(dir, indexFolder), Key: hashKey(master, "index"), Logger: log, ReadOnly: true})
}

// outdated returns the folders that ledger and diary had to themselves, before they were one index.
func outdated(dir string) (folders []string) {
	for _, name := range []string{"ledger", "diary"} {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); err == nil {
			folders = append(folders, path)
		}
	}
	return folders
}

// Behind counts the events that the log of a data folder has and its files lack, since the process that worked on it was killed or had not come
// to them when it ended; more says that there are more than it was worth counting. While a process works on the folder there are none.
func Behind(dir string, log *slog.Logger) (events int, more bool, err error) {
	saved := func(id int) uint64 { // up to a snapshot the files have all
		if list := snapshotsOf(dir, id); len(list) > 0 {
			return seqOf(list[0])
		}
		return 0
	}
	var after func(id int) uint64
	var r moat.BatchReader
	var e moat.Event
	count := func(id int, seq uint64, batch []byte) error {
		if after == nil {
			if after, err = positions(dir, log); err != nil {
				return err
			}
		}
		if seq <= after(id) {
			return nil
		}
		for err := r.Open(batch); err == nil && r.Next(&e); {
			if e.Type != moat.Sighting {
				events++
			}
		}
		return nil
	}
	more, err = river.Beyond(filepath.Join(dir, "river"), saved, count)
	return events, more, err
}

// positions tells up to which message of each partition the files of a data folder go.
func positions(dir string, log *slog.Logger) (func(partition int) uint64, error) {
	x, err := ReadIndex(dir, log)
	if err != nil {
		return nil, err
	}
	defer x.Close()
	files, err := lake.List(filepath.Join(dir, "lake"))
	if err != nil {
		return nil, err
	}
	indexed, kept := map[int]uint64{}, map[int]uint64{}
	for _, r := range x.Stats().Runs {
		indexed[r.Partition] = max(indexed[r.Partition], r.Last)
	}
	for _, f := range files {
		kept[f.Partition] = max(kept[f.Partition], f.Last)
	}
	return func(id int) uint64 {
		if upTo, any := kept[id]; any { // else all may be too old
			return min(upTo, indexed[id])
		}
		return indexed[id]
	}, nil
}

// dutiesFile lists the duties of this installation, instead of those that are shipped.
const dutiesFile = "duties.yaml"

// scopes makes a finder over the index and the book of a data folder.
func scopes(dir string, b *book.Book, x *index.Index, known *indicator.Holder, planted func() *canary.Index) (*scope.Finder, error) {
	duties := scope.ShippedDuties()
	text, err := os.ReadFile(filepath.Join(dir, dutiesFile))
	if err == nil {
		duties, err = scope.ParseDuties(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, dutiesFile), err)
	}
	complaints := func(ctx context.Context, t moat.Tenant, since moat.Time, fn func(string) error) error {
		for c, err := range b.AllComplaints(ctx, t, book.Query{Since: since}) {
			if err == nil {
				err = fn(c.Order)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	return scope.New(scope.Config{Diary: x.Diary, Ledger: x.Ledger, Country: countries(known), Complaints: complaints, Duties: duties, Planted: func(t moat.Tenant, order string) bool {
		return slices.ContainsFunc(planted().Find(canary.Order, order), func(h canary.Hit) bool { return mayKnow(t, h) })
	}}), nil
}

// ReadScopes opens what a data folder knows of scopes for reading, as [ReadIndex] does, with the
// complaints of b. It must be closed; b stays open.
func ReadScopes(ctx context.Context, dir string, b *book.Book, log *slog.Logger) (f *scope.Finder, closeIt func() error, err error) {
	x, err := ReadIndex(dir, log)
	if err != nil {
		return nil, nil, err
	}
	known, err := OpenIndicators(dir, log)
	if err == nil {
		var canaries *canary.Index
		if canaries, err = ReadCanaries(ctx, dir, b); err == nil {
			f, err = scopes(dir, b, x, known, func() *canary.Index { return canaries })
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, x.Close())
	}
	return f, x.Close, nil
}

// countries tells the country of an address by what is known of addresses now.
func countries(known *indicator.Holder) func(ip string) string {
	return func(ip string) string {
		net := rule.NetOf(known.Table(), ip)
		return net.Country()
	}
}

// ReadStories opens what a data folder knows of what happened for reading, as [ReadIndex] does. The index, from which it is told, must be closed.
func ReadStories(dir string, log *slog.Logger) (x *index.Index, t *story.Teller, err error) {
	if x, err = ReadIndex(dir, log); err != nil {
		return nil, nil, err
	}
	known, err := OpenIndicators(dir, log)
	if err != nil {
		return nil, nil, errors.Join(err, x.Close())
	}
	scan := func(ctx context.Context, f lake.Filter, fn func(lake.Position, *moat.Event) error) error {
		return lake.ScanDir(ctx, filepath.Join(dir, "lake"), f, nil, fn)
	}
	return x, story.New(story.Config{Diary: x.Diary, Scan: scan, Country: countries(known), Logger: log}), nil
}

// OpenIndicators opens what is known of addresses: what is built in, and what is in the folder
// dir/indicators if there is one.
func OpenIndicators(dir string, log *slog.Logger) (*indicator.Holder, error) {
	own := filepath.Join(dir, "indicators")
	if _, err := os.Stat(own); errors.Is(err, fs.ErrNotExist) {
		own = ""
	}
	return indicator.Open(own, log)
}

// masterOf reads the master key of a folder, and makes none.
func masterOf(dir string) (book.MasterKey, error) {
	if _, err := os.Stat(filepath.Join(dir, "master.key")); errors.Is(err, fs.ErrNotExist) {
		return book.MasterKey{}, fmt.Errorf("cannot read %s: %w", dir, ErrNoFolder)
	}
	return book.Master(dir)
}

// hashKey derives a key for hashes of one purpose from the installation's secret.
func hashKey(m book.MasterKey, name string) [16]byte {
	return xxh3.Hash128([]byte(book.Secret(m, "hash key of the "+name))).Bytes()
}

// hashSeed derives the seed of the engine's hashes from the installation's secret.
func hashSeed(m book.MasterKey) rule.HashSeed {
	return rule.HashSeed(xxh3.HashString(book.Secret(m, "hash seed")))
}
