// Package diary remembers what each account, app, host, device, address,
// outlet, shop, destination and partner did: for every event one row under each entity
// that it names.
//
// Use it to tell the story of a source, page by page ([Diary.Entity]), its
// figures ([Diary.Summary]), and which orders it had in hand in a window
// ([Diary.Orders]): scope starts here. The ledger answers the opposite
// question, who touched an order.
//
// It will not keep whole events, which the lake does, or rows beyond the
// retention; and it will not show a tenant rows of partners that it does not see.
//
// The key of an entity is a hash of its partner, kind and id. There is no
// second key without the partner, which would cost a third more rows: since a
// look-up takes a microsecond a run, the operator's question without a partner
// is asked for every partner that a run knows.
//
// Its rows are in the same set of runs as the ledger's, which package index opens: an event is kept once, under the keys of both.
//
// The ids of an event's orders are kept with the event: it has them once, not
// once for each of its entities, and as differences where they are neighbours.
// With 18-digit ids in no order they cost 26 of the 101 bytes of an event; in a sequence 1 or 2 bytes an id. That is worth it, because
// the ledger cannot lead from an event to its orders, as it has only their
// hashes, and a scope must name the orders, so that the people can be told.
package diary

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"unsafe"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Touch is one event of an entity. Orders are all that the event named.
type Touch = run.Touch

// Errors that a question may be refused with.
var (
	ErrTenant = errors.New("not this tenant's partner")
	ErrKind   = errors.New("no diary is kept of this kind of entity")
	ErrCursor = errors.New("not a cursor of this diary")
)

// MaxPage bounds the touches of one page.
const MaxPage = 1000

// Diary is the diary of an open set, safe for concurrent use.
type Diary struct {
	set  *run.Set
	hash run.Hasher
}

// Keys returns the Part of the [run.Index] of a set that has a diary; its Orders must be set, too.
func Keys(secret [16]byte) func(keys []uint64, p run.Part, t *run.Touch) []uint64 {
	return New(nil, secret).keys
}

// New returns the diary of a set that was opened with the [Keys] of the same secret.
func New(set *run.Set, secret [16]byte) *Diary {
	return &Diary{set: set, hash: run.NewHasher(secret).Derive("entity")}
}

// keys appends the keys of the entities that part p names.
func (d *Diary) keys(keys []uint64, p run.Part, t *run.Touch) []uint64 {
	first := len(keys)
	add := func(kind moat.EntityKind, id string) {
		if id == "" {
			return
		}
		if k := d.key(t.Partner, kind, id); !slices.Contains(keys[first:], k) {
			keys = append(keys, k)
		}
	}
	switch p {
	case run.PartSource:
		add(moat.Partner, t.Partner)
		if t.ActorKind != moat.ActorSystem {
			add(moat.Account, t.Actor)
		}
		add(moat.App, t.App)
		add(moat.Outlet, t.Outlet)
		add(moat.IP, t.IP)
		if strings.Trim(t.Device, "0") != "" { // a device of zeroes only means none
			add(moat.Device, t.Device)
		}
	case run.PartAct:
		add(moat.Host, t.Host)
		add(moat.Destination, t.Destination)
	case run.PartShops:
		for _, s := range t.Shops {
			add(moat.Shop, s)
		}
	}
	return keys
}

// key returns the key of an entity.
func (d *Diary) key(partner string, kind moat.EntityKind, id string) uint64 {
	b := binary.AppendUvarint(append(make([]byte, 0, 512), byte(kind)), uint64(len(partner)))
	b = append(append(b, partner...), id...)
	return run.PartKey(d.hash.Sum(unsafe.String(unsafe.SliceData(b), len(b))))
}

// Query says whose diary is asked for, and for when.
type Query struct {
	Partner string // "" means every partner that the tenant sees
	Entity  moat.Entity
	From    moat.Time // events at it or later
	To      moat.Time // events before it; 0 means no end
}

