package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/locate/canary"
	"github.com/moat-platform/moat/locate/story"
	"github.com/moat-platform/moat/locate/trace"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// ErrNotServed says that no server has the data folder open, or none that answers.
var ErrNotServed = errors.New("no server runs on this data folder")

// Client calls a server. Its methods may be called at the same time. What the server refuses they
// return as an [*Error], which [errors.Is] the book's error that it stands for.
type Client struct {
	base string
	key  string
	http *http.Client
}

// maxAnswer bounds the answers that a client reads, in bytes.
const maxAnswer = 256 << 20

// NewClient returns a client of the server at base, such as http://moat.example:8080, with the text of a key.
func NewClient(base, key string) *Client {
	return &Client{base: base, key: key, http: &http.Client{Timeout: time.Minute}}
}

// Dial returns a client of the server that has the data folder dir open, with all that the operator
// may do; or [ErrNotServed].
func Dial(ctx context.Context, dir string) (*Client, error) {
	at, err := readLocal(filepath.Join(dir, localFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotServed
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read how to reach the server: %w", err)
	}
	if host, _, err := net.SplitHostPort(at.Address); err != nil || !loopback(at.Address) {
		return nil, fmt.Errorf("cannot reach the server at %.64q: it is not on this machine", host)
	}
	c := NewClient("http://"+at.Address, at.Key)
	probe, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	// With the key: another program may have the port by now, and a server that is gone left the file.
	if err := c.do(probe, http.MethodGet, "/v1/partners", url.Values{"limit": {"1"}}, nil, nil); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w (%s is a dead server's: %v)", ErrNotServed, localFile, err)
	}
	return c, nil
}

// do calls one route and reads the answer into out.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, in, out any) error {
	answer, err := c.send(ctx, method, path, query, in)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("cannot read answer of %s: %w", path, err)
	}
	return nil
}

// send calls one route. An answer that says no is an error; another has a body that must be closed.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		var b bytes.Buffer
		if err := encode(&b, in); err != nil {
			return nil, fmt.Errorf("cannot call %s: %w", path, err)
		}
		body = &b
	}
	whole := path
	if len(query) > 0 {
		whole += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+whole, body)
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", path, err)
	}
	r.Header.Set("Authorization", "Bearer "+c.key)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("cannot call %s: %w", path, err)
	}
	if answer.StatusCode < 300 {
		return answer, nil
	}
	defer answer.Body.Close()
	no := errorAnswer{}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&no); err != nil || no.Error == nil {
		return nil, fmt.Errorf("cannot call %s: answered %s", path, answer.Status)
	}
	no.Error.Status = answer.StatusCode
	if s, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil {
		no.Error.RetryAfter = time.Duration(s) * time.Second
	}
	return nil, no.Error
}

// valuesOf writes q as the parameters that the lists read.
func valuesOf(q book.Query) url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	set("partner", q.Partner)
	if q.Entity != (moat.Entity{}) {
		set("entity", q.Entity.String())
	}
	set("detector", q.Detector)
	set("campaign", q.Campaign)
	set("case", q.Case)
	if q.Rank != moat.NoRank {
		set("rank", q.Rank.String())
	}
	set("state", string(q.State))
	set("scope", q.Scope)
	set("value", q.Value)
	set("active", q.Active.String())
	if q.Waiting {
		set("waiting", "true")
	}
	set("object", q.Object)
	set("order", q.Order)
	set("kind", q.Kind)
	set("reporter", q.Reporter)
	set("channel", q.Channel)
	set("planted", q.Planted)
	set("since", q.Since.String())
	set("until", q.Until.String())
	if q.Limit != 0 {
		set("limit", strconv.Itoa(q.Limit))
	}
	set("cursor", q.After)
	return v
}

// pageOf calls a list.
func pageOf[T any](ctx context.Context, c *Client, path string, q book.Query) ([]T, string, error) {
	var p Page[T]
	err := c.do(ctx, http.MethodGet, path, valuesOf(q), nil, &p)
	return p.Items, p.Next, err
}

// get calls a route that answers a T.
func get[T any](ctx context.Context, c *Client, method, path string, query url.Values, in any) (T, error) {
	var out T
	err := c.do(ctx, method, path, query, in, &out)
	return out, err
}

// segment writes text as one segment of a path; a lone dot or two would be a way.
func segment(s string) string {
	if s == "." || s == ".." {
		return strings.ReplaceAll(s, ".", "%2E")
	}
	return url.PathEscape(s)
}

// Findings is [book.Book.Findings] over the network, as Cases, Decisions and Audit are of theirs.
func (c *Client) Findings(ctx context.Context, q book.Query) ([]moat.Finding, string, error) {
	return pageOf[moat.Finding](ctx, c, "/v1/findings", q)
}

// Cases returns one page of cases, the latest opened first, and the cursor of the next page.
func (c *Client) Cases(ctx context.Context, q book.Query) ([]moat.Case, string, error) {
	return pageOf[moat.Case](ctx, c, "/v1/cases", q)
}

