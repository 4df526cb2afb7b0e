package lake

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/zeebo/xxh3"
)

// blockRows is how many rows a page has, give or take a batch. It bounds what
// is held unencoded and what a reader decodes at a time.
const blockRows = 32 << 10

// blockBytes ends a block early when its text is long.
const blockBytes = 16 << 20

// A dictionary that holds more than this is not added to by the next page: its
// table would no longer stay in the cache, which costs more than compressing the
// plain text (1.5 against 1.9 µs an event, for 4 % more bytes).
const (
	dictionaryWords = 8 << 10
	dictionaryBytes = 2 << 20
	dictionaryShare = 0.4 // of all values
)

// block holds the values of some rows by column: one page of each column. Values
// are kept in the form in which they are encoded, and a row without a value costs nothing.
type block struct {
	rows int
	room int // rows for which there are bits
	cols [columns]column
	text int // bytes of text
}

type column struct {
	present []byte   // a bit per row; unused for required columns
	ints    []int64  // numbers, times, booleans
	index   []int32  // text by dictionary
	data    []byte   // text without dictionary, end to end
	lengths []int32  // of the values in data
	shared  []int32  // how many bytes of the value before come first; only of columns that are kept so
	last    []byte   // value of such a column
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
	values int      // values added, repeated ones counted, in all pages of the row group
	codes  [32]int32
}

// dictionarySeed keeps strangers from choosing values that collide.
var dictionarySeed = rand.Uint64()

