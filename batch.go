package moat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
	"slices"
	"unsafe"
)

// A batch is the canonical binary form of events: the form in which they
// travel through the log and are replayed. All numbers are little-endian.
//
//	header  magic "MB1\n" · events u32 · bytes of all rows u32 · CRC-32C of all rows u32
//	row     bytes that follow u32 · given fields 2 × u64 (bit n is FieldID n) ·
//	        received i64 · flags u8 · the given fields in the order of their numbers
//	field   string, object: uvarint length, bytes · list: uvarint count, strings ·
//	        number: zig-zag varint · time: i64 · boolean: 0 or 1 · enumeration: u8
//
// Fields are only ever added at the end, so that an old batch stays readable;
// a reader refuses a field that it does not know.
const (
	batchMagic  = "MB1\n"
	batchHeader = 16
	rowHeader   = 25 // after the length
)

// MaxBatch bounds the bytes of one batch, header included.
const MaxBatch = 1 << 30

// ErrCorruptBatch says that bytes are not a whole, unchanged batch.
var ErrCorruptBatch = errors.New("corrupt batch")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BatchWriter makes a batch out of events. The zero value is ready. It keeps
// its memory between batches and is not safe for concurrent use.
type BatchWriter struct {
	buf []byte
	n   uint32
}

// Reset starts a new batch. What Bytes returned before is overwritten.
func (w *BatchWriter) Reset() { w.buf, w.n = w.buf[:0], 0 }

// Len returns the number of events so far.
func (w *BatchWriter) Len() int { return int(w.n) }

// Size returns the bytes of the batch so far. The caller cuts batches by it:
// one over [MaxBatch] cannot be finished.
func (w *BatchWriter) Size() int { return max(len(w.buf), batchHeader) }

// Append adds the given fields of e: those marked, and the partner if there is
// one. It copies, and does not check e; see [Event.Check].
func (w *BatchWriter) Append(e *Event) {
	b := w.buf
	if len(b) == 0 {
		b = append(b, make([]byte, batchHeader)...)
	}
	start := len(b)
	has := e.given()
	b = slices.Grow(b, 512)[:start+4+rowHeader]
	row := b[start+4:]
	binary.LittleEndian.PutUint64(row, has[0])
	binary.LittleEndian.PutUint64(row[8:], has[1])
	binary.LittleEndian.PutUint64(row[16:], uint64(e.Received))
	row[24] = byte(e.Flags)
	for i, m := range has {
		known := slotsOfWord(i)
		for ; m != 0; m &= m - 1 {
			s := &known[bits.TrailingZeros64(m)&63]
			p := unsafe.Add(unsafe.Pointer(e), s.offset)
			switch s.kind {
			case KindString, KindObject:
				b = appendText(b, *(*string)(p))
			case KindStrings:
				list := *(*[]string)(p)
				b = binary.AppendUvarint(b, uint64(len(list)))
				for _, t := range list {
					b = appendText(b, t)
				}
			case KindInt:
				b = binary.AppendVarint(b, *(*int64)(p))
			case KindTime:
				b = binary.LittleEndian.AppendUint64(b, *(*uint64)(p))
			case KindBool, KindEnum:
				b = append(b, *(*byte)(p))
			}
		}
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	w.buf = b
	w.n++
}

func appendText(b []byte, s string) []byte {
	if len(s) < 0x80 {
		b = append(b, byte(len(s)))
	} else {
		b = binary.AppendUvarint(b, uint64(len(s)))
	}
	return append(b, s...)
}

// Bytes finishes the batch and returns it. It is valid until Reset; more
// events may be appended, and Bytes called again.
func (w *BatchWriter) Bytes() []byte {
	if len(w.buf) > MaxBatch {
		panic(fmt.Sprintf("BUG: batch of %d bytes: its writer must cut it at %d", len(w.buf), MaxBatch))
	}
	if len(w.buf) == 0 {
		w.buf = append(w.buf, make([]byte, batchHeader)...)
	}
	putBatchHeader(w.buf, w.n, crc32.Checksum(w.buf[batchHeader:], castagnoli))
	return w.buf
}

// putBatchHeader writes the header of the batch b of n rows with that checksum.
func putBatchHeader(b []byte, n, sum uint32) {
	copy(b, batchMagic)
	binary.LittleEndian.PutUint32(b[4:], n)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-batchHeader))
	binary.LittleEndian.PutUint32(b[12:], sum)
}

// openBatch checks the header and the checksum of b.
func openBatch(b []byte) (rows []byte, n uint32, err error) {
	if rows, n, err = rowsOf(b); err == nil && crc32.Checksum(rows, castagnoli) != binary.LittleEndian.Uint32(b[12:]) {
		return nil, 0, fmt.Errorf("cannot open batch of %d rows: checksum differs: %w", n, ErrCorruptBatch)
	}
	return rows, n, err
}

