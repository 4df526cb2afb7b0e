package lake

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/moat-platform/moat"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// ErrDamaged says that a file is torn, altered, or not one that the lake wrote.
var ErrDamaged = errors.New("damaged file")

func isDamage(err error) bool { return errors.Is(err, ErrDamaged) }

func damage(path string, what string, args ...any) error {
	return fmt.Errorf("cannot read %s: %s: %w", path, fmt.Sprintf(what, args...), ErrDamaged)
}

// maxFooter bounds what is believed of a footer's length. A row group takes
// about 5 KiB of it.
const maxFooter = 64 << 20

// footer is the metadata of a file of events.
type footer struct {
	*format.FileMetaData
	sums []uint32 // of the row groups
	size int64    // of the file
}

// readFooter reads and checks the metadata of a file of events.
func readFooter(f *os.File) (*footer, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	var tail [8]byte
	if size < 12 {
		return nil, damage(f.Name(), "%d bytes", size)
	}
	if _, err := f.ReadAt(tail[:], size-8); err != nil {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != magic || n > min(size-12, maxFooter) {
		return nil, damage(f.Name(), "no footer")
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, size-8-n); err != nil {
		return nil, err
	}
	if sum, at, ok := footerSum(b); !ok || string(b[at:at+len(noSum)]) != sum {
		return nil, damage(f.Name(), "checksum of the footer")
	}
	m := &footer{FileMetaData: new(format.FileMetaData), size: size}
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), b, m.FileMetaData); err != nil {
		return nil, damage(f.Name(), "footer: %v", err)
	}
	if !sameSchema(m.Schema, schemaElements()) {
		return nil, damage(f.Name(), "its columns are not those of events")
	}
	for _, kv := range m.KeyValueMetadata {
		if kv.Key == groupsKey {
			m.sums, _ = parseSums(kv.Value, len(m.RowGroups))
		}
	}
	if len(m.sums) != len(m.RowGroups) {
		return nil, damage(f.Name(), "no checksums of its row groups")
	}
	return m, checkGroups(f.Name(), m.FileMetaData, size-8-n)
}

func sameSchema(a, b []format.SchemaElement) bool {
	return slices.EqualFunc(a, b, func(x, y format.SchemaElement) bool {
		return x.Name == y.Name && x.Type == y.Type && x.RepetitionType == y.RepetitionType && x.NumChildren == y.NumChildren
	})
}

// checkGroups checks that all chunks lie one after the other between the magic and end.
func checkGroups(path string, m *format.FileMetaData, end int64) error {
	at, rows := int64(len(magic)), int64(0)
	for i := range m.RowGroups {
		g := &m.RowGroups[i]
		if g.FileOffset != at || len(g.Columns) != columns || g.NumRows <= 0 {
			return damage(path, "row group %d is out of place", i)
		}
		for c := range g.Columns {
			k := &g.Columns[c].MetaData
			start := k.DataPageOffset
			if k.DictionaryPageOffset != 0 {
				start = k.DictionaryPageOffset
			}
			if start != at || k.DataPageOffset < start || k.TotalCompressedSize <= 0 || k.TotalCompressedSize > end-at {
				return damage(path, "column %s of row group %d is out of place", specs[c].name, i)
			}
			at += k.TotalCompressedSize
		}
		rows += g.NumRows
	}
	if at != end || rows != m.NumRows {
		return damage(path, "%d rows in %d bytes, want %d in %d", rows, at, m.NumRows, end)
	}
	return nil
}

// bounds returns the bounds of a number column in a row group.
func bounds(g *format.RowGroup, col int) (low, high int64, ok bool) {
	s := &g.Columns[col].MetaData.Statistics
	if len(s.MinValue) != 8 || len(s.MaxValue) != 8 {
		return 0, 0, false
	}
	return int64(binary.LittleEndian.Uint64(s.MinValue)), int64(binary.LittleEndian.Uint64(s.MaxValue)), true
}