// Case returns a case with its timeline and its decisions.
func (c *Client) Case(ctx context.Context, id string) (CaseFile, error) {
	return get[CaseFile](ctx, c, http.MethodGet, "/v1/cases/"+segment(id), nil, nil)
}

// Timeline returns what happened in a case, step by step.
func (c *Client) Timeline(ctx context.Context, id string) (*story.Story, error) {
	return get[*story.Story](ctx, c, http.MethodGet, "/v1/cases/"+segment(id)+"/timeline", nil, nil)
}

// Campaigns returns one page of campaigns, the latest opened first, and the cursor of the next page.
func (c *Client) Campaigns(ctx context.Context, q book.Query) ([]moat.Campaign, string, error) {
	return pageOf[moat.Campaign](ctx, c, "/v1/campaigns", q)
}

// Judge writes down what a case was found to be, or with campaign all cases of its campaign.
func (c *Client) Judge(ctx context.Context, id string, v moat.Verdict, campaign bool) (moat.Case, error) {
	return c.work(ctx, id, "verdict", campaign, map[string]any{"verdict": v})
}

// CloseCase closes a case, or all of its campaign.
func (c *Client) CloseCase(ctx context.Context, id string, campaign bool) (moat.Case, error) {
	return c.work(ctx, id, "close", campaign, map[string]any{})
}

// ReopenCase opens a closed case again, or all of its campaign.
func (c *Client) ReopenCase(ctx context.Context, id string, campaign bool) (moat.Case, error) {
	return c.work(ctx, id, "reopen", campaign, map[string]any{})
}

// AssignCase gives a case, or all of its campaign, to owner; "" takes it from everyone.
func (c *Client) AssignCase(ctx context.Context, id, owner string, campaign bool) (moat.Case, error) {
	return c.work(ctx, id, "assign", campaign, map[string]any{"owner": owner})
}

func (c *Client) work(ctx context.Context, id, act string, campaign bool, in map[string]any) (moat.Case, error) {
	if campaign {
		in["campaign"] = true
	}
	return get[moat.Case](ctx, c, http.MethodPost, "/v1/cases/"+segment(id)+"/"+act, nil, in)
}

// Snoozes returns one page of snoozes, the latest first, and the cursor of the next page.
func (c *Client) Snoozes(ctx context.Context, q book.Query) ([]book.Snooze, string, error) {
	return pageOf[book.Snooze](ctx, c, "/v1/snoozes", q)
}

// Snooze makes a snooze.
func (c *Client) Snooze(ctx context.Context, n NewSnooze) (book.Snooze, error) {
	return get[book.Snooze](ctx, c, http.MethodPost, "/v1/snoozes", nil, n)
}

// Wake ends a snooze now.
func (c *Client) Wake(ctx context.Context, id string) (book.Snooze, error) {
	return get[book.Snooze](ctx, c, http.MethodDelete, "/v1/snoozes/"+segment(id), nil, nil)
}

// Promote lets a detector that was demoted bring decisions again.
func (c *Client) Promote(ctx context.Context, detector string) (Worth, error) {
	return get[Worth](ctx, c, http.MethodPost, "/v1/detectors/"+segment(detector)+"/promote", nil, nil)
}

// Decisions returns one page of decisions, the latest first, and the cursor of the next page.
func (c *Client) Decisions(ctx context.Context, q book.Query) ([]moat.Decision, string, error) {
	return pageOf[moat.Decision](ctx, c, "/v1/decisions", q)
}

// Decision returns a decision and who approved it.
func (c *Client) Decision(ctx context.Context, id string) (DecisionFile, error) {
	return get[DecisionFile](ctx, c, http.MethodGet, "/v1/decisions/"+segment(id), nil, nil)
}

// Decide makes a decision by hand.
func (c *Client) Decide(ctx context.Context, n NewDecision) (moat.Decision, error) {
	return get[moat.Decision](ctx, c, http.MethodPost, "/v1/decisions", nil, n)
}

// Undo ends a decision now.
func (c *Client) Undo(ctx context.Context, id string) (moat.Decision, error) {
	return get[moat.Decision](ctx, c, http.MethodDelete, "/v1/decisions/"+segment(id), nil, nil)
}

// Approve adds the caller's approval to a decision that waits for it.
func (c *Client) Approve(ctx context.Context, id string) (moat.Decision, error) {
	return get[moat.Decision](ctx, c, http.MethodPost, "/v1/decisions/"+segment(id)+"/approve", nil, nil)
}

// Orders returns who touched orders.
func (c *Client) Orders(ctx context.Context, q OrdersQuestion) (Orders, error) {
	return get[Orders](ctx, c, http.MethodPost, "/v1/orders", nil, q)
}

// Complaints returns one page of complaints, the latest first, and the cursor of the next page.
func (c *Client) Complaints(ctx context.Context, q book.Query) (Complaints, error) {
	return get[Complaints](ctx, c, http.MethodGet, "/v1/complaints", valuesOf(q), nil)
}

