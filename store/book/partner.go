package book

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"github.com/moat-platform/moat"
)

// Partner is a tenant.
type Partner struct {
	ID      string    `json:"id"` // 1..64 of a-z A-Z 0-9 . _ -
	Name    string    `json:"name"`
	Edition string    `json:"edition,omitempty"` // pack of policy for its kind of business
	Created moat.Time `json:"created"`
}

func partnersTable() *table[Partner] {
	return &table[Partner]{
		name: "partners", columns: "SELECT partner, name, edition, created", from: "partners", time: "created", order: "created", id: "partner",
		filter: func(*Query, *where) {},
		scan: func(rows *sql.Rows) (p Partner, err error) {
			err = rows.Scan(&p.ID, &p.Name, &p.Edition, &p.Created)
			return p, err
		},
		key: func(p *Partner) (int64, string) { return int64(p.Created), p.ID },
	}
}

// Partners returns one page of partners, newest first, and the cursor of the
// next page, "" after the last. A partner sees itself.
func (b *Book) Partners(ctx context.Context, t moat.Tenant, q Query) ([]Partner, string, error) {
	return partnersTable().page(ctx, b, t, q, false)
}

// Partner returns one partner.
func (b *Book) Partner(ctx context.Context, t moat.Tenant, id string) (Partner, error) {
	return partnersTable().one(ctx, b, t, id)
}

// Heard returns up to [MaxLimit] partners, by id, of which something was found and that nobody added: those of files that were loaded.
func (b *Book) Heard(ctx context.Context, t moat.Tenant) (ids []string, err error) {
	var w where
	w.sees(t)
	w.and("partner NOT IN (SELECT partner FROM partners) AND partner NOT LIKE '*%'") // veiled ones are known by their partners
	rows, err := b.read.QueryContext(ctx, b.dialect.sql("SELECT DISTINCT partner FROM findings"+w.text()+" ORDER BY partner LIMIT "+strconv.Itoa(MaxLimit)), w.args...)
	if err != nil {
		return nil, fmt.Errorf("cannot read partners: %w", b.explain(err))
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("cannot read partners: %w", b.explain(err))
		}
		ids = append(ids, id)
	}
	return ids, b.explain(rows.Err())
}

// CreatePartner adds a partner; only the operator may. Created is filled in. A
// taken id gives [ErrExists].
func (b *Book) CreatePartner(ctx context.Context, t moat.Tenant, p Partner, by string) (Partner, error) {
	p.Created = b.now()
	if err := checkPartner(t, &p); err != nil {
		return Partner{}, fmt.Errorf("cannot create partner %.64q: %w", p.ID, err)
	}
	err := b.act(ctx, "create partner", p.ID, by, func(tx *tx) error {
		_, err := tx.exec("INSERT INTO partners (partner, name, edition, created) VALUES (?, ?, ?, ?)", p.ID, p.Name, p.Edition, int64(p.Created))
		if taken(err) {
			return ErrExists
		}
		tx.note(p.ID, by, "partner.create", p.ID, map[string]any{"name": p.Name, "edition": p.Edition})
		return err
	})
	if err != nil {
		return Partner{}, err
	}
	return p, nil
}

func checkPartner(t moat.Tenant, p *Partner) error {
	if _, one := t.Partner(); one {
		return ErrOperator
	}
	if len(p.ID) == 0 || len(p.ID) > 64 {
		return fmt.Errorf("%w: id must be 1 to 64 characters", ErrInvalid)
	}
	if strings.Trim(p.ID, ".") == "" { // a path of the API would lead elsewhere
		return fmt.Errorf("%w: id must hold more than dots", ErrInvalid)
	}
	for _, c := range []byte(p.ID) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return fmt.Errorf("%w: id may hold a-z, A-Z, 0-9, '.', '_' and '-'", ErrInvalid)
		}
	}
	if p.Edition != "" {
		if err := checkName("edition", p.Edition, 64); err != nil {
			return err
		}
	}
	return checkName("name", p.Name, 200)
}
