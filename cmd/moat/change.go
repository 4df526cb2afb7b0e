package main

import (
	"errors"

	"github.com/moat-platform/moat/serve/api"
	"github.com/moat-platform/moat/store/book"
)

// served returns a client of the server that has the data folder open, or nil.
func (a *app) served() (*api.Client, error) {
	c, err := api.Dial(a.ctx, a.Data)
	if errors.Is(err, api.ErrNotServed) {
		return nil, nil
	}
	return c, err
}

// change does something that is written to the book: through the server that has the data folder
// open, so that it knows at once, or alone.
func change[T any](a *app, through func(*api.Client) (T, error), alone func(*book.Book) (T, error)) (out T, err error) {
	c, err := a.served()
	if err != nil {
		return out, err
	}
	if c != nil {
		return through(c)
	}
	b, err := a.write()
	if err != nil {
		return out, err
	}
	defer b.Close()
	return alone(b)
}
