package book

import (
	"context"
	"fmt"

	"github.com/moat-platform/moat"
)

// pruneRows bounds one transaction of Prune, so that writers wait little.
const pruneRows = 2000

// Prune deletes findings older than before that no case holds, and returns how
// many. They stay in the lake for as long as the lake keeps them.
func (b *Book) Prune(ctx context.Context, before moat.Time) (int64, error) {
	var total int64
	for {
		var n int64
		err := b.change(ctx, func(t *tx) (err error) {
			n, err = t.exec(`DELETE FROM findings WHERE id IN (SELECT id FROM findings WHERE time < ?
				AND NOT EXISTS (SELECT 1 FROM case_findings WHERE finding = findings.id) ORDER BY time, id LIMIT ?)`, int64(before), pruneRows)
			return err
		})
		if err != nil {
			return total, fmt.Errorf("cannot prune book: %w", err)
		}
		if total += n; n < pruneRows {
			return total, nil
		}
	}
}
