package lake

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// blockRows is how many rows a page has, give or take a batch. It bounds what
// is held unencoded and what a reader decodes at a time.
const blockRows = 32 << 10

// blockBytes ends a block early when its text is long.
const blockBytes = 16 << 20

// dictionaryBytes and dictionaryShare bound a dictionary: one that is larger, or
// that holds more than this share of the values, is not added to by the next page.
const (
	dictionaryBytes = 2 << 20
	dictionaryShare = 0.4
)

// block holds the values of some rows by column: one page of each column. Values
// are kept in the form in which they are encoded, and a row without a value costs nothing.
type block struct {
	rows int
	cols [columns]column
	text int // bytes of text
}

type column struct {
	present []byte   // a bit per row; unused for required columns
	ints    []int64  // numbers, times, booleans
	index   []int32  // text by dictionary
	data    []byte   // text without dictionary: each value after its length, as PLAIN wants it
	texts   int      // values in data
	counts  []uint32 // lists: how many elements, for each row that has a list
	plain   bool     // this page's text goes to data
	words   int      // entries of the dictionary when the page was closed
}

// dictionary holds the distinct values of a text column in one row group, in
// the form of a Parquet dictionary page.
type dictionary struct {
	data   []byte
	ends   []uint32 // end of each value in data
	slots  []uint64 // open addressing: high half of the hash, number of the value + 1
	last   int32    // number of the value that was added last
	values int      // values added, repeated ones counted, in all pages of the row group
	codes  [32]int32
}

var dictionarySeed = maphash.MakeSeed()

func (d *dictionary) reset() {
	clear(d.slots)
	d.data, d.ends, d.last, d.values = d.data[:0], d.ends[:0], -1, 0
	d.codes = [32]int32{}
}

// at returns the value with number i.
func (d *dictionary) at(i int32) []byte {
	start := uint32(0)
	if i > 0 {
		start = d.ends[i-1]
	}
	return d.data[start+4 : d.ends[i]]
}

// add returns the number of s, which it makes if s is new.
func (d *dictionary) add(s string) int32 {
	// Events come in runs of one app, host or account: comparing is cheaper than hashing.
	if d.last >= 0 && string(d.at(d.last)) == s {
		return d.last
	}
	if len(d.ends)*2 >= len(d.slots) {
		d.grow()
	}
	h := maphash.String(dictionarySeed, s)
	mask := uint64(len(d.slots) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		slot := d.slots[at]
		if slot == 0 {
			if !utf8.ValidString(s) {
				return d.add(strings.ToValidUTF8(s, "\uFFFD"))
			}
			d.data = appendPlain(d.data, s)
			d.ends = append(d.ends, uint32(len(d.data)))
			d.slots[at] = h>>32<<32 | uint64(len(d.ends))
			d.last = int32(len(d.ends) - 1)
			return d.last
		}
		if i := int32(uint32(slot)) - 1; slot>>32 == h>>32 && string(d.at(i)) == s {
			d.last = i
			return i
		}
	}
}

// addCode is add for an enumeration, whose values are few and numbered.
func (d *dictionary) addCode(code uint8, text func() string) int32 {
	if int(code) >= len(d.codes) {
		return d.add(text())
	}
	if d.codes[code] == 0 {
		d.codes[code] = d.add(text()) + 1
	}
	return d.codes[code] - 1
}

func (d *dictionary) grow() {
	d.slots = make([]uint64, max(64, 4*len(d.slots)))
	mask := uint64(len(d.slots) - 1)
	for i := range d.ends {
		h := maphash.Bytes(dictionarySeed, d.at(int32(i)))
		at := h & mask
		for d.slots[at] != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = h>>32<<32 | uint64(i+1)
	}
}

// full tells that the next page had better not use the dictionary.
func (d *dictionary) full() bool {
	return len(d.data) > dictionaryBytes || float64(len(d.ends)) > dictionaryShare*float64(d.values) && d.values > 1000
}

