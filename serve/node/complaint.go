package node

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/ingest/complaint"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/ledger"
	"github.com/moat-platform/moat/store/book"
	"github.com/moat-platform/moat/store/run"
)

// NewComplaint says that somebody misused the data of an order.
type NewComplaint struct {
	Order       string    `json:"order"`
	Kind        string    `json:"kind,omitempty"`        // scam_call, scam_sms, spam, fraud, other; of the operator dump; "" = other
	ContactedAt moat.Time `json:"contacted_at,omitzero"` // when the customer was contacted; 0 = unknown
	Reporter    string    `json:"reporter,omitempty"`    // who complains; only a keyed hash of it is kept
	Channel     string    `json:"channel,omitempty"`     // by which way the complaint came: hotline, app, shop, …
	// Unread, if it is not "", says why whoever read the complaint could not make out the rest: it is refused for that, and only looked at for what is planted.
	Unread string `json:"unread,omitempty"`
}

// MaxComplaints bounds one [Node.File]. A request brings fewer, but a file is filed in larger steps: the book
// writes each page of its indexes once a step, and complaints touch all of them.
const MaxComplaints = 1 << 14

// Filed is what became of complaints.
type Filed struct {
	New       int        `json:"new"`
	Duplicate int        `json:"duplicate"` // known before
	Unknown   int        `json:"unknown"`   // of orders that no event named, as far as the tenant sees
	Refused   int        `json:"refused"`
	Problems  []FiledBad `json:"problems"` // of the refused and the unknown, in the order of the list
	// Canaries are those of the list that name something planted, as far as the tenant may know: what is told by them leaked by their channel.
	Canaries []FiledCanary `json:"canaries,omitempty"`
}

// FiledCanary says that one complaint names a canary: its order, or a phone, an address or a credential in the place of the order.
type FiledCanary struct {
	Index int `json:"index"`
	Canary
}

// FiledBad says why one complaint was not taken.
type FiledBad struct {
	Index   int    `json:"index"`
	Code    string `json:"code"` // unknown, or of a [moat.Problem]
	Message string `json:"message"`
}

// Bounds of what a complaint says.
const (
	maxOrderID  = 128
	maxReporter = 256
	maxChannel  = 128
)

// check returns why the complaint is refused, or nil.
func (c *NewComplaint) check(operator bool, now moat.Time) *moat.Problem {
	bad := func(field, message string) *moat.Problem {
		return &moat.Problem{Code: moat.CodeValue, Field: field, Message: message}
	}
	switch {
	case c.Order == "":
		return &moat.Problem{Code: moat.CodeMissing, Field: "order", Message: "a complaint names its order"}
	case len(c.Order) > maxOrderID || strings.ContainsRune(c.Order, 0):
		return bad("order", fmt.Sprintf("an order id has at most %d bytes, none of them zero", maxOrderID))
	case !utf8.ValidString(c.Order + c.Reporter + c.Channel + c.Unread):
		return bad("order", "the text is not UTF-8")
	case c.Kind == book.DumpKind && !operator:
		return &moat.Problem{Code: moat.CodeForbidden, Field: "kind", Message: "only the operator files what was found in a dump"}
	case c.Kind != "" && c.Kind != book.DumpKind && !slices.Contains(complaint.Kinds[:], c.Kind):
		return bad("kind", fmt.Sprintf("%.40q is none of %s", c.Kind, strings.Join(complaint.Kinds[:], ", ")))
	case len(c.Reporter) > maxReporter:
		return bad("reporter", fmt.Sprintf("a reporter has at most %d bytes", maxReporter))
	case len(c.Channel) > maxChannel:
		return bad("channel", fmt.Sprintf("a channel has at most %d bytes", maxChannel))
	case c.Unread != "":
		return &moat.Problem{Code: moat.CodeValue, Message: strings.ToValidUTF8(c.Unread[:min(len(c.Unread), maxReporter)], "")}
	case c.ContactedAt > now+5*moat.Minute:
		return bad("contacted_at", "the contact is in the future")
	}
	return nil
}

