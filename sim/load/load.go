// Package load makes streams of plausible events of any size, for measuring how fast Moat is.
//
// Use it in benchmarks, where the mix of types, the skew of accounts and the sizes of
// events must be like those of an ecosystem at work but nobody's behaviour matters.
// The same seed gives the same stream.
//
// It will not simulate people or thieves: nothing that a detector finds in it means anything.
package load

import (
	"math/rand/v2"
	"strconv"

	"github.com/moat-platform/moat"
)

// Config says how large the world is. Zero fields take the defaults.
type Config struct {
	Partners int // default 1,000
	Accounts int // default 1,000,000
	Devices  int // default as many as accounts
	Orders   int // ids in use; default 20 million
	Seed     uint64
	// Start is the time of the first event; events follow at Rate a second of event time
	// (default 250,000).
	Start moat.Time
	Rate  int
	// Even takes the accounts in turn instead of by Zipf's law: all log in, once with every device, then all look at
	// orders, and so on. After two rounds everything is in state.
	Even bool
}

// Stream is an endless stream of events. It is not safe for concurrent use.
type Stream struct {
	cfg  Config
	r    *rand.Rand
	zipf *rand.Zipf
	n    uint64
	ev   moat.Event
	buf  []byte
	only int   // the partner whose events are wanted; -1 = any
	turn []int // by partner, when Even: events of it alone so far
}

// New returns the stream of cfg.
func New(cfg Config) *Stream {
	for _, d := range []struct {
		v *int
		d int
	}{{&cfg.Partners, 1000}, {&cfg.Accounts, 1_000_000}, {&cfg.Orders, 20_000_000}, {&cfg.Rate, 250_000}} {
		if *d.v == 0 {
			*d.v = d.d
		}
	}
	if cfg.Devices == 0 {
		cfg.Devices = cfg.Accounts
	}
	if cfg.Start == 0 {
		cfg.Start, _ = moat.ParseTime("2026-03-02T08:00:00Z")
	}
	r := rand.New(rand.NewPCG(cfg.Seed, 0x6d6f6174))
	return &Stream{cfg: cfg, r: r, zipf: rand.NewZipf(r, 1.1, 20, uint64(cfg.Accounts-1)), only: -1, turn: make([]int, cfg.Partners)}
}

var (
	operations = []string{"view", "view", "view", "view_list", "search", "print", "print_list", "export"}
	roles      = []string{"customer_service", "packer", "courier", "finance", "operations"}
	agents     = []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
	}
	templates = []string{
		"SELECT * FROM orders WHERE id = ?", "SELECT name, phone FROM buyers WHERE order_id IN (?)",
		"UPDATE orders SET state = ? WHERE id = ?", "SELECT count(*) FROM orders WHERE shop = ? AND day = ?",
	}
	shown = [][]string{{"name", "phone", "address"}, {"name", "address", "goods"}, {"tracking_no"}, {"name", "phone"}}
)

// The types of events: of a hundred, those below a number that are not below the one before.
const (
	access   = 55
	request  = 70
	login    = 80
	transmit = 90
	query    = 98
)

// sitting is how many events an account sends, on average, before what it comes with changes.
const sitting = 20