func appendPlain(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// group builds the row group of one file: the block that is being filled and the dictionaries.
type group struct {
	dicts [columns]*dictionary
	blk   *block
	buf   []byte // of detail
}

// reserve makes room for n more rows.
func (b *block) reserve(n int) {
	need := (b.rows+n)/8 + 1
	for i := range b.cols {
		c := &b.cols[i]
		if !specs[i].required && len(c.present) < need {
			c.present = append(c.present, make([]byte, max(need, blockRows/8+1, 2*len(c.present))-len(c.present))...)
		}
	}
}

func (b *block) reset() {
	for i := range b.cols {
		c := &b.cols[i]
		clear(c.present[:min(len(c.present), b.rows/8+1)])
		*c = column{present: c.present, ints: c.ints[:0], index: c.index[:0], data: c.data[:0], counts: c.counts[:0]}
	}
	b.rows, b.text = 0, 0
}

// mark is the state of a block between two batches.
type mark struct {
	rows, text int
	cols       [columns]struct{ ints, index, data, texts, counts int }
}

func (b *block) mark(m *mark) {
	m.rows, m.text = b.rows, b.text
	for i := range b.cols {
		c, at := &b.cols[i], &m.cols[i]
		at.ints, at.index, at.data, at.texts, at.counts = len(c.ints), len(c.index), len(c.data), c.texts, len(c.counts)
	}
}

// rewind takes back the rows since m. Their words stay in the dictionaries, which does no harm.
func (b *block) rewind(m *mark) {
	for i := range b.cols {
		c, at := &b.cols[i], &m.cols[i]
		c.ints, c.index, c.data, c.texts, c.counts = c.ints[:at.ints], c.index[:at.index], c.data[:at.data], at.texts, c.counts[:at.counts]
		if specs[i].required {
			continue
		}
		for r := m.rows; r < b.rows; r++ {
			c.present[r>>3] &^= 1 << (r & 7)
		}
	}
	b.rows, b.text = m.rows, m.text
}

func (c *column) set(row int) { c.present[row>>3] |= 1 << (row & 7) }

func (g *group) word(col int, s string) {
	b := g.blk
	c := &b.cols[col]
	if !c.plain {
		d := g.dicts[col]
		before := len(d.data)
		c.index = append(c.index, d.add(s))
		b.text += len(d.data) - before
		return
	}
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\uFFFD")
	}
	c.data = appendPlain(c.data, s)
	c.texts++
	b.text += len(s)
}

func (g *group) textIf(has bool, col int, s string) {
	if has {
		g.blk.cols[col].set(g.blk.rows)
		g.word(col, s)
	}
}

func (g *group) list(col int, l []string) {
	c := &g.blk.cols[col]
	c.set(g.blk.rows)
	c.counts = append(c.counts, uint32(len(l)))
	for _, s := range l {
		g.word(col, s)
	}
}

func (g *group) number(col int, v int64) {
	c := &g.blk.cols[col]
	c.ints = append(c.ints, v)
}

func (g *group) numberIf(has bool, col int, v int64) {
	if has {
		g.blk.cols[col].set(g.blk.rows)
		g.number(col, v)
	}
}

func (g *group) code(col int, code uint8, text func() string) {
	c := &g.blk.cols[col]
	if c.plain {
		g.word(col, text())
		return
	}
	c.index = append(c.index, g.dicts[col].addCode(code, text))
}

func bit(has bool, v int64) int64 {
	if has {
		return v
	}
	return 0
}

