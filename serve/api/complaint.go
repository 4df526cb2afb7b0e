package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/moat-platform/moat/ingest/complaint"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// Complaints is a page of complaints. Reporters and Warning are on the first page only.
type Complaints struct {
	Items     []book.Complaint `json:"items"`
	Next      string           `json:"next,omitempty"`
	Reporters *book.Reporters  `json:"reporters,omitempty"`
	Warning   string           `json:"warning,omitempty"`
}

func (a *API) getComplaints(c *call) error {
	q, err := c.query("order", "kind", "reporter")
	if err != nil {
		return err
	}
	if q.Kind != "" && q.Kind != book.DumpKind && !slices.Contains(complaint.Kinds[:], q.Kind) {
		return invalid("kind must be %s or %s", strings.Join(complaint.Kinds[:], ", "), book.DumpKind)
	}
	out := Complaints{}
	if q.After == "" {
		r, err := a.node.Book.Reporters(c.ctx, c.tenant(), q)
		if err != nil {
			return err
		}
		out.Reporters, out.Warning = &r, r.Warning()
	}
	if out.Items, out.Next, err = a.node.Book.Complaints(c.ctx, c.tenant(), q); err != nil {
		return err
	}
	out.Items = orEmpty(out.Items)
	return c.json(http.StatusOK, out)
}

// MaxComplaints bounds one request.
const MaxComplaints = 1000

// NewComplaints are complaints to be filed.
type NewComplaints struct {
	Partner    string              `json:"partner,omitempty"` // the operator may name it; else all whose hands the orders went through
	Complaints []node.NewComplaint `json:"complaints"`
}

func (a *API) postComplaints(c *call) error {
	var in NewComplaints
	if err := c.read(&in); err != nil {
		return err
	}
	if in.Partner != "" && !c.tenant().Sees(in.Partner) {
		return notYours()
	}
	if len(in.Complaints) == 0 || len(in.Complaints) > MaxComplaints {
		return invalid("a request files 1 to %d complaints", MaxComplaints)
	}
	filed, err := a.node.File(c.ctx, c.tenant(), in.Partner, in.Complaints, c.now())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, filed)
}
