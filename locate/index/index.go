// Package index opens the index of past events: the ledger, by order, and the diary, by entity, in one set of runs.
//
// Use it to open both for a data folder, and for its writers: an event that is appended is in both at once. Kept apart,
// they would decode, sort and write nearly the same events twice, for three quarters more work and half more bytes.
//
// It will not answer questions: packages ledger and diary do.
package index

import (
	"fmt"

	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/run"
)

// Config says where the index is and what it keeps; its Index is set by Open.
type Config = run.Config

// Index is an open index. It is safe for concurrent use.
type Index struct {
	*run.Set
	Ledger *ledger.Ledger
	Diary  *diary.Diary
}

// Open opens the index of a folder. Damaged runs are set aside with a warning; see [run.Open].
func Open(cfg Config) (*Index, error) {
	cfg.Index = run.Index{Event: ledger.Keys(cfg.Key), Part: diary.Keys(cfg.Key), Orders: true}
	set, err := run.Open(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot open index: %w", err)
	}
	return &Index{set, ledger.New(set, cfg.Key), diary.New(set, cfg.Key)}, nil
}
