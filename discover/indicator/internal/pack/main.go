// Pack makes the data that package indicator embeds from the files of its
// sources.
//
// Use it when a source has a new version: go run ./discover/indicator/internal/pack -in DIR,
// where DIR holds the files that sources.json names. It will not download
// anything.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"

	"github.com/moat-platform/moat/discover/indicator"
	"github.com/moat-platform/moat/discover/indicator/internal/feed"
	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// source is an element of sources.json.
type source struct {
	Name    string   `json:"name"`
	Licence string   `json:"licence"`
	Date    string   `json:"date"`
	Origin  string   `json:"origin"`
	Files   []string `json:"files"`
	Form    string   `json:"form"` // country, list or crawlers
	Kinds   uint16   `json:"kinds,omitempty"`
	Entries int      `json:"entries"`
}

func main() {
	in := flag.String("in", "", "folder with the files of the sources")
	out := flag.String("out", "discover/indicator", "folder of package indicator")
	flag.Parse()
	if err := pack(*in, *out); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func pack(in, out string) error {
	atlas, err := place.Load()
	if err != nil {
		return err
	}
	list := filepath.Join(out, "data", "sources.json")
	var sources []source
	if b, err := os.ReadFile(list); err != nil {
		return err
	} else if err := json.Unmarshal(b, &sources); err != nil {
		return fmt.Errorf("cannot read %s: %w", list, err)
	}
	m := span.Empty().Overlay(local(), func(_, new span.Value) span.Value { return new })
	for i := range sources {
		s := &sources[i]
		s.Entries = 0
		for _, name := range s.Files {
			path := filepath.Join(in, name)
			if s.Form == "crawlers" {
				s.Entries, err = packCrawlers(path, out)
			} else {
				var n int
				m, n, err = overlay(m, path, s, atlas)
				s.Entries += n
			}
			if err != nil {
				return fmt.Errorf("cannot pack %s: %w", path, err)
			}
		}
	}
	if err := write(filepath.Join(out, "data", "addresses.zst"), span.AppendPacked(nil, m)); err != nil {
		return err
	}
	fmt.Printf("%d ranges\n", len(m.Starts))
	b, err := json.MarshalIndent(sources, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(list, append(b, '\n'), 0o644)
}

// local are the ranges that are known by their meaning.
func local() []span.Span {
	var spans []span.Span
	for _, r := range []struct {
		prefix string
		kind   indicator.Kind
	}{
		{"10.0.0.0/8", indicator.Private},
		{"100.64.0.0/10", indicator.Private},
		{"169.254.0.0/16", indicator.Private},
		{"172.16.0.0/12", indicator.Private},
		{"192.168.0.0/16", indicator.Private},
		{"fc00::/7", indicator.Private},
		{"fe80::/10", indicator.Private},
		{"127.0.0.0/8", indicator.Loopback},
		{"::1/128", indicator.Loopback},
	} {
		s := span.Prefix(netip.MustParsePrefix(r.prefix))
		s.Value.Kinds = uint16(r.kind)
		spans = append(spans, s)
	}
	return span.Flatten(spans)
}

func overlay(m span.Map, path string, s *source, atlas *place.Atlas) (span.Map, int, error) {
	file, err := os.Open(path)
	if err != nil {
		return m, 0, err
	}
	defer file.Close()
	form := feed.List
	if s.Form == "country" {
		form = feed.Country
	}
	f, err := feed.Read(file, form, atlas)
	if err != nil {
		return m, 0, err
	}
	if f.Bad > 0 {
		return m, 0, fmt.Errorf("line %d: %s", f.Faults[0].Line, f.Faults[0].Reason)
	}
	m = m.Overlay(f.Spans, func(old, new span.Value) span.Value {
		switch {
		case form == feed.Country:
			old.Country = new.Country
		case !indicator.Kind(old.Kinds).Has(indicator.Private | indicator.Loopback):
			old.Kinds |= s.Kinds
		}
		return old
	})
	return m, f.Entries, nil
}

// packCrawlers keeps of the crawlers their patterns, one a line, and of their
// examples a file to test with.
func packCrawlers(path, out string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	var crawlers []struct {
		Pattern   string   `json:"pattern"`
		Instances []string `json:"instances,omitempty"`
	}
	if err := json.Unmarshal(b, &crawlers); err != nil {
		return 0, err
	}
	patterns, examples := bytes.NewBufferString("[\n"), &bytes.Buffer{}
	for i, c := range crawlers {
		for _, agent := range c.Instances {
			fmt.Fprintln(examples, agent)
		}
		c.Instances = nil
		line, err := json.Marshal(c)
		if err != nil {
			return 0, err
		}
		patterns.Write(line)
		if i < len(crawlers)-1 {
			patterns.WriteByte(',')
		}
		patterns.WriteByte('\n')
	}
	patterns.WriteString("]\n")
	if err := os.WriteFile(filepath.Join(out, "data", "crawlers.json"), patterns.Bytes(), 0o644); err != nil {
		return 0, err
	}
	return len(crawlers), write(filepath.Join(out, "testdata", "agents.zst"), examples.Bytes())
}

func write(path string, b []byte) error {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	return os.WriteFile(path, enc.EncodeAll(b, nil), 0o644)
}
