package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/run"
)

// canaries are those that the book knows, ready to be found in events.
type canaries struct {
	mu    sync.Mutex // of placing and loading
	index atomic.Pointer[canary.Index]
	key   canary.Key
}

func (n *Node) openCanaries(ctx context.Context) (err error) {
	if n.canaries.key, err = canary.NewKey([]byte(book.Secret(n.Master, "canaries"))); err != nil {
		return err
	}
	return n.loadCanaries(ctx)
}

// loadCanaries takes up what this or another process placed.
func (n *Node) loadCanaries(ctx context.Context) error {
	n.canaries.mu.Lock()
	defer n.canaries.mu.Unlock()
	x, err := readCanaries(ctx, n.Book, n.canaries.key, n.canaries.index.Load())
	if err == nil {
		n.canaries.index.Store(x)
	}
	return err
}

// readCanaries returns old if the book has no other lots than it.
func readCanaries(ctx context.Context, b *book.Book, key canary.Key, old *canary.Index) (*canary.Index, error) {
	var lots []canary.Lot
	for row, err := range b.AllCanaries(ctx, moat.Everyone(), book.Query{}) {
		if err != nil {
			return nil, err
		}
		l, err := lotOf(row)
		if err != nil {
			return nil, err
		}
		lots = append(lots, l)
	}
	if old != nil && len(old.Lots()) == len(lots) {
		return old, nil
	}
	return canary.NewIndex(key, lots)
}

// ReadCanaries returns the canaries of a data folder that no node has open.
func ReadCanaries(ctx context.Context, dir string, b *book.Book) (*canary.Index, error) {
	master, err := masterOf(dir)
	if err != nil {
		return nil, err
	}
	key, err := canary.NewKey([]byte(book.Secret(master, "canaries")))
	if err != nil {
		return nil, err
	}
	return readCanaries(ctx, b, key, nil)
}

func lotOf(row book.CanaryLot) (l canary.Lot, err error) {
	if err := json.Unmarshal(row.Body, &l); err != nil {
		return l, fmt.Errorf("cannot read canaries %s: %w", row.ID, err)
	}
	return l, nil
}

// Planted is a lot with its values.
type Planted struct {
	canary.Lot
	Values []string `json:"values"`
}

// PlaceCanaries plants canaries: it chooses numbers whose values are nobody's, writes the lot down and from then on knows the values in
// every event. A partner places for itself alone. First, Skip, ID, Owner and Placed are filled in; a period that is not given is the month.
func (n *Node) PlaceCanaries(ctx context.Context, t moat.Tenant, l canary.Lot, by string, now moat.Time) (Planted, error) {
	if own, one := t.Partner(); one {
		if l.Partner = cmp.Or(l.Partner, own); l.Partner != own {
			return Planted{}, fmt.Errorf("cannot place canaries: %w", book.ErrNotFound)
		}
		l.Owner = own
	} else {
		l.Owner = ""
	}
	l.Period, l.Placed = cmp.Or(l.Period, now.Std().Format("2006-01")), now
	if err := l.Check(); err != nil {
		return Planted{}, invalidLot(err)
	}
	if _, err := n.Book.Partner(ctx, moat.Everyone(), l.Partner); err != nil {
		return Planted{}, fmt.Errorf("cannot place canaries: %w", err)
	}
	n.canaries.mu.Lock()
	defer n.canaries.mu.Unlock()
	x, err := readCanaries(ctx, n.Book, n.canaries.key, n.canaries.index.Load())
	if err != nil {
		return Planted{}, err
	}
	if err := x.Fit(&l, func(values []string) (map[string]bool, error) { return n.inUse(ctx, l.Kind, values) }); err != nil {
		return Planted{}, invalidLot(err)
	}
	l.ID = moat.LotID(l.Owner, l.Partner, l.Channel, l.Period, string(l.Kind), l.First)
	if x, err = x.With(l); err != nil {
		return Planted{}, invalidLot(err)
	}
	body, err := json.Marshal(l)
	if err != nil {
		return Planted{}, fmt.Errorf("cannot place canaries: %w", err)
	}
	err = n.Book.PlaceCanaries(ctx, t, book.CanaryLot{ID: l.ID, Owner: l.Owner, Partner: l.Partner, Channel: l.Channel, Period: l.Period, Kind: string(l.Kind), Placed: l.Placed, Body: body}, by)
	if err != nil {
		return Planted{}, err
	}
	n.canaries.index.Store(x)
	return Planted{l, x.Values(&l)}, nil
}

