package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/discover/risk"
	"github.com/moat-platform/moat/ingest"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// What the operator runs the installation by.

// Stats is what a server did since it was started, and what it holds.
type Stats struct {
	Version   string     `json:"version"`
	Started   moat.Time  `json:"started"`
	Node      node.Stats `json:"node"`
	Ingest    Intake     `json:"ingest"`
	Questions int64      `json:"questions"` // answered
}

// Intake is what came in over /v1/events.
type Intake struct {
	Requests int64 `json:"requests"`
	Refused  int64 `json:"refused"` // answered other than 202
	Busy     int64 `json:"busy"`    // of these, answered 429
	Accepted int64 `json:"accepted"`
	Rejected int64 `json:"rejected"` // events, of batches that were accepted
	Bytes    int64 `json:"bytes"`    // after decompression
}

func intakeOf(s ingest.Stats) Intake {
	return Intake{Requests: s.Requests, Refused: s.Refused, Busy: s.Busy, Accepted: s.Accepted, Rejected: s.Rejected, Bytes: s.Bytes}
}

func (a *API) stats(ctx context.Context) (Stats, error) {
	n, err := a.node.Stats(ctx)
	return Stats{Version: a.version, Started: moat.TimeOf(a.started), Node: n, Ingest: intakeOf(a.events.Stats()), Questions: a.asked.Load()}, err
}

func (a *API) getStats(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	s, err := a.stats(c.ctx)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s)
}

// Health tells whether a server does all of its work.
type Health struct {
	Status  string   `json:"status"`  // ready or unready
	Reasons []string `json:"reasons"` // why it is unready
}

// health keeps the last answer for a second: everyone may ask, and asking stops every engine for a moment.
type health struct {
	mu sync.Mutex
	at time.Time
	Health
}

const (
	healthKept = time.Second
	healthFor  = 2 * time.Second
)

func (a *API) getHealth(c *call) error {
	a.health.mu.Lock()
	defer a.health.mu.Unlock()
	if age := time.Since(a.health.at); age > healthKept {
		// Not under the caller's context: the answer is for others too.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.r.Context()), healthFor)
		defer cancel()
		s, err := a.node.Stats(ctx)
		a.health.Health, a.health.at = healthOf(s, err), time.Now()
	}
	status := http.StatusOK
	if len(a.health.Reasons) > 0 {
		status = http.StatusServiceUnavailable
	}
	return c.json(status, a.health.Health)
}

// healthOf tells what is wrong, without what only the operator should read of it, such as paths.
func healthOf(s node.Stats, err error) Health {
	h := Health{Status: "ready", Reasons: []string{}}
	if err != nil {
		h.Reasons = append(h.Reasons, "a partition does not answer")
	}
	for _, p := range s.Partitions {
		if p.Warning != "" {
			reason, _, _ := strings.Cut(p.Warning, ":")
			h.Reasons = append(h.Reasons, reason)
		}
	}
	if len(h.Reasons) > 0 {
		h.Status = "unready"
	}
	return h
}

// PartnerFile is a partner with the risk of it.
type PartnerFile struct {
	book.Partner
	Risk risk.Standing `json:"risk"`
}

func (c *call) partnerFiles(partners []book.Partner) ([]PartnerFile, error) {
	standings, err := c.api.node.Standings(c.ctx, c.tenant(), partners, c.now())
	if err != nil {
		return nil, err
	}
	out := make([]PartnerFile, len(partners))
	for i, p := range partners {
		out[i] = PartnerFile{p, standings[i]}
	}
	return out, nil
}

func (a *API) getPartners(c *call) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	partners, next, err := a.node.Book.Partners(c.ctx, c.tenant(), q)
	if err != nil {
		return err
	}
	items, err := c.partnerFiles(partners)
	return list(c, items, next, err)
}

func (a *API) getPartner(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	p, err := a.node.Book.Partner(c.ctx, c.tenant(), c.r.PathValue("id"))
	if err != nil {
		return err
	}
	files, err := c.partnerFiles([]book.Partner{p})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, files[0])
}

// NewPartner is a partner to be made.
type NewPartner struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Edition string `json:"edition,omitempty"`
}

func (a *API) postPartner(c *call) error {
	var in NewPartner
	if err := c.read(&in); err != nil {
		return err
	}
	p, err := a.node.Book.CreatePartner(c.ctx, c.tenant(), book.Partner{ID: in.ID, Name: in.Name, Edition: in.Edition}, c.by())
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, p)
}

