package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/moat-platform/moat/serve/api"
)

// serveCmd runs a node.
type serveCmd struct {
	logFlags
	Listen string `env:"MOAT_LISTEN" default:"127.0.0.1:8480" placeholder:"ADDR" help:"Address to answer on (${env}; ${default})."`
	Keep   age    `env:"MOAT_KEEP" placeholder:"AGE" help:"Delete events, and who had which order in hand, when they are older, such as 180d (${env}). Without it the oldest events go when they fill a fifth of the disk."`
}

// Help shows how to use it.
func (serveCmd) Help() string {
	return "Runs until it is told to end (Ctrl-C, SIGTERM), then closes cleanly; it may be killed at any moment " +
		"without losing an acknowledged event. It speaks plain HTTP: put a proxy with TLS in front of it before others can reach it.\n\n" +
		examples("moat serve", "moat serve --data /var/lib/moat --listen 0.0.0.0:8480 --keep 180d", "moat serve --nats nats://log-1:4222,nats://log-2:4222 --book postgres://moat@db/moat")
}

// Run serves until the context ends.
func (c *serveCmd) Run(a *app) error {
	began := time.Now()
	log := newLogger(a.Log, slog.LevelInfo)
	_, err := os.Stat(a.path("master.key"))
	empty := errors.Is(err, os.ErrNotExist)
	// The address before the folder: that it is taken is found out at once.
	l, err := api.Listen(a.ctx, c.Listen)
	if err != nil {
		return hint(err, "another address is chosen with --listen")
	}
	defer l.Close()
	n, err := a.open(c.logFlags, log, time.Duration(c.Keep))
	if err != nil {
		return err
	}
	err = func() error {
		h, err := api.New(api.Config{Node: n, Logger: log, Version: version()})
		if err != nil {
			return err
		}
		g, ctx := errgroup.WithContext(a.ctx)
		g.Go(func() error { return api.Serve(ctx, l, h, log) })
		g.Go(func() error {
			return h.ServeLocal(ctx, a.Data, func() {
				log.Info("moat is up", "address", l.Addr().String(), "data", a.Data, "detectors", len(n.Plan.Detectors), "after", time.Since(began).Round(time.Millisecond))
				a.welcome(l.Addr(), empty)
			})
		})
		return g.Wait()
	}()
	if closed := n.Close(); err == nil || errors.Is(err, context.Canceled) {
		err = closed
	}
	log.Info("moat is down")
	return err
}

// reach is an address at which this machine finds who listens on addr: on all addresses, that is its own.
func reach(addr net.Addr) string {
	t, ok := addr.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(t.Port))
}

// welcome says where the server is and, the first time, how to begin.
func (a *app) welcome(addr net.Addr, empty bool) {
	o, url := a.out, "http://"+reach(addr)
	o.line("Moat answers on", url)
	if !empty {
		return
	}
	data := a.dataFlag()
	o.line()
	o.line("The data folder is new. To send events, add a partner and make it a key:")
	o.line()
	o.linef("    moat partner add acme%s", data)
	o.linef("    KEY=$(moat key create --partner acme --app erp --json%s | jq -r .text)", data)
	o.line()
	o.line("Then send events, one JSON object a line, and see what was found:")
	o.line()
	o.linef(`    curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/x-ndjson" %s/v1/events --data-binary \`, url)
	o.linef(`      '{"id":"e1","time":"%s","type":"order.access","actor":"alice","operation":"export","orders":["4401"],"count":5000}'`, time.Now().UTC().Format(time.RFC3339))
	o.linef("    moat findings%s", data)
	o.line()
}