func invalidLot(err error) error {
	if errors.Is(err, canary.ErrLot) || errors.Is(err, canary.ErrFull) {
		return fmt.Errorf("%w: %w", book.ErrInvalid, err)
	}
	return err
}

// inUse tells which ids are real: orders that an event named.
func (n *Node) inUse(ctx context.Context, k canary.Kind, values []string) (map[string]bool, error) {
	used := map[string]bool{}
	if k != canary.Order {
		return used, nil
	}
	_, err := n.Ledger.Each(ctx, moat.Everyone(), values, 0, 0, func(i int, _ *run.Row) error {
		used[values[i]] = true
		return nil
	})
	return used, err
}

// Lots returns one page of lots, the latest first.
func (n *Node) Lots(ctx context.Context, t moat.Tenant, q book.Query) ([]canary.Lot, string, error) {
	rows, next, err := n.Book.Canaries(ctx, t, q)
	if err != nil {
		return nil, "", err
	}
	lots := make([]canary.Lot, len(rows))
	for i := range rows {
		if lots[i], err = lotOf(rows[i]); err != nil {
			return nil, "", err
		}
	}
	return lots, next, nil
}

// Lot returns one lot with its values.
func (n *Node) Lot(ctx context.Context, t moat.Tenant, id string) (Planted, error) {
	row, err := n.Book.Canary(ctx, t, id)
	if err != nil {
		return Planted{}, err
	}
	l, err := lotOf(row)
	return Planted{l, n.canaries.index.Load().Values(&l)}, err
}

// Canary tells what an order, phone, address or credential is planted as; only what t may see.
type Canary struct {
	Kind    canary.Kind `json:"kind"`
	Partner string      `json:"partner"`
	Channel string      `json:"channel"`
	Period  string      `json:"period"`
	Lot     string      `json:"lot"`
	Number  int         `json:"number"`
	Token   string      `json:"token"` // names it in events and findings
}

// FindCanary looks a value up, of one kind or of any ("").
func (n *Node) FindCanary(t moat.Tenant, k canary.Kind, value string) (Canary, bool) {
	return LookCanary(n.canaries.index.Load(), t, k, value)
}

// LookCanary is [Node.FindCanary] in an index.
func LookCanary(x *canary.Index, t moat.Tenant, k canary.Kind, value string) (Canary, bool) {
	for _, h := range hits(x, k, value) {
		if mayKnow(t, h) {
			return knownAs(x, h), true
		}
	}
	return Canary{}, false
}

func knownAs(x *canary.Index, h canary.Hit) Canary {
	return Canary{h.Lot.Kind, h.Lot.Partner, h.Lot.Channel, h.Lot.Period, h.Lot.ID, h.N, x.Token(h)}
}

// hits are the canaries that a value is, of one kind or of any ("").
func hits(x *canary.Index, k canary.Kind, value string) (list []canary.Hit) {
	for _, kind := range canary.Kinds {
		if k == "" || k == kind {
			list = append(list, x.Find(kind, value)...)
		}
	}
	return list
}

// mayKnow tells whether t may know of a canary: the operator of all, a partner of those that it placed itself.
func mayKnow(t moat.Tenant, h canary.Hit) bool {
	own, one := t.Partner()
	return !one || own != "" && h.Lot.Owner == own
}