// Next returns the next event. It and its strings are valid until the call after it.
func (s *Stream) Next() *moat.Event {
	e := &s.ev
	e.Reset()
	s.buf = s.buf[:0]
	s.n++
	turn := int(s.n) - 1
	if s.only >= 0 && s.cfg.Even {
		turn = s.turn[s.only]*s.cfg.Partners + s.only
		s.turn[s.only]++
	}
	who := turn % s.cfg.Accounts
	if !s.cfg.Even {
		who = int(s.zipf.Uint64() * 2654435761 % uint64(s.cfg.Accounts))
		if s.only >= 0 {
			who = who/s.cfg.Partners*s.cfg.Partners + s.only
		}
	}
	partner := who % s.cfg.Partners
	device := who % s.cfg.Devices
	if s.cfg.Even && s.cfg.Devices > s.cfg.Accounts {
		device = turn % s.cfg.Devices
	}
	if s.r.IntN(20_000) == 0 {
		device = s.r.IntN(s.cfg.Devices)
	}
	e.Time = s.cfg.Start + moat.Time(s.n)*moat.Second/moat.Time(s.cfg.Rate)
	e.Received = e.Time
	e.Partner = s.text("p", partner)
	e.ID = s.text("e", int(s.n))
	e.Actor, e.Role, e.App = s.text("user", who), roles[who%len(roles)], s.text("app", partner)
	e.IP = s.address(who)
	e.Device, e.Session = s.text("dev-", device), s.text("sess-", who)
	if !s.cfg.Even && s.r.IntN(2*sitting) == 0 { // in another window, once: the next event is from this one again
		e.Session = s.text("sess-b-", who)
	}
	k := s.r.IntN(100)
	if s.cfg.Even {
		k = [2]int{login - 1, access - 1}[turn/max(s.cfg.Accounts, s.cfg.Devices)%2]
	}
	switch {
	case k < access:
		e.Type, e.Operation = moat.OrderAccess, operations[s.r.IntN(len(operations))]
		s.orders(e)
		e.Fields, e.UserAgent = shown[s.r.IntN(len(shown))], agents[who%len(agents)]
		e.Shops = append(e.Shops[:0], s.text("shop", who%97))
		e.URL = "/order/detail?id="
	case k < request:
		e.Type, e.Method, e.Path, e.Status, e.Bytes = moat.HTTPRequest, "GET", s.text("/order/", s.r.IntN(1000)), 200, int64(s.r.IntN(30000))
		e.UserAgent, e.LatencyMS = agents[who%len(agents)], int64(s.r.IntN(300))
		if s.r.IntN(500) == 0 {
			e.Status = 404
		}
	case k < login:
		e.Type, e.UserAgent = moat.AuthLogin, agents[who%len(agents)]
		e.Mark(moat.FieldOutcome)
		if s.r.IntN(60) == 0 {
			e.Outcome, e.Reason = moat.Failure, "wrong password"
		}
	case k < transmit:
		e.Type = moat.OrderTransmit
		s.program(e, "erp", partner)
		s.orders(e)
		e.Destination, e.DestinationKind = s.text("https://wms.example/in/", partner%50), "wms"
	case k < query:
		e.Type, e.Template, e.DB = moat.DBQuery, templates[s.r.IntN(len(templates))], s.text("db", partner)
		s.program(e, "reports", partner)
		e.Statement = e.Template
		e.Tables, e.Rows, e.DurationMS, e.Client = append(e.Tables[:0], "orders"), int64(s.r.IntN(50)), int64(s.r.IntN(40)), "jdbc"
	default:
		e.Type, e.Host, e.Exe, e.PID = moat.HostProcess, s.text("host", partner), "/usr/bin/java", int64(s.r.IntN(30000))
		e.User, e.Parent = "app", "/sbin/init"
	}
	e.MarkAll()
	return e
}

// program makes one of the partner's programs the actor of e: it has an account of its own, and a server instead of a device.
func (s *Stream) program(e *moat.Event, name string, partner int) {
	e.Actor, e.ActorKind, e.Role = s.text(name, partner), moat.ActorService, ""
	e.IP, e.Device, e.Session = s.address(1<<23+partner), "", ""
}

// orders names 2.7 orders on average, at most 50.
func (s *Stream) orders(e *moat.Event) {
	n := 1
	for n < 50 && s.r.IntN(100) < 63 {
		n++
	}
	first := s.r.IntN(s.cfg.Orders)
	e.Orders = e.Orders[:0]
	for i := range n {
		e.Orders = append(e.Orders, s.number(2_026_000_000_000_000+(first+i*7)%s.cfg.Orders))
	}
}

func (s *Stream) text(prefix string, n int) string {
	at := len(s.buf)
	s.buf = append(s.buf, prefix...)
	s.buf = strconv.AppendInt(s.buf, int64(n), 10)
	return string(s.buf[at:])
}

func (s *Stream) number(n int) string { return s.text("", n) }

func (s *Stream) address(n int) string {
	at := len(s.buf)
	s.buf = strconv.AppendInt(s.buf, int64(60+n>>16%100), 10)
	for _, b := range [3]int{n >> 8 & 255, n & 255, 1 + n>>24} {
		s.buf = append(s.buf, '.')
		s.buf = strconv.AppendInt(s.buf, int64(b), 10)
	}
	return string(s.buf[at:])
}
