package indicator

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/moat-platform/moat/discover/indicator/internal/feed"
	"github.com/moat-platform/moat/discover/indicator/internal/place"
	"github.com/moat-platform/moat/discover/indicator/internal/span"
)

// The data that is built in, made by internal/pack; see data/LICENCES.md.
var (
	//go:embed data/addresses.zst
	addressesZst []byte
	//go:embed data/crawlers.json
	crawlersJSON []byte
	//go:embed data/sources.json
	sourcesJSON []byte
)

// builtIn is the Path of sources that come with Moat.
const builtIn = "built in"

// maxFiles bounds the files of a folder that are read.
const maxFiles = 256

// topic is what a file can be about; its name begins with the topic's.
type topic struct {
	name, suffix string
	form         feed.Form
	mark         Kind // of a list
}

// topicOf returns the topic of a file by its name, and whether the file
// replaces what is built in.
func topicOf(name string) (t topic, replaces, ok bool) {
	for _, t := range [...]topic{
		{"country", ".csv", feed.Country, 0},
		{"asn", ".csv", feed.ASN, 0},
		{"hosting", ".txt", feed.List, Hosting},
		{"vpn", ".txt", feed.List, VPN},
		{"tor", ".txt", feed.List, Tor},
		{"mobile", ".txt", feed.List, Mobile},
		{"listed", ".txt", feed.List, Listed},
		{crawlersName, ".json", 0, 0},
	} {
		stem, found := strings.CutSuffix(name, t.suffix)
		if found && (stem == t.name || strings.HasPrefix(stem, t.name+"-")) {
			return t, stem == t.name, true
		}
	}
	return topic{}, false, false
}

const crawlersName = "crawlers"

// lay returns what is known about an address when a file of the topic says new of it.
func (t topic) lay(old, new span.Value) span.Value {
	switch {
	case t.form == feed.Country:
		old.Country = new.Country
	case t.form == feed.ASN:
		old.ASN = new.ASN
	case !Kind(old.Kinds).Has(Private | Loopback):
		old.Kinds |= uint16(t.mark)
	}
	return old
}

// clear returns v without what the topic says.
func (t topic) clear(v span.Value) span.Value {
	switch t.form {
	case feed.Country:
		v.Country = 0
	case feed.ASN:
		v.ASN = 0
	default:
		v.Kinds &^= uint16(t.mark)
	}
	return v
}

// file is a file of a folder, read.
type file struct {
	name, path string
	topic      topic
	replaces   bool // what is built in
	size       int64
	written    time.Time
	refused    string // why it was not taken

	feed     *feed.Feed // nil if it was refused and never taken before
	patterns []pattern
	source   Source
	problems []Problem
}

// Default returns the table of what is built in.
func Default() (*Table, error) {
	atlas, err := place.Load()
	if err != nil {
		return nil, err
	}
	return build(atlas, nil, nil)
}

// Load returns the table of what is built in and of the files in dir. A file is
// known by its name:
//
//	country.csv   first address, last address, ISO 3166-1 alpha-2 code
//	asn.csv       first address, last address, number of the autonomous system, its name
//	hosting.txt   an address, a prefix, or two addresses joined by "-", a line; so too
//	              vpn.txt, tor.txt, mobile.txt and listed.txt
//	crawlers.json the form of github.com/monperrus/crawler-user-agents
//
// Such a file replaces what is built in. A file whose name goes on after a "-",
// such as vpn-ours.txt or country-offices.csv, adds to it, and where they
// disagree the last by name holds. Lines that begin with # are comments; "#
// licence: …", "# date: …" and "# source: …" are shown by [Table.Sources].
//
// Lists never mark private addresses, and hold no prefix wider than an IPv4 /8
// or IPv6 /16, so that a slip in a blocklist does not mark everybody. Bad lines
// are skipped and reported by [Table.Problems]; a file with more than one in ten
// is refused as a whole, and what it would have replaced stays. Files with
// other names are reported and not read. The error tells that dir cannot be read.
func Load(dir string) (*Table, error) {
	atlas, err := place.Load()
	if err != nil {
		return nil, err
	}
	files, problems, err := readFolder(dir, atlas, nil)
	if err != nil {
		return nil, err
	}
	return build(atlas, files, problems)
}

// readFolder reads the files of dir that are not in before or have changed
// since. Of a file that is refused it takes over what before had.
func readFolder(dir string, atlas *place.Atlas, before map[string]*file) ([]*file, []Problem, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the folder of indicators: %w", err)
	}
	var files []*file
	var problems []Problem
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if passing(e.Name()) {
			continue
		}
		topic, replaces, ok := topicOf(e.Name())
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue // it went while we looked
		case err != nil:
			problems = append(problems, Problem{path, 0, err.Error()})
		case !ok || !info.Mode().IsRegular():
			problems = append(problems, Problem{path, 0, "not read: no file of a known name"})
		case len(files) == maxFiles:
			problems = append(problems, Problem{path, 0, fmt.Sprintf("not read: the folder has more than %d files", maxFiles)})
		default:
			old := before[e.Name()]
			if old != nil && old.size == info.Size() && old.written.Equal(info.ModTime()) {
				files = append(files, old)
				continue
			}
			f := &file{name: e.Name(), path: path, topic: topic, replaces: replaces, size: info.Size(), written: info.ModTime()}
			f.read(atlas, old)
			files = append(files, f)
		}
	}
	return files, problems, nil
}