// add appends one event. The block must have room for its row; see reserve.
func (g *group) add(seq uint64, row int, e *moat.Event) {
	g.number(colSeq, int64(seq))
	g.number(colRow, int64(row))
	g.number(colReceived, int64(e.Received))
	g.number(colFlags, int64(e.Flags))
	g.number(colGiven, bit(e.Has(moat.FieldType), givenType)|bit(e.Has(moat.FieldActorKind), givenActorKind)|
		bit(e.Has(moat.FieldOutcome), givenOutcome)|bit(e.Has(moat.FieldPartner), givenPartner))
	g.code(colType, uint8(e.Type), e.Type.String)
	g.code(colActorKind, uint8(e.ActorKind), e.ActorKind.String)
	g.code(colOutcome, uint8(e.Outcome), e.Outcome.String)
	g.word(colPartner, e.Partner)

	g.numberIf(e.Has(moat.FieldTime), colTime, int64(e.Time))
	g.textIf(e.Has(moat.FieldEventID), colID, e.ID)
	g.textIf(e.Has(moat.FieldActor), colActor, e.Actor)
	g.textIf(e.Has(moat.FieldRole), colRole, e.Role)
	g.textIf(e.Has(moat.FieldApp), colApp, e.App)
	if e.Has(moat.FieldShops) {
		g.list(colShops, e.Shops)
	}
	g.textIf(e.Has(moat.FieldIP), colIP, e.IP)
	g.textIf(e.Has(moat.FieldDevice), colDevice, e.Device)
	g.textIf(e.Has(moat.FieldUserAgent), colUserAgent, e.UserAgent)
	g.textIf(e.Has(moat.FieldSession), colSession, e.Session)
	g.textIf(e.Has(moat.FieldHost), colHost, e.Host)
	g.textIf(e.Has(moat.FieldOutlet), colOutlet, e.Outlet)
	g.textIf(e.Has(moat.FieldURL), colURL, e.URL)
	g.textIf(e.Has(moat.FieldOperation), colOperation, e.Operation)
	g.textIf(e.Has(moat.FieldReason), colReason, e.Reason)
	if e.Has(moat.FieldOrders) {
		g.list(colOrders, e.Orders)
	}
	g.numberIf(e.Has(moat.FieldCount), colCount, e.Count)
	if e.Has(moat.FieldFields) {
		g.list(colFields, e.Fields)
	}
	g.numberIf(e.Has(moat.FieldEncrypted), colEncrypted, bit(e.Encrypted, 1))
	g.numberIf(e.Has(moat.FieldBytes), colBytes, e.Bytes)
	g.textIf(e.Has(moat.FieldDestination), colDestination, e.Destination)
	g.textIf(e.Has(moat.FieldDestinationKind), colDestinationKind, e.DestinationKind)
	g.textIf(e.Has(moat.FieldMethod), colMethod, e.Method)
	g.textIf(e.Has(moat.FieldPath), colPath, e.Path)
	g.numberIf(e.Has(moat.FieldStatus), colStatus, e.Status)
	g.textIf(e.Has(moat.FieldDB), colDB, e.DB)
	g.textIf(e.Has(moat.FieldTemplate), colTemplate, e.Template)
	g.numberIf(e.Has(moat.FieldRows), colRows, e.Rows)
	g.textIf(e.Has(moat.FieldKeyID), colKeyID, e.KeyID)
	if g.buf = appendDetail(g.buf[:0], e); len(g.buf) > 0 {
		g.textIf(true, colDetail, string(g.buf))
	}
	g.blk.rows++
}

// open makes b the block that is being filled.
func (g *group) open(b *block) {
	b.reset()
	for i := range b.cols {
		if !specs[i].isText() {
			continue
		}
		if g.dicts[i] == nil {
			g.dicts[i] = new(dictionary)
			g.dicts[i].reset()
		}
		b.cols[i].plain = specs[i].plain || g.dicts[i].full()
	}
	g.blk = b
}

// seal closes the block that is being filled and returns it.
func (g *group) seal() *block {
	b := g.blk
	for i, d := range g.dicts {
		if d != nil {
			d.values += len(b.cols[i].index)
			b.cols[i].words = len(d.ends)
		}
	}
	g.blk = nil
	return b
}

// width is the bits that an index into n words takes.
func width(n int) int { return bits.Len(uint(max(n-1, 0))) }
