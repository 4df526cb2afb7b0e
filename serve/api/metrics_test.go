package api_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestMetrics reads the exposition as a scraper does.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.story()
	w.call("acme", "GET", "/v1/cases", "")
	w.call("acme", "GET", "/v1/cases/none", "")
	w.send("acme", "GET", "/nowhere", "", "")
	a := w.call("boss", "GET", "/metrics", "")
	if kind := a.Header().Get("Content-Type"); kind != "text/plain; version=0.0.4; charset=utf-8" {
		t.Errorf("metrics are %s", kind)
	}
	form := regexp.MustCompile(`^([a-z_]+)(\{([a-z]+="[^"]*",?)+\})? (\d+(\.\d+)?)$`)
	kinds, values := map[string]string{}, map[string]float64{}
	family := ""
	for line := range strings.SplitSeq(strings.TrimSuffix(a.Body.String(), "\n"), "\n") {
		if rest, ok := strings.CutPrefix(line, "# TYPE "); ok {
			name, kind, _ := strings.Cut(rest, " ")
			if family = name; kinds[name] != "" {
				t.Errorf("%s comes twice", name)
			}
			kinds[name] = kind
			continue
		}
		if strings.HasPrefix(line, "# HELP ") {
			continue
		}
		m := form.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("not a sample: %s", line)
			continue
		}
		name := m[1]
		if kinds[family] == "histogram" {
			name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		}
		if name != family || strings.HasSuffix(name, "_total") != (kinds[family] == "counter") {
			t.Errorf("%s is in family %s, a %s", m[1], family, kinds[family])
		}
		key := m[1] + m[2]
		if _, ok := values[key]; ok {
			t.Errorf("%s comes twice", key)
		}
		values[key], _ = strconv.ParseFloat(m[4], 64)
	}
	partition := `{partition="` + strconv.Itoa(w.node.River.PartitionOf("acme")) + `"}`
	for key, want := range map[string]float64{
		"moat_river_lag" + partition: 0, "moat_ingest_accepted_total": 25, "moat_unready" + partition: 0,
		`moat_http_requests_total{method="GET",path="/v1/cases",status="200"}`:      1,
		`moat_http_requests_total{method="GET",path="/v1/cases/{id}",status="404"}`: 1,
		`moat_http_requests_total{method="",path="other",status="404"}`:             1,
		`moat_http_requests_total{method="POST",path="/v1/events",status="202"}`:    1,
		`moat_http_request_seconds_bucket{method="GET",path="/v1/cases",le="+Inf"}`: 1,
		`moat_http_request_seconds_count{method="POST",path="/v1/events"}`:          1,
		`moat_http_in_flight`: 1,
	} {
		if got, ok := values[key]; !ok || got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	for _, key := range []string{"moat_events_total" + partition, "moat_river_position" + partition, "moat_findings_total" + partition, "moat_river_bytes" + partition, "moat_start_time_seconds", "go_memory_total_bytes"} {
		if values[key] == 0 {
			t.Errorf("%s is 0", key)
		}
	}
}