// named is what a refused complaint names for sure: its order, contacted nobody knows when.
func (c *NewComplaint) named() (NewComplaint, bool) {
	if c.Order == "" || len(c.Order) > maxOrderID || strings.ContainsRune(c.Order, 0) || !utf8.ValidString(c.Order) {
		return NewComplaint{}, false
	}
	only := NewComplaint{Order: c.Order}
	if slices.Contains(complaint.Kinds[:], c.Kind) {
		only.Kind = c.Kind
	}
	return only, true
}

// File takes complaints in: it looks up through whose hands each order went, writes an event for each of these partners to
// the log, and returns when they are durable and in the book. A partner's complaints count for itself alone, and only about
// orders that its own events named; others are unknown to it. With partner the operator files for that one only. Filing the
// same again changes nothing. One that is refused but names something planted is told as that, as of now.
func (n *Node) File(ctx context.Context, t moat.Tenant, partner string, list []NewComplaint, now moat.Time) (Filed, error) {
	f := Filed{Problems: []FiledBad{}}
	own, one := t.Partner()
	if len(list) > MaxComplaints {
		return f, fmt.Errorf("cannot file complaints: %w: %d at once, at most %d", book.ErrInvalid, len(list), MaxComplaints)
	}
	if one && partner != "" && partner != own {
		return f, fmt.Errorf("cannot file complaints: %w", book.ErrNotFound)
	}
	mine := t
	if partner != "" {
		t = moat.Only(partner)
	}
	p, err := n.newClerk(now)
	if err != nil {
		return f, err
	}
	p.filedBy = own
	var rows, unseen [][]book.Complaint
	var good []int
	var orders []string
	for i := range list {
		if bad := list[i].check(!one, now); bad != nil {
			f.Refused++
			f.Problems = append(f.Problems, FiledBad{i, bad.Code, bad.Error()})
			if c, ok := list[i].named(); ok { // an alarm does not wait for the rest of the line
				planted, known := n.planted(p, mine, &c, nil)
				if known != nil {
					f.Canaries = append(f.Canaries, FiledCanary{i, *known})
				}
				unseen = append(unseen, planted)
			}
			continue
		}
		good, orders = append(good, i), append(orders, list[i].Order)
	}
	ways, err := n.ways(ctx, t, orders)
	if err != nil {
		return f, err
	}
	for _, i := range good {
		of := ways[list[i].Order]
		own := p.write(&list[i], of)
		planted, known := n.planted(p, mine, &list[i], own)
		if known != nil {
			f.Canaries = append(f.Canaries, FiledCanary{i, *known})
		}
		if len(of) > 0 || known != nil {
			rows = append(rows, append(own, planted...))
			continue
		}
		unseen = append(unseen, planted) // who may not know of a canary is told what is told of any unknown order
		f.Unknown++
		f.Problems = append(f.Problems, FiledBad{i, "unknown", "no event named this order"})
	}
	slices.SortFunc(f.Problems, func(a, b FiledBad) int { return a.Index - b.Index })
	slices.SortFunc(f.Canaries, func(a, b FiledCanary) int { return a.Index - b.Index })
	if err := n.send(ctx, moat.Everyone(), p, unseen, &Filed{}); err != nil {
		return f, fmt.Errorf("cannot file complaints: %w", err)
	}
	if err := n.send(ctx, moat.Everyone(), p, rows, &f); err != nil {
		return f, fmt.Errorf("cannot file complaints: %w", err)
	}
	return f, nil
}