// open takes a view and finds the keys of the entity.
func (d *Diary) open(ctx context.Context, tenant moat.Tenant, q *Query) (v *run.View, keys []uint64, err error) {
	if v, err = d.set.View(); err != nil {
		return nil, nil, fmt.Errorf("cannot read diary: %w", err)
	}
	if keys, err = d.keysOf(v, tenant, q.Partner, q.Entity); err != nil {
		v.Close()
		return nil, nil, err
	}
	return v, keys, nil
}

// Partners returns the partners that have rows and that the tenant sees, sorted.
func (d *Diary) Partners(ctx context.Context, tenant moat.Tenant) ([]string, error) {
	v, err := d.set.View()
	if err != nil {
		return nil, fmt.Errorf("cannot read diary: %w", err)
	}
	defer v.Close()
	var list []string
	for _, name := range v.Partners() {
		if tenant.Sees(name) {
			list = append(list, name)
		}
	}
	return list, nil
}

// Keeps tells whether a diary is kept of entities of a kind.
func Keeps(k moat.EntityKind) bool {
	switch k {
	case moat.Account, moat.App, moat.Host, moat.Device, moat.IP, moat.Shop, moat.Outlet, moat.Partner, moat.Destination:
		return true
	}
	return false
}

// keysOf returns the keys of an entity of a partner, or of all partners that the tenant sees.
func (d *Diary) keysOf(v *run.View, tenant moat.Tenant, partner string, e moat.Entity) (keys []uint64, err error) {
	if !Keeps(e.Kind) {
		return nil, fmt.Errorf("cannot read diary of %s: %w", e.Kind, ErrKind)
	}
	if e.Kind == moat.Partner && partner == "" {
		partner = e.ID
	}
	partners := []string{partner}
	if own, one := tenant.Partner(); partner == "" && one {
		partners[0] = own
	}
	if partners[0] != "" && !tenant.Sees(partners[0]) {
		return nil, fmt.Errorf("cannot read diary: %w", ErrTenant)
	}
	switch {
	case tenant == (moat.Tenant{}):
		return nil, nil
	case partners[0] == "":
		partners = v.Partners()
	}
	for _, p := range partners {
		keys = append(keys, d.key(p, e.Kind, e.ID))
	}
	return keys, nil
}

// Page is part of a diary.
type Page struct {
	Touches []Touch `json:"touches"`        // newest first
	Next    string  `json:"next,omitempty"` // cursor of the next page; "" at the end
	// Damaged is the number of runs that could not be read: if it is not 0,
	// touches may be missing.
	Damaged int `json:"damaged,omitempty"`
}

// Entity returns a page of at most limit touches, [MaxPage] if limit is 0 or
// more than that, the newest first. cursor is "" or the Next of the page before.
func (d *Diary) Entity(ctx context.Context, tenant moat.Tenant, q Query, limit int, cursor string) (*Page, error) {
	var before *Touch
	if cursor != "" {
		t, err := parseCursor(cursor)
		if err != nil {
			return nil, err
		}
		before = &t
	}
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	v, keys, err := d.open(ctx, tenant, &q)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	touches, more, err := v.Newest(ctx, tenant, keys, q.From, q.To, before, limit)
	if err != nil {
		return nil, fmt.Errorf("cannot read diary: %w", err)
	}
	p := &Page{Touches: touches, Damaged: v.Damaged()}
	if more && len(touches) > 0 {
		p.Next = cursorOf(&touches[len(touches)-1])
	}
	return p, nil
}

// Each calls fn for each event of the entity, in no order and without limit.
// The row is valid during the call. It stops with the error that fn returns.
// damaged is how many runs could not be read.
func (d *Diary) Each(ctx context.Context, tenant moat.Tenant, q Query, fn func(r *run.Row) error) (damaged int, err error) {
	v, keys, err := d.open(ctx, tenant, &q)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	if err = v.Each(ctx, tenant, keys, q.From, q.To, func(_ int, r *run.Row) error { return fn(r) }); err != nil {
		return 0, fmt.Errorf("cannot read diary: %w", err)
	}
	return v.Damaged(), nil
}

