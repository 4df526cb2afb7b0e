package lake

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// The lake lays out row groups itself, with parquet-go's encodings, metadata
// types and Thrift codec, because a row writer visits each column of each row: 39
// columns, two thirds of them empty, cost several times the budget. Here a page is
// encoded from a column in one go, and a column that is empty in a page is three bytes.

// maxBound is the longest text that is kept as a bound in the statistics.
const maxBound = 128

// chunk is one column of a row group as it is written.
type chunk struct {
	pages        []byte // headers and compressed bodies of the data pages
	uncompressed int64  // the same, uncompressed
	values       int64  // levels: nulls count, too
	nulls        int64
	bounded      bool // low and high are known
	low, high    int64
	dictPages    int
	plainPages   int
}

// encoder turns blocks into the chunks of a row group, and those into a file.
// It is used by one goroutine.
type encoder struct {
	rows   int64
	chunks [columns]chunk

	page, scratch, levels []byte
	rep, def              []byte // levels of a list
	header                bytes.Buffer
	zstd                  *zstd.Encoder
	rle1, rle2            rle.Encoding
	delta                 delta.BinaryPackedEncoding
	yield                 func()
}

func newEncoder(yield func()) *encoder {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true), zstd.WithAllLitEntropyCompression(true))
	if err != nil {
		panic(fmt.Sprintf("BUG: zstd refuses its options: %v", err))
	}
	return &encoder{yield: yield, zstd: z, rle1: rle.Encoding{BitWidth: 1}, rle2: rle.Encoding{BitWidth: 2}}
}

func (x *encoder) reset() {
	x.rows = 0
	for i := range x.chunks {
		x.chunks[i] = chunk{pages: x.chunks[i].pages[:0]}
	}
}

// add encodes a block as one page of each column.
func (x *encoder) add(b *block) error {
	if b.rows == 0 {
		return nil
	}
	for i := range b.cols {
		x.yield() // a column takes half a millisecond, and a question may be waiting for the processor
		if err := x.addPage(&specs[i], &x.chunks[i], &b.cols[i], b.rows); err != nil {
			return fmt.Errorf("cannot encode column %s: %w", specs[i].name, err)
		}
	}
	x.rows += int64(b.rows)
	return nil
}

func (x *encoder) addPage(s *spec, k *chunk, c *column, rows int) (err error) {
	x.page = x.page[:0]
	values := c.items(s)
	levels, nulls := rows, rows-values
	switch {
	case s.shape == shapeList:
		levels, nulls = x.listLevels(c, rows)
	case s.required:
		nulls = 0
	default:
		x.presence(c.present, rows, values)
	}
	encoding := format.Plain
	switch s.shape {
	case shapeNumber, shapeTime:
		encoding = format.DeltaBinaryPacked
		k.bound(c.ints)
		if x.scratch, err = x.delta.EncodeInt64(x.scratch, c.ints); err == nil {
			x.page = append(x.page, x.scratch...)
		}
	case shapeBool:
		x.page = appendBits(x.page, c.ints)
	default:
		if len(c.index)+len(c.lengths) == 0 {
			break // nothing but nulls and empty lists: no body
		}
		if c.plain {
			encoding = format.DeltaByteArray
			x.scratch, err = x.delta.EncodeInt32(x.scratch, c.shared)
			x.page = append(x.page, x.scratch...)
			if err == nil {
				x.scratch, err = x.delta.EncodeInt32(x.scratch, c.lengths)
				x.page = append(append(x.page, x.scratch...), c.data...)
			}
			k.plainPages++
			break
		}
		encoding = format.RLEDictionary
		k.dictPages++
		x.page, err = x.indexes(x.page, c.index, c.words)
	}
	if err != nil {
		return err
	}
	h := format.PageHeader{Type: format.DataPage, DataPageHeader: thrift.New(format.DataPageHeader{
		NumValues: int32(levels), Encoding: encoding,
		DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
		Statistics: format.Statistics{NullCount: int64(nulls)},
	})}
	k.values += int64(levels)
	k.nulls += int64(nulls)
	var n int
	k.pages, n, err = x.appendPage(k.pages, &h, x.page)
	k.uncompressed += int64(n)
	return err
}

