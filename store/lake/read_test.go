package lake

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/intake"
)

// FuzzFile checks that no content of a file does worse than being refused as damaged.
func FuzzFile(f *testing.F) {
	l := openLake(f, Config{})
	for seq := 1; seq <= 3; seq++ {
		must(f, intake.Append(uint64(seq), message(seq), nil, l.Writer(0)))
	}
	must(f, l.Writer(0).Flush())
	must(f, intake.Append(4, batchOf(), nil, l.Writer(0))) // a file without rows
	must(f, l.Writer(0).Flush())
	for _, file := range l.Files() {
		b, err := os.ReadFile(file.Path)
		must(f, err)
		f.Add(b)
	}
	whole, err := os.ReadFile(l.Files()[0].Path)
	must(f, err)
	for i := 0; i < len(whole); i += 97 {
		b := bytes.Clone(whole)
		b[i] ^= 0x55
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), fileName(Range{0, 1, 3}))
		must(t, os.WriteFile(path, b, 0o640))
		file, err := readFile(path, Range{0, 1, 3}, "2026-11-21")
		if err == nil {
			err = scanFile(context.Background(), file, &Filter{Tenant: moat.Everyone()}, func(Position, *moat.Event) error { return nil })
		}
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatalf("not called damage: %v", err)
		}
	})
}