// readFile returns what is known of the file at path from its footer.
func readFile(path string, r Range, day string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	m, err := readFooter(f)
	if err != nil {
		return File{}, err
	}
	out := File{Path: path, Range: r, Rows: m.NumRows, Bytes: m.size, Day: day}
	for i := range m.RowGroups {
		if low, high, ok := bounds(&m.RowGroups[i], colSeq); !ok || uint64(low) < r.First || uint64(high) > r.Last {
			return File{}, damage(path, "its rows are not of the range in its name")
		}
		if low, high, ok := bounds(&m.RowGroups[i], colTime); ok {
			if out.From == 0 || moat.Time(low) < out.From {
				out.From = moat.Time(low)
			}
			out.To = max(out.To, moat.Time(high))
		}
	}
	return out, nil
}

// groupReader reads the rows of a row group, one page of each column at a time.
type groupReader struct {
	path    string
	pages   [columns]parquet.Pages
	cols    [columns]cursor
	rows    int
	left    int64
	release []parquet.Page
}

// cursor walks over the values of one page of a column.
type cursor struct {
	rep, def []byte // nil: no levels
	level    int    // next level
	value    int    // next value
	null     bool   // no row of the page has a value

	ints  []int64
	bits  []byte
	index []int32 // nil: the values are in chars in order

	chars   []byte
	offsets []uint32 // value i is chars[offsets[i]:offsets[i+1]]
}

func newGroupReader(path string, g parquet.RowGroup) *groupReader {
	r := &groupReader{path: path, left: g.NumRows()}
	for i, c := range g.ColumnChunks() {
		r.pages[i] = c.Pages()
	}
	return r
}

func (r *groupReader) close() {
	r.free()
	for _, p := range r.pages {
		p.Close()
	}
}

func (r *groupReader) free() {
	for _, p := range r.release {
		parquet.Release(p)
	}
	r.release = r.release[:0]
}

// next loads the next page of each column; io.EOF says that there is none.
func (r *groupReader) next() (err error) {
	defer func() { // the decoders may panic on pages whose checksum is right but whose content is not
		if p := recover(); p != nil {
			err = damage(r.path, "page: %v", p)
		}
	}()
	r.free()
	if r.left == 0 {
		return io.EOF
	}
	for i := range r.cols {
		p, err := r.pages[i].ReadPage()
		if err != nil {
			return damage(r.path, "column %s: %v", specs[i].name, err)
		}
		r.release = append(r.release, p)
		if i == 0 {
			r.rows = int(p.NumRows())
		}
		if int(p.NumRows()) != r.rows || r.rows == 0 || int64(r.rows) > r.left {
			return damage(r.path, "page of column %s has %d rows, want %d", specs[i].name, p.NumRows(), r.rows)
		}
		if err := r.cols[i].load(&specs[i], p); err != nil {
			return damage(r.path, "column %s: %v", specs[i].name, err)
		}
	}
	r.left -= int64(r.rows)
	return nil
}

func (c *cursor) load(s *spec, p parquet.Page) error {
	*c = cursor{}
	nulls := p.NumNulls()
	if c.null = nulls == p.NumValues() && s.shape != shapeList; c.null {
		return nil
	}
	if rep, def := s.levels(); def > 0 {
		c.def = p.DefinitionLevels()
		if rep > 0 {
			c.rep = p.RepetitionLevels()
		}
		if int64(len(c.def)) != p.NumValues() || rep > 0 && len(c.rep) != len(c.def) {
			return errors.New("levels are missing")
		}
	}
	data := p.Data()
	want := int(p.NumValues() - nulls)
	have := 0
	switch s.shape {
	case shapeNumber, shapeTime:
		c.ints = data.Int64()
		have = len(c.ints)
	case shapeBool:
		c.bits = data.Boolean()
		have = 8 * len(c.bits)
	default:
		if want == 0 {
			return nil
		}
		if d := p.Dictionary(); d != nil {
			c.index = data.Int32()
			words := d.Page().Data()
			c.chars, c.offsets = words.ByteArray()
			for _, i := range c.index {
				if i < 0 || int(i)+1 >= len(c.offsets) {
					return fmt.Errorf("index %d into %d words", i, len(c.offsets)-1)
				}
			}
			have = len(c.index)
		} else {
			c.chars, c.offsets = data.ByteArray()
			have = len(c.offsets) - 1
		}
	}
	if have < want {
		return fmt.Errorf("%d values, want %d", have, want)
	}
	return nil
}