// passing tells whether a name is that of a file which is not meant to stay.
func passing(name string) bool {
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || strings.HasSuffix(name, ".tmp") || strings.HasSuffix(name, ".part")
}

// read fills f. If f is refused it takes over what old had.
func (f *file) read(atlas *place.Atlas, old *file) {
	f.source = Source{Name: f.name, Path: f.path, Date: f.written.UTC().Format(time.DateOnly)}
	faults, err := f.parse(atlas)
	if refused, ok := errors.AsType[*feed.Refused](err); ok {
		faults = refused.Faults
	}
	if err != nil {
		f.refused = err.Error()
		f.problems = append(f.problems, Problem{f.path, 0, "refused: " + f.refused})
		if old != nil && old.feed != nil {
			f.feed, f.patterns, f.source = old.feed, old.patterns, old.source
		}
		f.source.Refused = f.refused
	}
	for _, fault := range faults {
		f.problems = append(f.problems, Problem{f.path, fault.Line, fault.Reason})
	}
}

func (f *file) parse(atlas *place.Atlas) ([]feed.Fault, error) {
	r, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if f.topic.name == crawlersName {
		patterns, tally, err := readPatterns(r)
		if err != nil {
			return nil, err
		}
		f.feed, f.patterns = &feed.Feed{}, patterns
		f.source.Entries, f.source.Bad = tally.Good, tally.Bad
		return tally.Faults, nil
	}
	parsed, err := feed.Read(r, f.topic.form, atlas)
	if err != nil {
		return nil, err
	}
	f.feed = parsed
	f.source.Entries, f.source.Bad = parsed.Entries, parsed.Bad
	f.source.Licence, f.source.Origin = parsed.Licence, parsed.Origin
	if parsed.Date != "" {
		f.source.Date = parsed.Date
	}
	return parsed.Faults, nil
}

// build lays the files over what is built in.
func build(atlas *place.Atlas, files []*file, problems []Problem) (*Table, error) {
	sources, patterns, err := embeddedSources()
	if err != nil {
		return nil, err
	}
	m, err := embeddedAddresses()
	if err != nil {
		return nil, err
	}
	names := map[uint32]string{}
	// Those that replace come first, then all by name.
	files = slices.Clone(files)
	slices.SortStableFunc(files, func(a, b *file) int {
		if a.replaces == b.replaces {
			return strings.Compare(a.name, b.name)
		} else if a.replaces {
			return -1
		}
		return 1
	})
	for _, f := range files {
		problems = append(problems, f.problems...)
		source := f.source
		if f.feed != nil {
			if f.replaces {
				m = m.Each(f.topic.clear)
				sources = slices.DeleteFunc(sources, func(s Source) bool { return s.Name == f.topic.name })
			}
			m = m.Overlay(f.feed.Spans, f.topic.lay)
			maps.Copy(names, f.feed.Names)
			if f.replaces && f.topic.name == crawlersName {
				patterns = nil
			}
			if all := slices.Concat(patterns, f.patterns); fits(all) {
				patterns = all
			} else {
				source.Refused = "with it there are too many patterns"
				problems = append(problems, Problem{f.path, 0, "refused: " + source.Refused})
			}
		}
		sources = append(sources, source)
	}
	return &Table{
		atlas: atlas, v4: newIndex4(m), v6: newIndex6(m), systems: newSystems(names),
		crawlers: newCrawlers(patterns), sources: sources, problems: problems,
	}, nil
}

// embeddedSources returns the sources of what is built in and the patterns of crawlers.
func embeddedSources() ([]Source, []pattern, error) {
	var listed []struct {
		Name, Licence, Date, Origin string
		Entries                     int
	}
	if err := json.Unmarshal(sourcesJSON, &listed); err != nil {
		return nil, nil, fmt.Errorf("cannot read the list of sources that is built in: %w", err)
	}
	var sources []Source
	for _, s := range listed {
		sources = append(sources, Source{Name: s.Name, Licence: s.Licence, Date: s.Date, Origin: s.Origin, Entries: s.Entries, Path: builtIn})
	}
	patterns, _, err := readPatterns(bytes.NewReader(crawlersJSON))
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the crawlers that are built in: %w", err)
	}
	return sources, patterns, nil
}

// embeddedAddresses returns what is built in about addresses.
func embeddedAddresses() (span.Map, error) {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return span.Map{}, err
	}
	defer dec.Close()
	b, err := dec.DecodeAll(addressesZst, nil)
	if err != nil {
		return span.Map{}, fmt.Errorf("cannot unpack the addresses that are built in: %w", err)
	}
	m, err := span.Unpack(b)
	if err != nil {
		return span.Map{}, fmt.Errorf("cannot read the addresses that are built in: %w", err)
	}
	return m, nil
}
