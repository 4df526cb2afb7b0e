package lake

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf8"
	"unsafe"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/internal/room"
)

// blockRows is how many rows a page has, give or take a batch. It bounds what
// is held unencoded and what a reader decodes at a time.
const blockRows = 32 << 10

// blockBytes ends a block early when its text is long.
const blockBytes = 16 << 20

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
	data    []byte   // text without dictionary, end to end, less what each value begins with as the one before does
	lengths []int32  // of the values in data
	shared  []int32  // how many bytes of the value before come before those
	last    []byte   // value without dictionary
	counts  []uint32 // lists: how many elements, for each row that has a list
	plain   bool     // this page's text goes to data
	words   int      // entries of the dictionary when the page was closed
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
		case c.plain:
			g.blk.text += c.addPlain(l)
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

// addPlain appends values that are not looked up in a dictionary, less what each has in common with the beginning of the one before, and
// returns their bytes: neighbouring orders of an event, and ids that count up, differ in a digit or two, the names of accounts
// and devices begin alike, and what is left out need not be compressed.
func (c *column) addPlain(l []string) (text int) {
	start, n := len(c.data), len(c.shared)
	last := unsafe.String(unsafe.SliceData(c.last), len(c.last))
	c.addRests(last, l)
	if !isASCII(last) || !isASCII(unsafe.String(unsafe.SliceData(c.data[start:]), len(c.data)-start)) {
		c.data, c.shared, c.lengths = c.data[:start], c.shared[:n], c.lengths[:n]
		valid := make([]string, len(l))
		for i, s := range l {
			valid[i] = strings.ToValidUTF8(s, "\uFFFD")
		}
		l = valid
		c.addRests(last, l)
	}
	for _, s := range l {
		text += len(s)
	}
	c.last = append(c.last[:0], l[len(l)-1]...)
	return text
}

// addRests appends values less what each has in common with the one before.
func (c *column) addRests(last string, l []string) {
	n := len(c.shared) + len(l)
	c.shared, c.lengths = room.For(c.shared, len(l))[:n], room.For(c.lengths, len(l))[:n]
	shared, lengths, data := c.shared[n-len(l):], c.lengths[n-len(l):], c.data
	for i, s := range l {
		k, size, at := sharedPrefix(last, s), len(s), len(data)
		rest := size - k
		shared[i], lengths[i] = int32(k), int32(rest)
		last = s
		if size < 8 || rest > 16 || cap(data)-at < 16 {
			data = append(room.For(data, rest+16), s[k:]...)
			continue
		}
		// As usual: one word or two, without a call.
		data = data[:at+rest]
		to, end := unsafe.Pointer(unsafe.SliceData(data[at:at+16])), word(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), size-8))
		if rest <= 8 {
			putWord(to, end>>(64-8*rest))
		} else {
			putWord(to, word(unsafe.Add(unsafe.Pointer(unsafe.StringData(s)), k)))
			putWord(unsafe.Add(to, rest-8), end)
		}
	}
	c.data = data
}

// sharedPrefix returns how many bytes both begin with.
func sharedPrefix(a, b string) (n int) {
	end := min(len(a), len(b))
	p, q := unsafe.Pointer(unsafe.StringData(a)), unsafe.Pointer(unsafe.StringData(b))
	for ; n+8 <= end; n += 8 {
		if k := sharedBytes(word(unsafe.Add(p, n)), word(unsafe.Add(q, n))); k < 8 {
			return n + k
		}
	}
	if n < end && end >= 8 { // the last word, of which some was looked at
		return end - 8 + sharedBytes(word(unsafe.Add(p, end-8)), word(unsafe.Add(q, end-8)))
	}
	for n < end && a[n] == b[n] {
		n++
	}
	return n
}

func putWord(p unsafe.Pointer, w uint64) { binary.LittleEndian.PutUint64((*[8]byte)(p)[:], w) }

// sharedBytes returns how many of their eight bytes two words begin with.
func sharedBytes(a, b uint64) int { return bits.TrailingZeros64(a^b) >> 3 }

// notASCII are the bits of a word that ASCII has not.
const notASCII = 0x8080808080808080

func isASCII(s string) bool {
	for len(s) >= 8 {
		if word(unsafe.Pointer(unsafe.StringData(s)))&notASCII != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
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