// ReportCanary writes down that a canary was used outside of what events tell (its phone rang, a letter came), for the channel that it
// was planted in. Each value that t may see gives one event a day.
func (n *Node) ReportCanary(ctx context.Context, t moat.Tenant, k canary.Kind, value string, now moat.Time) (Canary, bool, error) {
	x := n.canaries.index.Load()
	found := hits(x, k, value)
	i := slices.IndexFunc(found, func(h canary.Hit) bool { return mayKnow(t, h) })
	if i < 0 {
		return Canary{}, false, nil
	}
	h := found[i]
	day := now / moat.Day * moat.Day
	e := &moat.Event{Partner: seenAt(h.Lot.Partner, h.Lot), Time: now, Received: now, Type: moat.CanaryTouch, Operation: "report", Token: x.Token(h), Channel: h.Lot.Channel,
		Kind: string(h.Lot.Kind), Verdict: string(canary.Used), Count: 1, Extra: about(h.Lot.Partner)}
	e.ID = moat.TouchID(e.Token, h.Lot.Partner, "report "+day.String())
	if h.Lot.Kind == canary.Order {
		e.Orders = []string{value}
	}
	e.MarkAll()
	var w moat.BatchWriter
	w.Append(e)
	_, err := n.River.Append(ctx, n.River.PartitionOf(e.Partner), w.Bytes())
	return knownAs(x, h), true, err
}

// touches calls put for what the use of canaries in an event means: once for each canary at the partner that it was planted at and, if
// that is another, once at the event's own, where the operator reads which canary it was and where it stood. Neither partner learns of the other. A partner sees what became of those that it planted itself; all else
// is kept under [moat.Veiled] names, for the operator alone.
func (n *Node) touches(e *moat.Event, put func(*moat.Event)) {
	x := n.canaries.index.Load()
	if x.Len() == 0 || e.Type == moat.CanaryTouch {
		return
	}
	for _, o := range e.Orders {
		for _, h := range x.Find(canary.Order, o) {
			n.touched(x, h, o, e, put)
		}
	}
	if e.Type == moat.Complaint { // its actor complains, and is none that is tried
		return
	}
	for _, h := range x.Find(canary.Credential, e.Actor) {
		n.touched(x, h, "", e, put)
	}
	if e.KeyID != e.Actor {
		for _, h := range x.Find(canary.Credential, e.KeyID) {
			n.touched(x, h, "", e, put)
		}
	}
}

// seenAt is the name under which it is kept at a partner what became of a canary.
func seenAt(partner string, l *canary.Lot) string {
	if partner != "" && partner == l.Owner {
		return partner
	}
	return moat.Veiled(partner)
}

