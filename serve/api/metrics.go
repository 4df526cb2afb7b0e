package api

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/moat-platform/moat/discover/engine"
	"github.com/moat-platform/moat/serve/node"
)

// statuses are those that answers have; others are counted as 0.
var statuses = [...]int{0, 200, 201, 202, 400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500, 503}

// slowness is the upper bounds of the buckets of durations.
var slowness = [...]time.Duration{100 * time.Microsecond, time.Millisecond, 5 * time.Millisecond, 25 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 2 * time.Second, 10 * time.Second}

// counts is how often a route answered with what, and how fast.
type counts struct {
	status  [len(statuses)]atomic.Int64
	buckets [len(slowness) + 1]atomic.Int64
	nanos   atomic.Int64
}

func (c *counts) add(status int, took time.Duration) {
	i, ok := slices.BinarySearch(statuses[:], status)
	if !ok {
		i = 0
	}
	c.status[i].Add(1)
	b, _ := slices.BinarySearch(slowness[:], took)
	c.buckets[b].Add(1)
	c.nanos.Add(int64(took))
}

// getMetrics answers in the text format of Prometheus, version 0.0.4.
func (a *API) getMetrics(c *call) error {
	if err := c.form().end(); err != nil {
		return err
	}
	s, err := a.stats(c.ctx)
	if err != nil {
		return err
	}
	var m exposition
	m.family("moat_info", "gauge", "The version that runs.")
	m.sample("", float64(1), "version", s.Version)
	m.family("moat_start_time_seconds", "gauge", "When the server was started.")
	m.sample("", float64(s.Started.Seconds()))
	m.node(&s.Node)
	m.intake(&s)
	m.http(a)
	m.process()
	return c.bytes(http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", m.Bytes())
}

// exposition is metrics as text.
type exposition struct {
	bytes.Buffer
	name string // of the family
}

func (m *exposition) family(name, kind, help string) {
	m.name = name
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var labelText = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes one value; labels are names and values in turn.
func (m *exposition) sample(suffix string, v float64, labels ...string) {
	m.WriteString(m.name + suffix)
	for i := 0; i < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(m, `%s%s="%s"`, sep, labels[i], labelText.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.WriteByte('}')
	}
	m.WriteByte(' ')
	m.WriteString(strconv.FormatFloat(v, 'f', -1, 64))
	m.WriteByte('\n')
}

// node writes what the engines did, by partition.
func (m *exposition) node(s *node.Stats) {
	for _, f := range []struct {
		name, help string
		of         func(*engine.Stats) uint64
	}{
		{"moat_events_total", "Events taken into the statistics.", func(e *engine.Stats) uint64 { return e.Events }},
		{"moat_duplicates_total", "Events left out because their id had been seen.", func(e *engine.Stats) uint64 { return e.Duplicates }},
		{"moat_late_total", "Events over an hour behind their partner's newest.", func(e *engine.Stats) uint64 { return e.Late }},
		{"moat_clock_total", "Events with an implausible time.", func(e *engine.Stats) uint64 { return e.Clock }},
		{"moat_findings_total", "Findings.", func(e *engine.Stats) uint64 { return e.Findings }},
		{"moat_repeats_total", "Findings left out because the same was said shortly before.", func(e *engine.Stats) uint64 { return e.Repeats }},
		{"moat_evictions_total", "Entities given up because a partner reached its quota.", func(e *engine.Stats) uint64 { return e.Evicted }},
		{"moat_overflow_total", "Pairs of entity and value that found no room.", func(e *engine.Stats) uint64 { return e.Overflow }},
	} {
		m.family(f.name, "counter", f.help)
		for i := range s.Partitions {
			m.sample("", float64(f.of(&s.Partitions[i].Engine)), "partition", strconv.Itoa(i))
		}
	}
	for _, f := range []struct {
		name, help string
		of         func(*node.PartitionStats) float64
	}{
		{"moat_river_position", "Message up to which the engine is.", func(p *node.PartitionStats) float64 { return float64(p.Position) }},
		{"moat_river_last", "Last message in the log.", func(p *node.PartitionStats) float64 { return float64(p.Last) }},
		{"moat_river_lag", "Messages that wait for the engine.", func(p *node.PartitionStats) float64 { return float64(p.Last - min(p.Position, p.Last)) }},
		{"moat_river_bytes", "Bytes of the log.", func(p *node.PartitionStats) float64 { return float64(p.Bytes) }},
		{"moat_pairs", "Pairs of entity and value kept.", func(p *node.PartitionStats) float64 { return float64(p.Pairs) }},
		{"moat_unready", "1 if the partition warns of something.", func(p *node.PartitionStats) float64 {
			if p.Warning != "" {
				return 1
			}
			return 0
		}},
	} {
		m.family(f.name, "gauge", f.help)
		for i := range s.Partitions {
			m.sample("", f.of(&s.Partitions[i]), "partition", strconv.Itoa(i))
		}
	}
	m.family("moat_sightings_given_up_total", "counter", "Sightings and warnings that were too many to wait for room in the log.")
	for i := range s.Partitions {
		m.sample("", float64(s.Partitions[i].GivenUp), "partition", strconv.Itoa(i))
	}
	m.family("moat_entities", "gauge", "Entities kept.")
	for i := range s.Partitions {
		for _, kind := range slices.Sorted(maps.Keys(s.Partitions[i].Entities)) {
			m.sample("", float64(s.Partitions[i].Entities[kind]), "partition", strconv.Itoa(i), "kind", kind)
		}
	}
	m.family("moat_detectors", "gauge", "Detectors that run.")
	m.sample("", float64(s.Detectors))
}

// intake writes what came in.
func (m *exposition) intake(s *Stats) {
	for _, f := range []struct {
		name, help string
		v          int64
	}{
		{"moat_ingest_accepted_total", "Events made durable.", s.Ingest.Accepted},
		{"moat_ingest_rejected_total", "Events that were not within the contract.", s.Ingest.Rejected},
		{"moat_ingest_bytes_total", "Bytes of batches after decompression.", s.Ingest.Bytes},
		{"moat_ingest_busy_total", "Batches refused for want of room.", s.Ingest.Busy},
		{"moat_questions_total", "Questions about risk that were answered.", s.Questions},
	} {
		m.family(f.name, "counter", f.help)
		m.sample("", float64(f.v))
	}
}

// http writes what was asked for.
func (m *exposition) http(a *API) {
	type line struct {
		method, path string
		counts       *counts
	}
	lines := []line{{"", "other", &a.stray}}
	for _, rt := range a.routes {
		lines = append(lines, line{rt.method, documentPath(rt.path), &rt.counts})
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.path, b.path) })
	m.family("moat_http_requests_total", "counter", "Requests answered.")
	for _, l := range lines {
		for i := range l.counts.status {
			if n := l.counts.status[i].Load(); n > 0 {
				m.sample("", float64(n), "method", l.method, "path", l.path, "status", strconv.Itoa(statuses[i]))
			}
		}
	}
	m.family("moat_http_request_seconds", "histogram", "How long answers took.")
	for _, l := range lines {
		var n int64
		for i := range l.counts.buckets {
			n += l.counts.buckets[i].Load()
		}
		if n == 0 {
			continue
		}
		labels := []string{"method", l.method, "path", l.path}
		var upTo int64
		for i, bound := range slowness {
			upTo += l.counts.buckets[i].Load()
			m.sample("_bucket", float64(upTo), append(labels, "le", strconv.FormatFloat(bound.Seconds(), 'f', -1, 64))...)
		}
		m.sample("_bucket", float64(n), append(labels, "le", "+Inf")...)
		m.sample("_sum", time.Duration(l.counts.nanos.Load()).Seconds(), labels...)
		m.sample("_count", float64(n), labels...)
	}
	m.family("moat_http_in_flight", "gauge", "Requests under way, events not counted.")
	m.sample("", float64(a.inFlight.Load()))
}

// process writes what the program itself takes.
func (m *exposition) process() {
	s := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	for i, f := range []struct{ name, help string }{
		{"go_goroutines", "Goroutines."}, {"go_memory_total_bytes", "Memory mapped by the Go runtime."}, {"go_memory_heap_bytes", "Memory of live and dead objects."},
	} {
		m.family(f.name, "gauge", f.help)
		m.sample("", float64(s[i].Value.Uint64()))
	}
}