// planted writes down that a complaint names canaries. Beside own, what is kept of the complaint itself, an order that no event named is kept at the
// partner that it was planted at, and a phone, address or credential by its token. It returns that, and the first canary that t may know of.
// What follows for a planted order is told when its complaint comes out of the log.
func (n *Node) planted(p *clerk, t moat.Tenant, c *NewComplaint, own []book.Complaint) (rows []book.Complaint, known *Canary) {
	x := n.canaries.index.Load()
	for _, h := range hits(x, "", c.Order) {
		if k := knownAs(x, h); known == nil && mayKnow(t, h) {
			known = &k
		}
		about := *c
		if h.Lot.Kind != canary.Order {
			about.Order = x.Token(h)
		} else if len(own) > 0 {
			continue
		}
		e := p.event(&about, h.Lot.Partner)
		e.Partner = seenAt(h.Lot.Partner, h.Lot)
		e.ID = moat.ComplaintID(e.Partner, about.Order, e.Kind, e.ContactedAt, e.Reporter, e.Channel)
		rows, p.events[e.ID] = append(rows, complaintOf(e)), []*moat.Event{e}
		if h.Lot.Kind != canary.Order {
			n.touched(x, h, "", e, func(touch *moat.Event) { p.events[e.ID] = append(p.events[e.ID], touch.Clone()) })
		}
	}
	return rows, known
}

// maxPut is about how many bytes of events go to the river at once.
const maxPut = 1 << 20

// send puts what is not known yet into the river and the book, in that order: what only the book had would never be
// judged, while what only the river has comes into the book with the fold.
func (n *Node) send(ctx context.Context, t moat.Tenant, p *clerk, rows [][]book.Complaint, f *Filed) error {
	var ids []string
	for _, of := range rows {
		for i := range of {
			ids = append(ids, of[i].ID)
		}
	}
	known, err := n.Book.KnownComplaints(ctx, t, ids)
	if err != nil {
		return err
	}
	var fresh []book.Complaint
	batches := make([]moat.BatchWriter, n.River.Partitions())
	put := func(i, most int) error {
		if batches[i].Size() <= most {
			return nil
		}
		defer batches[i].Reset()
		_, err := n.River.Append(ctx, i, batches[i].Bytes())
		return err
	}
	for _, of := range rows {
		isNew := false
		for i := range of {
			if known[of[i].ID] {
				continue
			}
			known[of[i].ID], isNew = true, true
			fresh = append(fresh, of[i])
			for _, ev := range p.events[of[i].ID] {
				part := n.River.PartitionOf(ev.Partner)
				batches[part].Append(ev)
				if err := put(part, maxPut); err != nil {
					return err
				}
			}
		}
		if isNew {
			f.New++
		} else {
			f.Duplicate++
		}
	}
	for i := range batches {
		if batches[i].Len() == 0 {
			continue
		}
		if err := put(i, 0); err != nil {
			return err
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	_, err = n.Book.AddComplaints(ctx, fresh)
	return err
}

// way is through whose hands an order went at one partner, the first first.
type way struct {
	partner                            string
	shops, apps, outlets, destinations []stop
}

type stop struct {
	id string
	at moat.Time // first
}

// maxStops bounds the stops of one sort on one way, and the events of one complaint.
const maxStops = 8

// ways returns the ways of orders, sorted by partner. What is said about an order afterwards is no hand that it went through.
func (n *Node) ways(ctx context.Context, t moat.Tenant, orders []string) (map[string][]*way, error) {
	found := map[string][]*way{}
	if len(orders) == 0 {
		return found, nil
	}
	_, err := n.Ledger.Each(ctx, t, orders, 0, 0, func(i int, r *run.Row) error {
		touch, err := r.Touch()
		if err != nil {
			return err
		}
		switch touch.Type {
		case moat.Complaint, moat.CanaryTouch, moat.DataDelete:
			return nil
		}
		var w *way
		for _, x := range found[orders[i]] {
			if x.partner == touch.Partner {
				w = x
			}
		}
		if w == nil {
			w = &way{partner: touch.Partner}
			found[orders[i]] = append(found[orders[i]], w)
		}
		w.take(&touch)
		return nil
	})
	for _, list := range found {
		slices.SortFunc(list, func(a, b *way) int { return strings.Compare(a.partner, b.partner) })
	}
	return found, err
}

func (w *way) take(t *ledger.Touch) {
	add := func(list *[]stop, id string) {
		if id == "" {
			return
		}
		if i := slices.IndexFunc(*list, func(s stop) bool { return s.id == id }); i >= 0 {
			(*list)[i].at = min((*list)[i].at, t.Time)
			return
		}
		*list = append(*list, stop{id, t.Time})
		slices.SortFunc(*list, func(a, b stop) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.id, b.id)) })
		*list = (*list)[:min(len(*list), maxStops)]
	}
	if len(t.Shops) == 1 { // of several shops nobody knows which the order is of
		add(&w.shops, t.Shops[0])
	}
	add(&w.apps, t.App)
	add(&w.outlets, t.Outlet)
	add(&w.destinations, t.Destination)
}

