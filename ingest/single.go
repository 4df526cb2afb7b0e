package ingest

import "github.com/moat-platform/moat"

// Single reads events one at a time, just as a [Handler] reads those of a batch: for the question
// whether an act is risky. It is not safe for concurrent use.
type Single struct{ k worker }

// NewSingle returns a reader; key is that of [NewNormaliser].
func NewSingle(key []byte) (*Single, error) {
	n, err := NewNormaliser(key)
	if err != nil {
		return nil, err
	}
	return &Single{worker{normal: n}}, nil
}

// Read returns the event in text, one JSON object, in its normal form; or a *[moat.Problem]. The
// event is valid until the next Read and as long as text does not change.
func (s *Single) Read(text []byte, from Caller, received moat.Time) (*moat.Event, error) {
	s.k.decoder.Release()
	s.k.decoder.AllowPartner = from.Operator
	if err := s.k.decode(text, from); err != nil {
		return nil, err
	}
	if err := s.k.normal.Normalise(&s.k.event, from, received); err != nil {
		return nil, err
	}
	return &s.k.event, nil
}