// rowsOf checks the header of b, but for the checksum.
func rowsOf(b []byte) (rows []byte, n uint32, err error) {
	if len(b) < batchHeader || string(b[:4]) != batchMagic {
		return nil, 0, fmt.Errorf("cannot open batch of %d bytes: no header: %w", len(b), ErrCorruptBatch)
	}
	rows, n = b[batchHeader:], binary.LittleEndian.Uint32(b[4:])
	if want := binary.LittleEndian.Uint32(b[8:]); uint64(want) != uint64(len(rows)) || len(b) > MaxBatch {
		return nil, 0, fmt.Errorf("cannot open batch: %d bytes of rows, header says %d: %w", len(rows), want, ErrCorruptBatch)
	}
	if uint64(n)*(4+rowHeader) > uint64(len(rows)) || n == 0 && len(rows) != 0 {
		return nil, 0, fmt.Errorf("cannot open batch: %d bytes cannot be %d rows: %w", len(rows), n, ErrCorruptBatch)
	}
	return rows, n, nil
}

// JoinBatches appends to dst one batch of all rows of the batches, in order,
// without decoding them. It returns an error that wraps [ErrCorruptBatch] when one of
// them is not whole, or says that the result would be over [MaxBatch]. The checksum of the result
// follows from theirs: it is right if all of theirs are, and does not hide that one is wrong.
func JoinBatches(dst []byte, batches ...[]byte) ([]byte, error) {
	start, n, sum := len(dst), uint64(0), uint32(0)
	out := append(dst, make([]byte, batchHeader)...)
	for i, b := range batches {
		rows, k, err := rowsOf(b)
		if err != nil {
			return dst, fmt.Errorf("cannot join batch %d of %d: %w", i+1, len(batches), err)
		}
		if len(out)-start+len(rows) > MaxBatch {
			return dst, fmt.Errorf("cannot join %d batches: more than %d bytes", len(batches), MaxBatch)
		}
		out = append(out, rows...)
		n += uint64(k) // ≤ MaxBatch / row size
		sum = joinSums(sum, binary.LittleEndian.Uint32(b[12:]), len(rows))
	}
	putBatchHeader(out[start:], uint32(n), sum)
	return out, nil
}

// joinSums returns the CRC-32C of two texts one after the other, given that of each and the bytes of the second.
// It is that of the first times x^(8·bytes) modulo the polynomial, plus that of the second; see crc32_combine of zlib.
func joinSums(first, second uint32, bytes int) uint32 {
	const one = 1 << 31 // the lowest power is the highest bit
	power := uint32(one)
	for n, square := bytes, uint32(one>>8); n > 0; n, square = n>>1, timesCRC(square, square) { // x^8, x^16, …
		if n&1 != 0 {
			power = timesCRC(power, square)
		}
	}
	return timesCRC(first, power) ^ second
}

// timesCRC returns the product of two polynomials modulo that of CRC-32C.
func timesCRC(a, b uint32) (product uint32) {
	for ; a != 0; a <<= 1 {
		product ^= b & -(a >> 31)
		b = b>>1 ^ crc32.Castagnoli&-(b&1)
	}
	return product
}

// BatchReader reads the events of a batch. The zero value is empty; Open may
// be called again for the next batch. It is not safe for concurrent use.
type BatchReader struct {
	rest []byte
	n    uint32 // rows in the batch
	left uint32
	err  error
}

// Open starts to read b, which must not change while events read from it are
// in use. It returns an error that wraps [ErrCorruptBatch] unless header,
// lengths and checksum are right.
func (r *BatchReader) Open(b []byte) error {
	rows, n, err := openBatch(b)
	*r = BatchReader{rest: rows, n: n, left: n, err: err}
	return err
}

// OpenAgain is [BatchReader.Open] for a batch that somebody in this process opened before and nobody
// has changed: it does not look at the checksum again, which takes two thirds as long as to read the events.
func (r *BatchReader) OpenAgain(b []byte) error {
	rows, n, err := rowsOf(b)
	*r = BatchReader{rest: rows, n: n, left: n, err: err}
	return err
}

// Len returns the number of events in the batch.
func (r *BatchReader) Len() int { return int(r.n) }

// Newest returns the newest time of receipt of the events that Next would return, without reading them.
func (r *BatchReader) Newest() (newest Time) {
	for rest := *r; rest.left > 0; rest.left-- {
		b := rest.bytes()
		if b == nil {
			break
		}
		newest = max(newest, receivedOf(b))
		rest.rest = rest.rest[4+len(b):]
	}
	return newest
}

// Err returns why Next stopped early: nil at the end of a whole batch, else an
// error that wraps [ErrCorruptBatch].
func (r *BatchReader) Err() error { return r.err }

// Next replaces e by the next event, and tells whether there was one. The
// strings of e are views into the batch; its lists are reused. After false, e is empty.
func (r *BatchReader) Next(e *Event) bool {
	if r.err != nil || r.left == 0 {
		e.Reset()
		return false
	}
	if !r.row(e) {
		e.Reset()
		r.err = fmt.Errorf("cannot read row %d of %d: %w", r.n-r.left+1, r.n, ErrCorruptBatch)
		return false
	}
	r.left--
	return true
}