// clerk turns complaints into events.
type clerk struct {
	key     []byte
	normal  *ingest.Normaliser
	now     moat.Time
	filedBy string
	events  map[string][]*moat.Event // by the id of the complaint
}

func (n *Node) newClerk(now moat.Time) (*clerk, error) {
	normal, err := ingest.NewNormaliser(n.IngestKey())
	if err != nil {
		return nil, err
	}
	return &clerk{key: []byte(book.Secret(n.Master, "reporter")), normal: normal, now: now, events: map[string][]*moat.Event{}}, nil
}

var reporterText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// reporter hides who complains. A complaint of nobody in particular is its filer's if that is a partner; the
// operator vouches that each comes from the buyer of its order.
func (p *clerk) reporter(c *NewComplaint) string {
	who := "reporter\x00" + strings.ToLower(strings.TrimSpace(c.Reporter))
	switch {
	case strings.TrimSpace(c.Reporter) != "":
	case p.filedBy != "":
		who = "partner\x00" + p.filedBy
	default:
		who = "buyer\x00" + c.Order
	}
	mac := hmac.New(sha256.New, p.key)
	mac.Write([]byte(who))
	return "r_" + reporterText.EncodeToString(mac.Sum(nil)[:10])
}

// write makes the events of a complaint, and returns what the book keeps of it, for each way of its order.
func (p *clerk) write(c *NewComplaint, ways []*way) []book.Complaint {
	var rows []book.Complaint
	for _, w := range ways {
		first := p.event(c, w.partner)
		p.events[first.ID] = p.spread(first, w)
		rows = append(rows, complaintOf(first))
	}
	return rows
}

// event is the complaint as an event of a partner, before it is known which way its order took.
func (p *clerk) event(c *NewComplaint, partner string) *moat.Event {
	e := &moat.Event{ID: "k", Type: moat.Complaint, Partner: partner, Time: cmp.Or(c.ContactedAt, p.now), Orders: []string{c.Order},
		Kind: cmp.Or(c.Kind, "other"), ContactedAt: c.ContactedAt, Reporter: p.reporter(c), Channel: c.Channel}
	if p.filedBy != "" {
		b, err := json.Marshal(map[string]string{filedByName: p.filedBy})
		if err != nil {
			panic("BUG: text cannot be written: " + err.Error())
		}
		e.Extra = string(b)
	}
	e.MarkAll()
	// It takes personal data out of the channel; the event is within the contract.
	if err := p.normal.Normalise(e, ingest.Caller{Partner: partner, Operator: true}, p.now); err != nil {
		panic("BUG: a complaint is not within the contract: " + err.Error())
	}
	e = e.Clone()
	e.ID = moat.ComplaintID(partner, c.Order, e.Kind, c.ContactedAt, e.Reporter, e.Channel)
	return e
}

const filedByName = "filed_by"

