package book

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/moat-platform/moat"
)

// Record is one act in the audit trail.
type Record struct {
	Seq     uint64          `json:"seq"`  // 1, 2, 3, … without a gap; 0 for a partner, who sees only its own
	Time    moat.Time       `json:"time"` // of the clock of the machine that wrote it
	Partner string          `json:"partner,omitempty"`
	By      string          `json:"by"`
	Act     string          `json:"act"`    // "case.close", "key.create", …
	Object  string          `json:"object"` // id of what it was done to
	Detail  json.RawMessage `json:"detail"`
	Hash    string          `json:"hash"` // hex SHA-256 of the hash before and all of the above
}

// BrokenError names the first record of the audit trail that is not what was
// written, or the place where one is missing.
type BrokenError struct {
	Seq uint64
	Why string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the audit trail is broken at record %d: %s", e.Seq, e.Why)
}

// hash returns the hash that r must have after a record with the hash before.
// Every text goes in with its length, so that no two records write the same.
func (r *Record) hash(before string) string {
	h := sha256.New()
	var b []byte
	b = binary.BigEndian.AppendUint64(b, r.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Time))
	for _, s := range []string{before, r.Partner, r.By, r.Act, r.Object, string(r.Detail)} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	h.Write(b)
	return hex.EncodeToString(h.Sum(nil))
}

// note adds a record to those that t writes at its end.
func (t *tx) note(partner, by, act, object string, detail map[string]any) {
	if detail == nil {
		detail = map[string]any{}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(detail); err != nil {
		panic("BUG: audit detail cannot be written: " + err.Error()) // our own texts and numbers only
	}
	t.trail = append(t.trail, Record{Time: t.book.now(), Partner: text(partner), By: text(by), Act: act, Object: text(object),
		Detail: bytes.TrimSpace(b.Bytes())})
}

// writeTrail appends t's records to the chain. Moving the head first makes
// PostgreSQL's writers wait for each other here; SQLite's already did.
func (t *tx) writeTrail() error {
	if len(t.trail) == 0 {
		return nil
	}
	var last int64
	var hash string
	n := len(t.trail)
	if err := t.row("UPDATE audit_head SET seq = seq + ? WHERE id = 1 RETURNING seq, hash", []any{n}, &last, &hash); err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	args := make([]any, 0, 8*n)
	for i := range t.trail {
		r := &t.trail[i]
		r.Seq = uint64(last) - uint64(n-1-i)
		r.Hash = r.hash(hash)
		hash = r.Hash
		args = append(args, int64(r.Seq), int64(r.Time), r.Partner, r.By, r.Act, r.Object, string(r.Detail), r.Hash)
	}
	if _, err := t.insert("audit (seq, time, partner, person, act, object, detail, hash)", "", 8, args); err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	if _, err := t.exec("UPDATE audit_head SET hash = ? WHERE id = 1", hash); err != nil {
		return fmt.Errorf("audit trail: %w", err)
	}
	return nil
}

// AuditHead returns the number and hash of the last record. Whoever can write
// to the database can rewrite the whole chain; a head kept elsewhere shows it.
func (b *Book) AuditHead(ctx context.Context) (seq uint64, hash string, err error) {
	var n int64
	err = b.read.QueryRowContext(ctx, "SELECT seq, hash FROM audit_head WHERE id = 1").Scan(&n, &hash)
	if err != nil {
		return 0, "", fmt.Errorf("cannot read head of audit trail: %w", b.explain(err))
	}
	return uint64(n), hash, nil
}

// VerifyAudit reads the whole audit trail and returns nil when every record is
// as it was written and none is missing, else a [*BrokenError] for the first
// that is not. It may run while others write.
func (b *Book) VerifyAudit(ctx context.Context) error {
	if err := b.verifyAudit(ctx); err != nil {
		return fmt.Errorf("cannot vouch for audit trail: %w", b.explain(err))
	}
	return nil
}

func (b *Book) verifyAudit(ctx context.Context) error {
	end, endHash, err := b.AuditHead(ctx) // before the records: what comes meanwhile is for the next time
	if err != nil {
		return err
	}
	var seq uint64
	var hash string
	for seq < end {
		before := seq
		if seq, hash, err = b.verifySome(ctx, seq, min(end, seq+10_000), hash); err != nil {
			return err
		}
		if seq == before {
			return &BrokenError{Seq: seq + 1, Why: "it is missing"}
		}
	}
	if hash != endHash {
		return &BrokenError{Seq: end, Why: "its hash is not the one that the head of the trail holds"}
	}
	var beyond int64
	err = b.read.QueryRowContext(ctx, "SELECT COUNT(*) FROM audit_head WHERE seq < (SELECT COALESCE(MAX(seq), 0) FROM audit)").Scan(&beyond)
	if err == nil && beyond != 0 {
		err = &BrokenError{Seq: end + 1, Why: "it lies beyond the head of the trail"}
	}
	return err
}

// verifySome follows the chain from after to last, in pages so that no reader
// keeps SQLite from folding its WAL.
func (b *Book) verifySome(ctx context.Context, after, last uint64, hash string) (uint64, string, error) {
	rows, err := b.read.QueryContext(ctx, b.dialect.sql(auditColumns+" FROM audit WHERE seq > ? AND seq <= ? ORDER BY seq"), int64(after), int64(last))
	if err != nil {
		return 0, "", err
	}
	defer rows.Close()
	for rows.Next() {
		r, err := scanRecord(rows)
		if err != nil {
			return 0, "", err
		}
		if r.Seq != after+1 {
			return 0, "", &BrokenError{Seq: after + 1, Why: "it is missing"}
		}
		if want := r.hash(hash); r.Hash != want {
			return 0, "", &BrokenError{Seq: r.Seq, Why: "its content does not give its hash"}
		}
		after, hash = r.Seq, r.Hash
	}
	return after, hash, rows.Err()
}

const auditColumns = "SELECT seq, time, partner, person, act, object, detail, hash"

func scanRecord(rows *sql.Rows) (r Record, err error) {
	var seq, at int64
	var detail string
	err = rows.Scan(&seq, &at, &r.Partner, &r.By, &r.Act, &r.Object, &detail, &r.Hash)
	r.Seq, r.Time, r.Detail = uint64(seq), moat.Time(at), json.RawMessage(detail)
	return r, err
}
