package book

import (
	"context"
	"fmt"

	"github.com/moat-platform/moat"
)

// pruneRows bounds one transaction of Prune, so that writers wait little.
const pruneRows = 2000

// Prune deletes findings older than before that no case holds, and complaints filed before it, and returns how
// many. Their events stay in the lake for as long as the lake keeps them.
func (b *Book) Prune(ctx context.Context, before moat.Time) (total int64, err error) {
	for _, q := range [...]string{
		`DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE time < ?
			AND NOT EXISTS (SELECT 1 FROM case_findings WHERE finding = findings.id) ORDER BY time, id LIMIT ?)`,
		`DELETE FROM complaints WHERE id IN (SELECT id FROM complaints WHERE filed < ? ORDER BY filed LIMIT ?)`,
	} {
		for n := int64(pruneRows); n == pruneRows; total += n {
			err := b.change(ctx, func(t *tx) (err error) {
				n, err = t.exec(q, int64(before), pruneRows)
				return err
			})
			if err != nil {
				return total, fmt.Errorf("cannot prune book: %w", err)
			}
		}
	}
	return total, nil
}