// indexes appends a dictionary-encoded page body: the width of an index, then runs.
func (x *encoder) indexes(dst []byte, index []int32, words int) ([]byte, error) {
	e := rle.Encoding{BitWidth: width(words)}
	var err error
	dst = append(dst, byte(e.BitWidth))
	x.scratch, err = e.EncodeInt32(x.scratch, index)
	return append(dst, x.scratch...), err
}

// items returns how many values c holds, which for lists is the number of lists.
func (c *column) items(s *spec) int {
	switch {
	case s.shape == shapeList:
		return len(c.counts)
	case !s.isText():
		return len(c.ints)
	case c.plain:
		return len(c.lengths)
	}
	return len(c.index)
}

// presence appends the definition levels of a column that may be null. Levels
// are 0 and 1, so that the bitmap of present rows is their bit-packed form already.
func (x *encoder) presence(present []byte, rows, values int) {
	l := x.levels[:0]
	switch values {
	case 0, rows:
		l = binary.AppendUvarint(l, uint64(rows)<<1)
		l = append(l, byte(min(values, 1)))
	default:
		n := (rows + 7) / 8
		l = binary.AppendUvarint(l, uint64(n)<<1|1)
		l = append(l, present[:n]...)
	}
	x.levels = l
	x.page = append(binary.LittleEndian.AppendUint32(x.page, uint32(len(l))), l...)
}

// listLevels appends repetition and definition levels of a list: 0 for null, 1 for
// an empty list, 2 for an element.
func (x *encoder) listLevels(c *column, rows int) (levels, nulls int) {
	if len(c.counts) == 0 {
		for range 2 {
			x.levels = append(binary.AppendUvarint(x.levels[:0], uint64(rows)<<1), 0)
			x.page = append(binary.LittleEndian.AppendUint32(x.page, uint32(len(x.levels))), x.levels...)
		}
		return rows, rows
	}
	rep, def := slices.Grow(x.rep[:0], rows), slices.Grow(x.def[:0], rows)
	counts := c.counts
	for r := range rows {
		n, level := uint32(0), byte(0)
		if c.present[r>>3]>>(r&7)&1 == 1 {
			n, counts = counts[0], counts[1:]
			level = byte(min(n, 1)) + 1
		}
		if n == 0 {
			nulls++
		}
		rep, def = append(rep, 0), append(def, level)
		for ; n > 1; n-- {
			rep, def = append(rep, 1), append(def, 2)
		}
	}
	x.rep, x.def = rep, def
	for _, l := range []struct {
		levels []byte
		rle    *rle.Encoding
	}{{rep, &x.rle1}, {def, &x.rle2}} {
		x.levels, _ = l.rle.EncodeLevels(x.levels, l.levels) // fails for wide levels only
		x.page = append(binary.LittleEndian.AppendUint32(x.page, uint32(len(x.levels))), x.levels...)
	}
	return len(rep), nulls
}

func appendBits(dst []byte, v []int64) []byte {
	for i := 0; i < len(v); i += 8 {
		var bits byte
		for j, w := range v[i:min(i+8, len(v))] {
			bits |= byte(w) << j
		}
		dst = append(dst, bits)
	}
	return dst
}

// bound widens the statistics by v.
func (k *chunk) bound(v []int64) {
	if len(v) == 0 {
		return
	}
	if !k.bounded {
		k.bounded, k.low, k.high = true, math.MaxInt64, math.MinInt64
	}
	low, high := k.low, k.high
	for _, n := range v {
		low, high = min(low, n), max(high, n)
	}
	k.low, k.high = low, high
}