// Owned is an entity of a partner; a Partner of "" means every partner that the tenant sees.
type Owned struct {
	Partner string
	Entity  moat.Entity
}

// EachOf is [Diary.Each] for many entities at once: i is the place of the
// entity in list. An event that names two of them comes once for each.
func (d *Diary) EachOf(ctx context.Context, tenant moat.Tenant, list []Owned, from, to moat.Time,
	fn func(i int, r *run.Row) error) (damaged int, err error) {
	v, keys, place, err := d.openAll(ctx, tenant, list)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	err = v.Each(ctx, tenant, keys, from, to, func(k int, r *run.Row) error {
		for _, i := range place[keys[k]] {
			if err := fn(i, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("cannot read diary: %w", err)
	}
	return v.Damaged(), nil
}

// Counts returns how many events of all time each entity has. It reads none of
// them, so it is cheap also for an app that has millions.
func (d *Diary) Counts(ctx context.Context, tenant moat.Tenant, list []Owned) ([]int64, error) {
	v, keys, place, err := d.openAll(ctx, tenant, list)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	byKey, err := v.Counts(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("cannot read diary: %w", err)
	}
	n := make([]int64, len(list))
	for k, key := range keys {
		for _, i := range place[key] {
			n[i] += byKey[k]
		}
	}
	return n, nil
}

// openAll is open for many entities: it returns their keys, sorted and each
// once, and which entities each stands for.
func (d *Diary) openAll(ctx context.Context, tenant moat.Tenant, list []Owned) (v *run.View, keys []uint64, place map[uint64][]int, err error) {
	place = map[uint64][]int{}
	if v, err = d.set.View(); err != nil {
		return nil, nil, nil, fmt.Errorf("cannot read diary: %w", err)
	}
	for i, o := range list {
		own, err := d.keysOf(v, tenant, o.Partner, o.Entity)
		if err != nil {
			v.Close()
			return nil, nil, nil, err
		}
		for _, k := range own {
			place[k] = append(place[k], i)
		}
	}
	return v, slices.Sorted(maps.Keys(place)), place, nil
}

// EachIn is [Diary.Each] with n goroutines: fn is called by all of them at the same time, each with
// its number below n. Damaged runs count once.
func (d *Diary) EachIn(ctx context.Context, tenant moat.Tenant, q Query, n int, fn func(worker int, r *run.Row) error) (damaged int, err error) {
	v, keys, err := d.open(ctx, tenant, &q)
	if err != nil {
		return 0, err
	}
	defer v.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	shares := v.Split(n)
	var group sync.WaitGroup
	for i, share := range shares {
		group.Go(func() {
			defer share.Close()
			if err := share.Each(ctx, tenant, keys, q.From, q.To, func(_ int, r *run.Row) error { return fn(i, r) }); err != nil {
				cancel(err)
			}
		})
	}
	group.Wait()
	for _, share := range shares {
		damaged = max(damaged, share.Damaged())
	}
	if err := context.Cause(ctx); err != nil {
		return 0, fmt.Errorf("cannot read diary: %w", err)
	}
	return damaged, nil
}

// A cursor is the time and place of the last touch of a page.

func cursorOf(t *Touch) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(t.Time))
	b = binary.BigEndian.AppendUint32(b, uint32(t.At.Partition))
	b = binary.BigEndian.AppendUint64(b, t.At.Seq)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, t.At.Row))
}

func parseCursor(s string) (t Touch, err error) {
	if len(s) > 64 {
		return t, fmt.Errorf("cannot read diary: %w", ErrCursor)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 24 || b[0] > 0x7f {
		return t, fmt.Errorf("cannot read diary: %w", ErrCursor)
	}
	t.Time = moat.Time(binary.BigEndian.Uint64(b))
	t.At = run.At{Partition: int(binary.BigEndian.Uint32(b[8:])), Seq: binary.BigEndian.Uint64(b[12:]), Row: binary.BigEndian.Uint32(b[20:])}
	return t, nil
}
