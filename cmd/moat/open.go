package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/moat-platform/moat/river"
	"github.com/moat-platform/moat/serve/node"
)

// logFlags say where the log of events is.
type logFlags struct {
	NATS        string `name:"nats" env:"MOAT_NATS" placeholder:"URL" help:"NATS server or cluster that holds the log (${env}); else it is in the data folder."`
	Credentials string `name:"nats-credentials" env:"MOAT_NATS_CREDENTIALS" placeholder:"FILE" help:"Credentials for NATS (${env})."`
	CA          string `name:"nats-ca" env:"MOAT_NATS_CA" placeholder:"FILE" help:"Certificates to know NATS by (${env})."`
}

// behind warns that the files of the data folder do not have all that was taken in, if no process works on it.
func (a *app) behind() {
	n, more, err := node.Behind(a.Data, a.log)
	if err != nil {
		a.log.Debug("whether the files have all that was taken in is not known", "error", err)
	}
	if n == 0 {
		return
	}
	least := ""
	if more {
		least = "at least "
	}
	a.err.wrap(a.err.paint(yellow, "warning: "), fmt.Sprintf("%s%s were taken in that are not in the files yet, since the last process ended before that: what follows lacks them, and what would be found in them. "+
		"Start moat serve%s once, or a moat ingest: it takes them up first", least, many(n, "event"), a.dataFlag()))
}

// open opens the data folder to work on it. keep is how long events are kept; 0 = as long as there is room.
func (a *app) open(f logFlags, log *slog.Logger, keep time.Duration) (*node.Node, error) {
	tune()
	return node.Open(a.ctx, node.Config{Dir: a.Data, Book: a.Book, Logger: log, Retention: keep, River: river.Config{URL: f.NATS, Credentials: f.Credentials, CA: f.CA}})
}
