package node

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/zeebo/xxh3"

	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/rule"
	"github.com/moat-platform/moat/locate/diary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/book"
)

// ErrNoFolder says that a folder holds no data of Moat.
var ErrNoFolder = errors.New("no data folder")

// ReadLedger opens the ledger of a data folder for reading, beside the process that works on the
// folder, if any: what that process has not written to files yet, at most half a minute, is not seen.
func ReadLedger(dir string, log *slog.Logger) (*ledger.Ledger, error) {
	master, err := masterOf(dir)
	if err != nil {
		return nil, err
	}
	return ledger.Open(ledger.Config{Dir: filepath.Join(dir, "ledger"), Key: hashKey(master, "ledger"), Logger: log, ReadOnly: true})
}

// ReadDiary is [ReadLedger] for the diary.
func ReadDiary(dir string, log *slog.Logger) (*diary.Diary, error) {
	master, err := masterOf(dir)
	if err != nil {
		return nil, err
	}
	return diary.Open(diary.Config{Dir: filepath.Join(dir, "diary"), Key: hashKey(master, "diary"), Logger: log, ReadOnly: true})
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

// hashKey derives a key for the hashes of one index from the installation's secret.
func hashKey(m book.MasterKey, name string) [16]byte {
	return xxh3.Hash128([]byte(book.Secret(m, "hash key of the "+name))).Bytes()
}

// hashSeed derives the seed of the engine's hashes from the installation's secret.
func hashSeed(m book.MasterKey) rule.HashSeed {
	return rule.HashSeed(xxh3.HashString(book.Secret(m, "hash seed")))
}