// appendPage appends header and compressed body to dst, and returns the bytes that it
// would take uncompressed.
func (x *encoder) appendPage(dst []byte, h *format.PageHeader, body []byte) (out []byte, uncompressed int, err error) {
	x.scratch = x.zstd.EncodeAll(body, x.scratch[:0])
	if len(body) > math.MaxInt32 || len(x.scratch) > math.MaxInt32 {
		return dst, 0, fmt.Errorf("page of %d bytes is too large", len(body))
	}
	h.UncompressedPageSize = int32(len(body))
	h.CompressedPageSize = int32(len(x.scratch))
	h.CRC = int32(crc32.ChecksumIEEE(x.scratch))
	x.header.Reset()
	if err := thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&x.header)).Encode(h); err != nil {
		return dst, 0, err
	}
	dst = append(dst, x.header.Bytes()...)
	return append(dst, x.scratch...), x.header.Len() + len(body), nil
}

// fileWriter writes row groups one after the other, and the footer.
type fileWriter struct {
	w    io.Writer
	at   int64
	rows int64
	meta []format.RowGroup
	sum  uint32   // CRC-32C of the row group so far
	sums []uint32 // of those that are whole
}

const magic = "PAR1"

// Parquet has checksums for the bodies of pages only. A flipped bit in a header or in the footer
// would let decoders allocate at will, so the footer has two texts of hexadecimal CRC-32C
// in its key-value metadata: one of each row group, and one of itself, made while that text is zeros.
const (
	groupsKey = "moat.row_groups.crc32c"
	footerKey = "moat.footer.crc32c"
	noSum     = "00000000"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// footerSum returns the checksum of a footer and where in it its text is; false if there is none.
func footerSum(footer []byte) (sum string, at int, ok bool) {
	at = bytes.LastIndex(footer, []byte(footerKey)) + len(footerKey) + 2 // header of the field, length of the text
	if at < len(footerKey)+2 || at+len(noSum) > len(footer) {
		return "", 0, false
	}
	c := crc32.Update(0, castagnoli, footer[:at])
	c = crc32.Update(c, castagnoli, []byte(noSum))
	c = crc32.Update(c, castagnoli, footer[at+len(noSum):])
	return fmt.Sprintf("%08x", c), at, true
}

func newFileWriter(w io.Writer) (*fileWriter, error) {
	f := &fileWriter{w: w}
	return f, f.write([]byte(magic))
}

func (f *fileWriter) write(b []byte) error {
	n, err := f.w.Write(b)
	f.at += int64(n)
	f.sum = crc32.Update(f.sum, castagnoli, b[:n])
	return err
}

// endGroup takes note of a row group that is written.
func (f *fileWriter) endGroup(g format.RowGroup) {
	f.meta = append(f.meta, g)
	f.rows += g.NumRows
	f.sums = append(f.sums, f.sum)
}

// writeGroup writes the chunks that x holds, with their dictionaries, unless it holds none.
func (f *fileWriter) writeGroup(x *encoder, dicts *[columns]dictionary) error {
	if x.rows == 0 {
		return nil
	}
	f.sum = 0
	g := format.RowGroup{NumRows: x.rows, FileOffset: f.at, Ordinal: int16(len(f.meta))}
	for i := range x.chunks {
		m, err := f.writeChunk(x, &specs[i], &x.chunks[i], &dicts[i])
		if err != nil {
			return err
		}
		g.Columns = append(g.Columns, format.ColumnChunk{MetaData: m})
		g.TotalByteSize += m.TotalUncompressedSize
		g.TotalCompressedSize += m.TotalCompressedSize
	}
	f.endGroup(g)
	return nil
}

func (f *fileWriter) writeChunk(x *encoder, s *spec, k *chunk, d *dictionary) (format.ColumnMetaData, error) {
	m := format.ColumnMetaData{
		Type: s.physical(), PathInSchema: s.path(), Codec: format.Zstd, NumValues: k.values,
		TotalUncompressedSize: k.uncompressed, Statistics: format.Statistics{NullCount: k.nulls},
		Encoding: []format.Encoding{format.RLE},
	}
	start := f.at
	switch {
	case s.shape == shapeNumber || s.shape == shapeTime:
		m.Encoding = append(m.Encoding, format.DeltaBinaryPacked)
	case k.plainPages > 0:
		m.Encoding = append(m.Encoding, format.Plain, format.DeltaByteArray)
	default:
		m.Encoding = append(m.Encoding, format.Plain)
	}
	if k.dictPages > 0 {
		m.Encoding = append(m.Encoding, format.RLEDictionary)
		h := format.PageHeader{Type: format.DictionaryPage, DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{
			NumValues: int32(len(d.ends)), Encoding: format.Plain,
		})}
		page, n, err := x.appendPage(x.page[:0], &h, d.data)
		if err != nil {
			return m, err
		}
		x.page = page
		m.DictionaryPageOffset = f.at
		m.TotalUncompressedSize += int64(n)
		if err := f.write(page); err != nil {
			return m, err
		}
	}
	if k.bounded {
		m.Statistics.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(k.low))
		m.Statistics.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(k.high))
	} else if s.isText() && k.dictPages > 0 && k.plainPages == 0 {
		m.Statistics.MinValue, m.Statistics.MaxValue = d.bounds()
	}
	m.DataPageOffset = f.at
	err := f.write(k.pages)
	m.TotalCompressedSize = f.at - start
	return m, err
}

