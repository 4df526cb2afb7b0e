package main

import (
	"fmt"
	"net/netip"

	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/serve/node"
)

// indicatorsCmd shows what is known of addresses.
type indicatorsCmd struct {
	IPs []ipArg `arg:"" optional:"" name:"ip" help:"Addresses to look up; else the sources are listed."`
}

// Help shows how to use it.
func (indicatorsCmd) Help() string {
	return "Files in the folder indicators of the data folder add to what is built in.\n\n" +
		examples("moat indicators", "moat indicators 185.220.101.1 203.0.113.7")
}

// ipArg is an address on the command line.
type ipArg struct{ netip.Addr }

// UnmarshalText reads an address.
func (a *ipArg) UnmarshalText(b []byte) (err error) {
	if a.Addr, err = netip.ParseAddr(string(b)); err != nil {
		return fmt.Errorf("%.60q is no address: want one like 203.0.113.7 or 2001:db8::7", b)
	}
	return nil
}

type known struct {
	IP      netip.Addr `json:"ip"`
	Country string     `json:"country,omitempty"`
	ASN     uint32     `json:"asn,omitempty"`
	Network string     `json:"network,omitempty"`
	Kinds   []string   `json:"kinds"`
}

// Run shows.
func (c *indicatorsCmd) Run(a *app) error {
	h, err := node.OpenIndicators(a.Data, a.log)
	if err != nil {
		return err
	}
	t := h.Table()
	if len(c.IPs) == 0 {
		return c.sources(a, t)
	}
	rows := newTable("  r", "address", "country", "asn", "network", "marks")
	for _, ip := range c.IPs {
		i := t.Lookup(ip.Addr)
		k := known{IP: ip.Addr, Country: i.Country, ASN: i.ASN, Network: t.Network(i.ASN), Kinds: orEmpty(i.Kinds.Names())}
		if a.JSON {
			if err := a.object(k); err != nil {
				return err
			}
			continue
		}
		rows.row(ip, k.Country, number(int(k.ASN)), k.Network, i.Kinds)
	}
	if !a.JSON {
		rows.print(a.out)
	}
	return nil
}

type source struct {
	Name    string `json:"name"`
	Date    string `json:"date"`
	Entries int    `json:"entries"`
	Bad     int    `json:"bad"`
	Licence string `json:"licence"`
	Origin  string `json:"origin,omitempty"`
	Path    string `json:"path"`
	Refused string `json:"refused,omitempty"`
}

func (c *indicatorsCmd) sources(a *app, t *indicator.Table) error {
	rows := newTable("  r", "name", "date", "entries", "licence", "path")
	for _, s := range t.Sources() {
		if a.JSON {
			if err := a.object(source{s.Name, s.Date, s.Entries, s.Bad, s.Licence, s.Origin, s.Path, s.Refused}); err != nil {
				return err
			}
			continue
		}
		path := s.Path
		switch {
		case s.Refused != "":
			path += " (refused: " + s.Refused + ")"
		case s.Bad > 0:
			path += fmt.Sprintf(" (%s skipped)", many(s.Bad, "bad line"))
		}
		rows.row(s.Name, s.Date, number(s.Entries), s.Licence, path)
	}
	if !a.JSON {
		rows.print(a.out)
	}
	for _, p := range t.Problems() {
		a.err.line(a.err.paint(yellow, "warning:"), clean(p.Error()))
	}
	return nil
}