func (d *dictionary) reset() {
	if d.slots == nil {
		d.slots = make([]uint64, 64)
	}
	clear(d.slots)
	d.data, d.ends, d.values = d.data[:0], d.ends[:0], 0
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

// addAll appends the numbers of the values in l to index, and makes those that are new.
// Taking the values of a column together keeps its table in the cache: one
// by one, row by row, costs twice as much.
func (d *dictionary) addAll(index []int32, l []string) []int32 {
	index = slices.Grow(index, len(l))
	var last string // the value before, and its number
	number := int32(-1)
next:
	for _, s := range l {
		// Events come in runs of one app, host or account: comparing text is cheaper than hashing it.
		if number >= 0 && s == last {
			index = append(index, number)
			continue
		}
		h := xxh3.HashStringSeed(s, dictionarySeed)
		mask := uint64(len(d.slots) - 1)
		for at := h & mask; d.slots[at] != 0; at = (at + 1) & mask {
			if i := int32(uint32(d.slots[at])) - 1; d.slots[at]>>32 == h>>32 && string(d.at(i)) == s {
				last, number = s, i
				index = append(index, i)
				continue next
			}
		}
		if !utf8.ValidString(s) {
			index = d.addAll(index, []string{strings.ToValidUTF8(s, "\uFFFD")})
			continue
		}
		d.data = binary.LittleEndian.AppendUint32(d.data, uint32(len(s)))
		d.data = append(d.data, s...)
		d.ends = append(d.ends, uint32(len(d.data)))
		last, number = s, int32(len(d.ends)-1)
		index = append(index, number)
		d.place(h, number)
		if len(d.ends)*2 > len(d.slots) {
			d.grow()
		}
	}
	return index
}

// addCode returns the number of the text of an enumeration, whose values are few and numbered.
func (d *dictionary) addCode(code uint8, text func() string) int32 {
	if int(code) >= len(d.codes) {
		return d.addAll(nil, []string{text()})[0]
	}
	if d.codes[code] == 0 {
		d.codes[code] = d.addAll(nil, []string{text()})[0] + 1
	}
	return d.codes[code] - 1
}

// place puts the number of a value with hash h into the table.
func (d *dictionary) place(h uint64, i int32) {
	mask := uint64(len(d.slots) - 1)
	at := h & mask
	for d.slots[at] != 0 {
		at = (at + 1) & mask
	}
	d.slots[at] = h>>32<<32 | uint64(i+1)
}

func (d *dictionary) grow() {
	d.slots = make([]uint64, 4*len(d.slots))
	for i := range d.ends {
		d.place(xxh3.HashSeed(d.at(int32(i)), dictionarySeed), int32(i))
	}
}

// full tells that the next page had better not use the dictionary.
func (d *dictionary) full() bool {
	return len(d.ends) > dictionaryWords || len(d.data) > dictionaryBytes ||
		d.values > 1000 && float64(len(d.ends)) > dictionaryShare*float64(d.values)
}

// group builds the row group of one file: the block that is being filled and the
// dictionaries. The text of a message is staged by column, as views, until its end.
type group struct {
	dicts  *[columns]dictionary
	blk    *block
	staged [columns][]string
	detail []byte
	ends   []int // of each detail
}

// grow makes room for more rows.
func (b *block) grow() {
	more := max(b.room, blockRows)
	for i := range b.cols {
		if c := &b.cols[i]; !specs[i].required {
			c.present = append(c.present, make([]byte, more/8)...)
		}
	}
	b.room += more
}

func (b *block) reset() {
	for i := range b.cols {
		c := &b.cols[i]
		clear(c.present[:min(len(c.present), b.rows/8+1)])
		*c = column{present: c.present, ints: c.ints[:0], index: c.index[:0], data: c.data[:0], lengths: c.lengths[:0], shared: c.shared[:0], last: c.last[:0], counts: c.counts[:0]}
	}
	b.rows, b.text = 0, 0
}

// commit copies the text that was staged.
func (g *group) commit() {
	at := 0
	for _, end := range g.ends {
		g.staged[colDetail] = append(g.staged[colDetail], unsafe.String(unsafe.SliceData(g.detail[at:]), end-at))
		at = end
	}
	for i, l := range g.staged {
		if len(l) == 0 {
			continue
		}
		c := &g.blk.cols[i]
		switch {
		case specs[i].front:
			g.blk.text += c.addFront(l)
		case c.plain:
			before := len(c.data)
			c.addPlain(l)
			g.blk.text += len(c.data) - before
		default:
			d := &g.dicts[i]
			before := len(d.data)
			c.index = d.addAll(c.index, l)
			g.blk.text += len(d.data) - before
		}
		g.staged[i] = l[:0]
	}
	g.detail, g.ends = g.detail[:0], g.ends[:0]
}

// addPlain appends values that are not looked up in a dictionary.
func (c *column) addPlain(l []string) {
	start := len(c.data)
	for _, s := range l {
		c.data = append(c.data, s...)
		c.lengths = append(c.lengths, int32(len(s)))
	}
	if isASCII(c.data[start:]) {
		return
	}
	c.data, c.lengths = c.data[:start], c.lengths[:len(c.lengths)-len(l)]
	for _, s := range l {
		s = strings.ToValidUTF8(s, "\uFFFD")
		c.data = append(c.data, s...)
		c.lengths = append(c.lengths, int32(len(s)))
	}
}

// addFront appends values less what each has in common with the beginning of the one before, and returns their bytes: neighbouring
// orders of an event, and ids that count up, differ in a digit or two, and what is left out need not be compressed.
func (c *column) addFront(l []string) (text int) {
	start, n := len(c.data), len(c.lengths)
	last := unsafe.String(unsafe.SliceData(c.last), len(c.last))
	for _, s := range l {
		c.addRest(sharedPrefix(last, s), s)
		text += len(s)
		last = s
	}
	if !isASCII(c.last) || !isASCII(c.data[start:]) {
		c.data, c.lengths, c.shared, text = c.data[:start], c.lengths[:n], c.shared[:n], 0
		last = string(c.last)
		for _, s := range l {
			s = strings.ToValidUTF8(s, "\uFFFD")
			c.addRest(sharedPrefix(last, s), s)
			text += len(s)
			last = s
		}
	}
	c.last = append(c.last[:0], last...)
	return text
}

func (c *column) addRest(shared int, s string) {
	c.shared = append(c.shared, int32(shared))
	c.lengths = append(c.lengths, int32(len(s)-shared))
	c.data = append(c.data, s[shared:]...)
}

// sharedPrefix returns how many bytes both begin with.
func sharedPrefix(a, b string) (n int) {
	end := min(len(a), len(b))
	x, y := unsafe.Slice(unsafe.StringData(a), end), unsafe.Slice(unsafe.StringData(b), end)
	for ; n+8 <= end; n += 8 {
		if d := binary.LittleEndian.Uint64(x[n:]) ^ binary.LittleEndian.Uint64(y[n:]); d != 0 {
			return n + bits.TrailingZeros64(d)>>3
		}
	}
	for n < end && x[n] == y[n] {
		n++
	}
	return n
}

func isASCII(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func (c *column) set(row int) { c.present[row>>3] |= 1 << (row & 7) }

func (g *group) word(col int, s string) { g.staged[col] = append(g.staged[col], s) }

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
	g.staged[col] = append(g.staged[col], l...)
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

func (g *group) appendDetail(e *moat.Event) int {
	g.detail = appendDetail(g.detail, e)
	return len(g.detail)
}

// add appends one event. The text of e must stay until commit.
func (g *group) add(seq uint64, row uint32, e *moat.Event) {
	if g.blk.rows == g.blk.room {
		g.blk.grow()
	}
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
	if n := len(g.detail); n < g.appendDetail(e) {
		g.blk.cols[colDetail].set(g.blk.rows)
		g.ends = append(g.ends, len(g.detail))
	}
	g.blk.rows++
}

// open makes b the block that is being filled.
func (g *group) open(b *block) {
	b.reset()
	for i := range b.cols {
		b.cols[i].plain = specs[i].plain || g.dicts[i].full()
	}
	g.blk = b
}

// seal closes the block that is being filled and returns it.
func (g *group) seal() *block {
	b := g.blk
	for i := range b.cols {
		d := &g.dicts[i]
		d.values += len(b.cols[i].index)
		b.cols[i].words = len(d.ends)
	}
	g.blk = nil
	return b
}

// newDictionaries returns the empty dictionaries of a row group.
func newDictionaries() *[columns]dictionary {
	d := new([columns]dictionary)
	resetDictionaries(d)
	return d
}

func resetDictionaries(d *[columns]dictionary) {
	for i := range d {
		if specs[i].isText() && !specs[i].plain {
			d[i].reset()
		}
	}
}

// width is the bits that an index into n words takes.
func width(n int) int { return bits.Len(uint(max(n-1, 0))) }