// bounds returns the least and the greatest value, or nil if there is none or one is long.
func (d *dictionary) bounds() (low, high []byte) {
	var least, greatest string
	for i := range d.ends {
		v := d.at(int32(i))
		if i == 0 || v < least {
			least = v
		}
		greatest = max(greatest, v)
	}
	if len(d.ends) == 0 || len(least) > maxBound || len(greatest) > maxBound {
		return nil, nil
	}
	return []byte(least), []byte(greatest)
}

// copyGroup copies a row group of another file of the same schema as it is, if its checksum is sum.
func (f *fileWriter) copyGroup(from *os.File, g *format.RowGroup, sum uint32) error {
	out := *g
	out.Columns = append([]format.ColumnChunk(nil), g.Columns...)
	shift := f.at - g.FileOffset
	out.FileOffset, out.Ordinal = f.at, int16(len(f.meta))
	for i := range out.Columns {
		m := &out.Columns[i].MetaData
		m.DataPageOffset += shift
		if m.DictionaryPageOffset != 0 {
			m.DictionaryPageOffset += shift
		}
	}
	f.sum = 0
	if _, err := io.Copy(writerFunc(f.write), io.NewSectionReader(from, g.FileOffset, g.TotalCompressedSize)); err != nil {
		return err
	}
	if f.sum != sum {
		return damage(from.Name(), "checksum of row group %d", g.Ordinal)
	}
	f.endGroup(out)
	return nil
}

type writerFunc func([]byte) error

func (w writerFunc) Write(b []byte) (int, error) { return len(b), w(b) }

// close writes the footer, without which the file is no Parquet file.
func (f *fileWriter) close() error {
	orders := make([]format.ColumnOrder, columns)
	for i := range orders {
		orders[i].Value = new(format.TypeDefinedOrder)
	}
	b, err := thrift.Marshal(new(thrift.CompactProtocol), &format.FileMetaData{
		Version: 2, Schema: schemaElements(), NumRows: f.rows, RowGroups: f.meta, CreatedBy: "moat lake version 1", ColumnOrders: orders,
		KeyValueMetadata: []format.KeyValue{{Key: groupsKey, Value: formatSums(f.sums)}, {Key: footerKey, Value: noSum}},
	})
	if err != nil {
		return err
	}
	sum, at, ok := footerSum(b)
	if !ok || string(b[at:at+len(noSum)]) != noSum {
		return errors.New("BUG: footer has no place for its checksum")
	}
	copy(b[at:], sum)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(b)))
	return f.write(append(b, magic...))
}

func formatSums(sums []uint32) string {
	var b strings.Builder
	for _, s := range sums {
		fmt.Fprintf(&b, "%08x", s)
	}
	return b.String()
}

// parseSums is the inverse of formatSums; false unless there are n.
func parseSums(s string, n int) (sums []uint32, ok bool) {
	if len(s) != n*len(noSum) {
		return nil, false
	}
	for ; s != ""; s = s[len(noSum):] {
		v, err := strconv.ParseUint(s[:len(noSum)], 16, 32)
		if err != nil {
			return nil, false
		}
		sums = append(sums, uint32(v))
	}
	return sums, true
}