// touched makes the events of one canary that was used.
func (n *Node) touched(x *canary.Index, h canary.Hit, order string, e *moat.Event, put func(*moat.Event)) {
	crawler := false
	if e.UserAgent != "" {
		_, crawler = n.Indicators.Table().Crawler(e.UserAgent)
	}
	verdict := canary.Touch(h.Lot, e, crawler)
	if verdict == canary.Normal {
		return
	}
	token := x.Token(h)
	t := moat.Event{Time: e.Time, Received: e.Received, Flags: e.Flags, Type: moat.CanaryTouch, Operation: cmp.Or(e.Operation, e.Type.String()), Outcome: e.Outcome,
		Token: token, Kind: string(h.Lot.Kind), Verdict: string(verdict), Count: max(1, e.Touched())}
	if order != "" {
		t.Orders = []string{order}
	}
	planted := t
	planted.Partner, planted.Channel, planted.Extra = seenAt(h.Lot.Partner, h.Lot), h.Lot.Channel, about(h.Lot.Partner)
	if e.Type == moat.Complaint { // it is about the order, whoever had it in hand: several partners are told of one complaint
		planted.Operation = cmp.Or(e.Kind, planted.Operation)
		planted.ID = moat.TouchID(token, h.Lot.Partner, moat.ComplaintID("", token, e.Kind, e.ContactedAt, e.Reporter, e.Channel))
		planted.MarkAll()
		put(&planted)
		return
	}
	source := t // where it was used
	source.Partner, source.ID, source.Extra = seenAt(e.Partner, h.Lot), moat.TouchID(token, e.Partner, e.ID), about(e.Partner)
	source.Actor, source.ActorKind, source.Role, source.App, source.Outlet, source.IP, source.Device, source.UserAgent, source.Session, source.Host, source.KeyID =
		e.Actor, e.ActorKind, e.Role, e.App, e.Outlet, e.IP, e.Device, e.UserAgent, e.Session, e.Host, e.KeyID
	if e.Type == moat.OrderTransmit {
		source.Destination, source.DestinationKind = e.Destination, e.DestinationKind
	}
	if e.Partner == h.Lot.Partner {
		source.Channel = h.Lot.Channel
		source.MarkAll()
		put(&source)
		return
	}
	source.Channel, source.Extra = stoodIn(h.Lot), foreign(e.Partner, h.Lot, cmp.Or(order, token)) // under a veiled name, which the operator alone reads
	source.MarkAll()
	put(&source)
	planted.ID = moat.TouchID(token, h.Lot.Partner, e.Partner+" "+e.ID)
	planted.MarkAll()
	put(&planted)
}

// stoodIn names a channel and its partner to whoever is not of that partner; the channel alone if there is no room for both.
func stoodIn(l *canary.Lot) string {
	if s := l.Channel + " of " + l.Partner; len(s) <= maxChannel {
		return s
	}
	return l.Channel
}

// about tells which partner an event is about whose own name may be veiled.
func about(partner string) string { return extra(map[string]string{"at": partner}) }

// foreign tells of a canary that was used at a partner other than its own which it was and where it stood.
func foreign(partner string, l *canary.Lot, what string) string {
	return extra(map[string]string{"at": partner, "what": what, "of": l.Channel + " of " + l.Partner})
}

func extra(members map[string]string) string {
	b, err := json.Marshal(members)
	if err != nil {
		panic("BUG: text cannot be written: " + err.Error())
	}
	return string(b)
}

// named brings a canary.touch that the operator sent into form: what it names by value becomes a token, what is not said follows, and nobody
// but the operator sees it. Of what Moat did not plant a token is made that tells one from the other and no value.
func (n *Node) named(e *moat.Event) {
	x := n.canaries.index.Load()
	found := hits(x, "", e.Token)
	value := e.Token
	for _, o := range e.Orders {
		if h := x.Find(canary.Order, o); len(h) > 0 && len(found) == 0 {
			found = h
		}
		value = cmp.Or(value, o)
	}
	partner, _ := moat.Unveiled(e.Partner)
	if len(found) > 0 {
		l := found[0].Lot
		e.Token, e.Channel, e.Kind, e.Verdict = x.Token(found[0]), cmp.Or(e.Channel, l.Channel), string(l.Kind), cmp.Or(e.Verdict, string(canary.Used))
		e.Partner, e.Extra = seenAt(l.Partner, l), about(l.Partner)
	} else {
		e.Token, e.Partner, e.Extra = n.canaries.key.Alien(value), moat.Veiled(partner), about(partner)
	}
	e.MarkAll()
}

// refreshCanaries is a part of keeping house.
func (n *Node) refreshCanaries(ctx context.Context) {
	if err := n.loadCanaries(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("canaries not refreshed", "error", err)
	}
}

// askCanaries adds to the findings about an act that asks what its canaries mean, of those that its partner planted itself: an answer must not tell that an
// order is another's canary. Their events follow when the question comes out of the log.
func (p *partition) askCanaries(e *moat.Event, found []moat.Finding) []moat.Finding {
	p.n.touches(e, func(t *moat.Event) {
		if t.Partner == e.Partner {
			found = append(found, p.engine.Ask(t)...)
		}
	})
	return found
}