// spread makes of a complaint the events that the statistics need: one entity of each sort is in an event, and an order may
// have passed through several. The first event is the complaint; the others, told by seq, only name further
// stops, each once. Stops after the contact had no part in it.
func (p *clerk) spread(first *moat.Event, w *way) []*moat.Event {
	before := func(list []stop) []string {
		var ids []string
		for _, s := range list {
			if first.ContactedAt == 0 || s.at <= first.ContactedAt {
				ids = append(ids, s.id)
			}
		}
		return ids
	}
	shops, apps, outlets, destinations := before(w.shops), before(w.apps), before(w.outlets), before(w.destinations)
	at := func(list []string, i int) string {
		if i < len(list) {
			return list[i]
		}
		return ""
	}
	var events []*moat.Event
	for i := range max(1, len(shops), len(apps), len(outlets), len(destinations)) {
		e := first.Clone()
		if e.App, e.Outlet, e.Destination = at(apps, i), at(outlets, i), at(destinations, i); i < len(shops) {
			e.Shops = []string{shops[i]}
		}
		if i > 0 {
			e.Seq, e.ID = int64(i), fmt.Sprintf("%s.%d", first.ID, i)
		}
		e.MarkAll()
		events = append(events, e)
	}
	return events
}

// complaintOf is what the book keeps of an event.
func complaintOf(e *moat.Event) book.Complaint {
	c := book.Complaint{ID: e.ID, Partner: e.Partner, Order: e.Orders[0], Kind: e.Kind, Time: e.Time, Filed: e.Received, Reporter: e.Reporter, Channel: e.Channel}
	var more map[string]any
	if e.Extra != "" && json.Unmarshal([]byte(e.Extra), &more) == nil {
		c.FiledBy, _ = more[filedByName].(string)
	}
	return c
}

// complaintsOf is what the book keeps of the complaints in a batch.
func complaintsOf(events []*moat.Event) (list []book.Complaint) {
	for _, e := range events {
		if e.Seq == 0 && len(e.Orders) > 0 {
			list = append(list, complaintOf(e))
		}
	}
	return list
}

// complain puts a complaint that came as an event into the form of those that were filed: an event for each order and each
// stop of its way at the partner that the event names, or at every partner whose hands the order went through if it names none. At a
// partner, orders that no event named stay without a way. Nowhere they cannot be put: the error, a [moat.Problem], names the first of them.
func (n *Node) complain(e *moat.Event, put func(*moat.Event)) error {
	of := moat.Everyone()
	if e.Partner != "" {
		of = moat.Only(e.Partner)
	}
	p, err := n.newClerk(e.Received)
	var ways map[string][]*way
	if err == nil {
		ways, err = n.ways(context.Background(), of, e.Orders)
	}
	switch {
	case err == nil:
	case e.Partner == "":
		n.log.Warn("a complaint was not placed", "error", err)
		return &moat.Problem{Code: moat.CodeMissing, Field: "partner", Message: "the way of its orders cannot be read: name the partner, or send it again"}
	default:
		n.log.Warn("a complaint was taken without the way of its orders", "error", err)
	}
	if p == nil {
		put(e)
		return nil
	}
	var strange []string
	for _, order := range e.Orders {
		c := NewComplaint{Order: order, Kind: e.Kind, ContactedAt: e.ContactedAt, Reporter: cmp.Or(e.Reporter, e.Actor), Channel: e.Channel}
		list := ways[order]
		if e.Partner != "" && len(list) == 0 {
			list = []*way{{partner: e.Partner}}
		}
		rows := p.write(&c, list)
		if e.Partner == "" {
			planted, _ := n.planted(p, of, &c, rows)
			rows = append(rows, planted...)
		}
		if len(rows) == 0 {
			strange = append(strange, order)
		}
		for i := range rows {
			for _, x := range p.events[rows[i].ID] {
				if c.ContactedAt == 0 {
					x.Time = e.Time
				}
				put(x)
			}
		}
	}
	if len(strange) > 0 {
		return &moat.Problem{Code: moat.CodeMissing, Field: "partner",
			Message: fmt.Sprintf("no event named %d of its orders (%d), such as %.40q: name their partner, or send the complaint again when their events are in", len(strange), len(e.Orders), strange[0])}
	}
	return nil
}