// File files complaints.
func (c *Client) File(ctx context.Context, in NewComplaints) (node.Filed, error) {
	return get[node.Filed](ctx, c, http.MethodPost, "/v1/complaints", nil, in)
}

// Trace looks for the sources of a leak.
func (c *Client) Trace(ctx context.Context, q TraceQuestion) (trace.Answer, error) {
	return get[trace.Answer](ctx, c, http.MethodPost, "/v1/traces", nil, q)
}

// Canaries returns one page of lots of canaries, the latest first, and the cursor of the next page.
func (c *Client) Canaries(ctx context.Context, q book.Query) ([]canary.Lot, string, error) {
	return pageOf[canary.Lot](ctx, c, "/v1/canaries", q)
}

// Canary returns a lot with its values.
func (c *Client) Canary(ctx context.Context, id string) (node.Planted, error) {
	return get[node.Planted](ctx, c, http.MethodGet, "/v1/canaries/"+segment(id), nil, nil)
}

// PlaceCanaries plants canaries.
func (c *Client) PlaceCanaries(ctx context.Context, in NewCanaries) (node.Planted, error) {
	return get[node.Planted](ctx, c, http.MethodPost, "/v1/canaries", nil, in)
}

// CheckCanaries asks which values are canaries.
func (c *Client) CheckCanaries(ctx context.Context, q CanaryQuestion) (CanaryAnswer, error) {
	return get[CanaryAnswer](ctx, c, http.MethodPost, "/v1/canaries/check", nil, q)
}

// EntityQuestion asks what is known of an entity. Kind and ID are required.
type EntityQuestion struct {
	Kind, ID  string
	Partner   string    // "" = all that the caller sees; then no risk is told
	Since, To moat.Time // the window of the diary; 0 = open
	At        moat.Time // of the risk; 0 = now
	Limit     int       // of the page; 0 = 100
	After     string    // cursor
	Details   bool      // tell what each touch was about
}

// Entity returns what is known of an entity.
func (c *Client) Entity(ctx context.Context, q EntityQuestion) (EntityFile, error) {
	v := valuesOf(book.Query{Partner: q.Partner, Since: q.Since, Until: q.To, Limit: q.Limit, After: q.After})
	if q.At != 0 {
		v.Set("at", q.At.String())
	}
	if q.Details {
		v.Set("details", "true")
	}
	return get[EntityFile](ctx, c, http.MethodGet, "/v1/entities/"+segment(q.Kind)+"/"+segment(q.ID), v, nil)
}

// Ask asks how risky an act is.
func (c *Client) Ask(ctx context.Context, e *moat.Event) (node.Answer, error) {
	return get[node.Answer](ctx, c, http.MethodPost, "/v1/risk", nil, e)
}

// Audit returns one page of the audit trail, newest first, and the cursor of the next page.
func (c *Client) Audit(ctx context.Context, q book.Query) ([]book.Record, string, error) {
	return pageOf[book.Record](ctx, c, "/v1/audit", q)
}

// VerifyAudit has the server read the whole audit trail.
func (c *Client) VerifyAudit(ctx context.Context) (Vouched, error) {
	return get[Vouched](ctx, c, http.MethodGet, "/v1/audit/verify", nil, nil)
}

// Stats returns what the server did since it was started.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return get[Stats](ctx, c, http.MethodGet, "/v1/stats", nil, nil)
}

// Detectors lists the detectors as they run.
func (c *Client) Detectors(ctx context.Context) ([]Detector, error) {
	items, _, err := pageOf[Detector](ctx, c, "/v1/detectors", book.Query{})
	return items, err
}

// Indicators lists the sources of what is known of networks and programs.
func (c *Client) Indicators(ctx context.Context) ([]Indicator, error) {
	items, _, err := pageOf[Indicator](ctx, c, "/v1/indicators", book.Query{})
	return items, err
}

// Partners returns one page of partners, newest first, and the cursor of the next page.
func (c *Client) Partners(ctx context.Context, q book.Query) ([]PartnerFile, string, error) {
	return pageOf[PartnerFile](ctx, c, "/v1/partners", q)
}

// CreatePartner makes a partner.
func (c *Client) CreatePartner(ctx context.Context, n NewPartner) (book.Partner, error) {
	return get[book.Partner](ctx, c, http.MethodPost, "/v1/partners", nil, n)
}

// Keys returns one page of keys, newest first, and the cursor of the next page.
func (c *Client) Keys(ctx context.Context, q book.Query) ([]book.Key, string, error) {
	return pageOf[book.Key](ctx, c, "/v1/keys", q)
}

// CreateKey makes a key and shows its text, once.
func (c *Client) CreateKey(ctx context.Context, n NewKey) (ShownKey, error) {
	return get[ShownKey](ctx, c, http.MethodPost, "/v1/keys", nil, n)
}

// RevokeKey ends a key for good.
func (c *Client) RevokeKey(ctx context.Context, id string) (book.Key, error) {
	return get[book.Key](ctx, c, http.MethodDelete, "/v1/keys/"+segment(id), nil, nil)
}