// bytes returns the next row without its length, nil if it is not whole or, being the last, not all that is left.
func (r *BatchReader) bytes() []byte {
	if len(r.rest) < 4+rowHeader {
		return nil
	}
	n, b := uint64(binary.LittleEndian.Uint32(r.rest)), r.rest[4:]
	if n < rowHeader || n > uint64(len(b)) || r.left == 1 && n != uint64(len(b)) {
		return nil
	}
	return b[:n]
}

// row decodes one row into e, whose marks always name the fields that may be set.
func (r *BatchReader) row(e *Event) bool {
	b := r.bytes()
	if b == nil {
		return false
	}
	r.rest = r.rest[4+len(b):]
	has := [2]uint64{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])}
	if has[0]&^knownFields[0]|has[1]&^knownFields[1] != 0 {
		return false
	}
	e.forget(e.has[0]&^has[0], e.has[1]&^has[1])
	e.has = has
	e.Partner = "" // it may be set without a mark
	e.Received, e.Flags = receivedOf(b), Flag(b[24])
	return readFields(e, unsafe.String(&b[0], len(b)))
}

// receivedOf returns the time of receipt in the header of a row.
func receivedOf(row []byte) Time { return Time(binary.LittleEndian.Uint64(row[16:])) }

// readFields reads the values after the header of row into the fields that e marks as given.
func readFields(e *Event, row string) bool {
	i, base := rowHeader, unsafe.Pointer(unsafe.StringData(row))
	for w, m := range e.has {
		known := slotsOfWord(w)
		for ; m != 0; m &= m - 1 {
			s := &known[bits.TrailingZeros64(m)&63]
			p := unsafe.Add(unsafe.Pointer(e), s.offset)
			switch s.kind {
			case KindString, KindObject:
				if i < len(row) && row[i] < 0x80 { // the usual case of textAt, inlined
					n := int(row[i])
					i++
					if n > len(row)-i {
						return false
					}
					*(*string)(p) = unsafe.String((*byte)(unsafe.Add(base, i)), n)
					i += n
					continue
				}
				start, end := textAt(row, i)
				if end < 0 {
					return false
				}
				*(*string)(p), i = row[start:end], end
			case KindStrings:
				if i = readList(row, i, (*[]string)(p)); i < 0 {
					return false
				}
			case KindInt:
				v, k := uvarintAt(row, i)
				if k < 0 {
					return false
				}
				*(*int64)(p), i = int64(v>>1)^-int64(v&1), k
			case KindTime:
				if i+8 > len(row) {
					return false
				}
				*(*uint64)(p), i = binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(row[i:]), 8)), i+8
			case KindBool, KindEnum:
				if i >= len(row) || row[i] >= s.values {
					return false
				}
				*(*byte)(p), i = row[i], i+1
			}
		}
	}
	return i == len(row)
}

// textAt returns where the string at row[i] starts and ends, end < 0 if it is broken.
func textAt(row string, i int) (start, end int) {
	if i < len(row) && row[i] < 0x80 {
		start, end = i+1, i+1+int(row[i])
	} else {
		n, k := uvarintAt(row, i)
		if k < 0 || n > uint64(len(row)) {
			return 0, -1
		}
		start, end = k, k+int(n)
	}
	if end > len(row) {
		return 0, -1
	}
	return start, end
}

// readList reads the list at row[i] into the memory of list and returns what
// follows, or -1 if it is broken.
func readList(row string, i int, list *[]string) int {
	n, i := uvarintAt(row, i)
	if i < 0 || n > uint64(len(row)-i) { // an element takes a byte at least
		return -1
	}
	l := *list
	if uint64(cap(l)) < n {
		l = make([]string, n)
	}
	l = l[:n]
	base := unsafe.Pointer(unsafe.StringData(row))
	for j := range l {
		if i < len(row) && row[i] < 0x80 {
			k := int(row[i])
			i++
			if k > len(row)-i {
				return -1
			}
			l[j] = unsafe.String((*byte)(unsafe.Add(base, i)), k)
			i += k
			continue
		}
		start, end := textAt(row, i)
		if end < 0 {
			return -1
		}
		l[j], i = row[start:end], end
	}
	*list = l
	return i
}

// uvarintAt reads the unsigned varint at row[i] and returns what follows, or -1 if it is broken.
func uvarintAt(row string, i int) (v uint64, next int) {
	for shift := 0; i < len(row) && shift < 64; shift += 7 {
		c := row[i]
		i++
		if c < 0x80 {
			if shift == 63 && c > 1 {
				return 0, -1
			}
			return v | uint64(c)<<shift, i
		}
		v |= uint64(c&0x7f) << shift
	}
	return 0, -1
}