func (a *API) getKeys(c *call) error {
	q, err := c.query()
	if err != nil {
		return err
	}
	items, next, err := a.node.Book.Keys(c.ctx, c.tenant(), q)
	return list(c, items, next, err)
}

// NewKey is a key to be made: of a partner, of one of its apps, or of the operator.
type NewKey struct {
	Partner  string `json:"partner,omitempty"`
	App      string `json:"app,omitempty"`
	Operator bool   `json:"operator,omitempty"`
	Name     string `json:"name"`
}

// ShownKey is a new key with its text, which cannot be had again.
type ShownKey struct {
	book.Key
	Text string `json:"text"` // what a caller sends as bearer; what follows the last _ of it signs
}

func (a *API) postKey(c *call) error {
	var in NewKey
	if err := c.read(&in); err != nil {
		return err
	}
	k, text, err := a.node.Book.CreateKey(c.ctx, c.tenant(), a.node.Master, book.Key{Partner: in.Partner, App: in.App, Operator: in.Operator, Name: in.Name}, c.by())
	if err != nil {
		return err
	}
	a.forget(k.ID)
	return c.json(http.StatusCreated, ShownKey{k, text})
}

func (a *API) deleteKey(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	k, err := a.node.Book.RevokeKey(c.ctx, c.tenant(), c.r.PathValue("id"), c.by())
	if err != nil {
		return err
	}
	a.forget(k.ID)
	return c.json(http.StatusOK, k)
}

func (a *API) forget(key string) {
	a.guard.Forget(key)
	a.inner.Forget(key)
}

// Detector is one of the dimensions that are watched, as it runs. How it can be evaded is in its file and not here: a
// partner's staff may read this.
type Detector struct {
	ID             string    `json:"id"`
	Dimension      string    `json:"dimension"`
	Family         string    `json:"family"`
	Title          string    `json:"title"`
	Mode           moat.Mode `json:"mode"`
	On             []string  `json:"on"`
	Subject        string    `json:"subject"`
	Params         []Param   `json:"params"`
	Attack         []string  `json:"attack"`
	Doc            string    `json:"doc"`
	FalsePositives []string  `json:"false_positives"`
	Worth          Worth     `json:"worth"`
}

// Param is a number of a detector that the operator may change.
type Param struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Min   float64 `json:"min"`
	Max   float64 `json:"max"`
	Unit  string  `json:"unit,omitempty"`
	Doc   string  `json:"doc"`
}

func (a *API) getDetectors(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	items := make([]Detector, 0, len(a.node.Plan.Detectors))
	worth := c.worths()
	for _, d := range a.node.Plan.Detectors {
		v := Detector{ID: d.ID, Dimension: d.Dimension, Family: d.Family, Title: d.Title, Mode: d.Mode, On: []string{}, Subject: d.Subject.String(),
			Params: []Param{}, Attack: orEmpty(d.Attack), Doc: d.Doc, FalsePositives: orEmpty(d.FalsePositives), Worth: worth(d.ID, d.Mode)}
		for _, t := range d.On {
			v.On = append(v.On, t.String())
		}
		for _, p := range d.Params {
			v.Params = append(v.Params, Param{p.Name, p.Default, p.Min, p.Max, p.Unit, p.Doc})
		}
		items = append(items, v)
	}
	return list(c, items, "", nil)
}

// Indicator is one source of what is known of networks and programs.
type Indicator struct {
	Name    string `json:"name"`
	Licence string `json:"licence"`
	Date    string `json:"date"`
	Origin  string `json:"origin,omitempty"`
	Entries int    `json:"entries"`
	Bad     int    `json:"bad,omitempty"`     // lines that were passed over
	Refused string `json:"refused,omitempty"` // why its file was not taken
}

func (a *API) getIndicators(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	items := []Indicator{}
	for _, s := range a.node.Indicators.Table().Sources() {
		v := Indicator{s.Name, s.Licence, s.Date, s.Origin, s.Entries, s.Bad, s.Refused}
		if !c.id.Operator && v.Refused != "" {
			v.Refused = "its file was not taken" // the reason may name a path
		}
		items = append(items, v)
	}
	slices.SortFunc(items, func(a, b Indicator) int { return cmp.Compare(a.Name, b.Name) })
	return list(c, items, "", nil)
}
