package moat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unsafe"
)

// randomEvent gives about share of all fields a value within the contract.
func randomEvent(r *rand.Rand, share float64) *Event {
	e := &Event{Received: Time(r.Int64N(1e18)), Flags: Flag(r.UintN(8))}
	text := func(most int) string {
		var b strings.Builder
		for n := r.IntN(min(most, 40)/4 + 1); n > 0; n-- {
			b.WriteString([]string{"a", "Z7", "-", "é", "订", "\"", "\\", "\n", "😀", "<&>", "\x7f", "\u2028", "/"}[r.IntN(13)])
		}
		return b.String()
	}
	for i := 1; i < int(FieldsEnd); i++ {
		f := &Fields[i]
		if r.Float64() >= share {
			continue
		}
		switch f.Kind {
		case KindString:
			*f.stringOf(e) = text(f.Max)
		case KindObject:
			*f.stringOf(e) = fmt.Sprintf(`{"k%d":[1, {"x":"é\u0041"}], "s":%q}`, r.IntN(9), strings.Repeat("x", r.IntN(9)))
		case KindStrings:
			l := make([]string, r.IntN(4))
			for j := range l {
				l[j] = text(f.Max)
			}
			*f.stringsOf(e) = l
		case KindInt:
			*f.intOf(e) = r.Int64N(1 << (r.UintN(62) + 1))
		case KindTime:
			*f.timeOf(e) = 1 + Time(r.Int64N(253402300799999999))
		case KindBool:
			*f.boolOf(e) = r.IntN(2) == 1
		case KindEnum:
			*f.enumOf(e) = uint8(r.IntN(len(f.Enum)))
			if f.ID == FieldType && e.Type == NoType {
				continue
			}
		}
		if f.ID != FieldPartner || e.Partner != "" {
			e.Mark(f.ID)
		}
	}
	return e
}

// differs names the first thing in which a and b are not the same.
func differs(a, b *Event) string {
	if a.Received != b.Received || a.Flags != b.Flags {
		return fmt.Sprintf("receipt: %v %v and %v %v", a.Received, a.Flags, b.Received, b.Flags)
	}
	for i := 1; i < int(FieldsEnd); i++ {
		f := &Fields[i]
		if a.Has(f.ID) != b.Has(f.ID) {
			return fmt.Sprintf("%s: given %v and %v", f.Name, a.Has(f.ID), b.Has(f.ID))
		}
		if f.Text(a) != f.Text(b) || f.Number(a) != f.Number(b) || !slices.Equal(f.List(a), f.List(b)) {
			return fmt.Sprintf("%s: %q %d %q and %q %d %q", f.Name, f.Text(a), f.Number(a), f.List(a), f.Text(b), f.Number(b), f.List(b))
		}
	}
	return ""
}

func TestBatchRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var w BatchWriter
	var rd BatchReader
	var got Event
	for round := range 200 {
		w.Reset()
		var want []*Event
		for range r.IntN(20) {
			e := randomEvent(r, r.Float64())
			want = append(want, e)
			w.Append(e)
		}
		if w.Len() != len(want) {
			t.Fatalf("round %d: Len %d, want %d", round, w.Len(), len(want))
		}
		b := w.Bytes()
		if w.Size() != len(b) {
			t.Fatalf("Size %d, want %d", w.Size(), len(b))
		}
		if err := rd.Open(b); err != nil {
			t.Fatal(err)
		}
		if rd.Len() != len(want) {
			t.Fatalf("reader's Len %d, want %d", rd.Len(), len(want))
		}
		for i, e := range want {
			if !rd.Next(&got) {
				t.Fatalf("round %d: event %d: %v", round, i, rd.Err())
			}
			if d := differs(e, &got); d != "" {
				t.Fatalf("round %d: event %d: %s", round, i, d)
			}
		}
		if rd.Next(&got) || rd.Err() != nil {
			t.Fatalf("more than %d events, or %v", len(want), rd.Err())
		}
		if d := differs(&Event{}, &got); d != "" {
			t.Fatalf("event after the last one is not empty: %s", d)
		}
	}
}

func TestBatchKeepsPartnerWithoutMark(t *testing.T) {
	var w BatchWriter
	var r BatchReader
	var e Event
	w.Append(&Event{Partner: "p1"})
	w.Append(&Event{})
	if err := r.Open(w.Bytes()); err != nil {
		t.Fatal(err)
	}
	if !r.Next(&e) || e.Partner != "p1" || !e.Has(FieldPartner) {
		t.Fatalf("partner %q", e.Partner)
	}
	e.Partner = "p2"
	if !r.Next(&e) || e.Partner != "" || e.Has(FieldPartner) {
		t.Fatalf("partner of another event shows: %q", e.Partner)
	}
}

func TestJoinBatches(t *testing.T) {
	var parts [][]byte
	var ids []string
	for i := range 5 {
		var w BatchWriter
		for j := range i {
			e := &Event{ID: fmt.Sprint(i, j)}
			e.MarkAll()
			w.Append(e)
			ids = append(ids, e.ID)
		}
		parts = append(parts, w.Bytes())
	}
	joined, err := JoinBatches([]byte("before"), parts...)
	if err != nil || !bytes.HasPrefix(joined, []byte("before")) {
		t.Fatalf("%q, %v", joined, err)
	}
	var r BatchReader
	if err := r.Open(joined[len("before"):]); err != nil {
		t.Fatal(err)
	}
	var got []string
	for e := new(Event); r.Next(e); {
		got = append(got, strings.Clone(e.ID))
	}
	if !slices.Equal(got, ids) || r.Err() != nil {
		t.Fatalf("got %q, want %q, %v", got, ids, r.Err())
	}
	none, err := JoinBatches(nil)
	if err != nil || r.Open(none) != nil || r.Len() != 0 {
		t.Fatalf("no batches: %q, %v", none, err)
	}
	parts[3][20] ^= 1
	if broken, err := JoinBatches(nil, parts...); err != nil || !errors.Is(r.Open(broken), ErrCorruptBatch) {
		t.Fatalf("a broken batch is whole with others: %q, %v", broken, err)
	}
	parts[2] = parts[2][:len(parts[2])-1]
	if dst, err := JoinBatches([]byte("kept"), parts...); !errors.Is(err, ErrCorruptBatch) || string(dst) != "kept" {
		t.Fatalf("joined half a batch: %q, %v", dst, err)
	}
}

func TestJoinSums(t *testing.T) {
	text := make([]byte, 1000)
	for i := range text {
		text[i] = byte(i * i >> 3)
	}
	whole := crc32.Checksum(text, castagnoli)
	for _, cut := range []int{0, 1, 7, 8, 9, 255, 256, 500, 991, 999, 1000} {
		if got := joinSums(crc32.Checksum(text[:cut], castagnoli), crc32.Checksum(text[cut:], castagnoli), len(text)-cut); got != whole {
			t.Errorf("cut at %d: %x, want %x", cut, got, whole)
		}
	}
}

// sealed makes a batch of n rows with a true checksum out of any bytes.
func sealed(n uint32, rows []byte) []byte {
	b := append(make([]byte, batchHeader), rows...)
	putBatchHeader(b, n, crc32.Checksum(rows, castagnoli))
	return b
}

func TestCorruptBatch(t *testing.T) {
	var w BatchWriter
	e := benchEvent()
	w.Append(e)
	w.Append(e)
	whole := bytes.Clone(w.Bytes())
	var r BatchReader
	var out Event
	t.Run("every bit", func(t *testing.T) {
		for i := range whole {
			for bit := range 8 {
				b := bytes.Clone(whole)
				b[i] ^= 1 << bit
				err := r.Open(b)
				for err == nil && r.Next(&out) {
				}
				if err == nil {
					err = r.Err()
				}
				// The number of rows is not under the checksum: Next finds it out.
				if !errors.Is(err, ErrCorruptBatch) {
					t.Fatalf("bit %d of byte %d: %v", bit, i, err)
				}
				for err := r.OpenAgain(b); err == nil && r.Next(&out); { // whatever comes of it, there is no panic
				}
			}
		}
	})
	t.Run("every length", func(t *testing.T) {
		for i := range whole {
			if err := r.Open(whole[:i]); !errors.Is(err, ErrCorruptBatch) {
				t.Fatalf("%d bytes: %v", i, err)
			}
			if err := r.OpenAgain(whole[:i]); !errors.Is(err, ErrCorruptBatch) {
				t.Fatalf("%d bytes, again: %v", i, err)
			}
		}
	})
	row := func(given FieldID, value ...byte) []byte {
		b := make([]byte, 4+rowHeader, 64)
		b[4+given/8] = 1 << (given % 8)
		b = append(b, value...)
		binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
		return b
	}
	for name, rows := range map[string][]byte{
		"no field 0":             row(FieldNone),
		"field of the future":    row(FieldsEnd),
		"last field of all":      row(127),
		"string without length":  row(FieldActor),
		"string too long":        row(FieldActor, 2, 'a'),
		"string length endless":  row(FieldActor, 0xff, 0xff),
		"string length overflow": row(FieldActor, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1),
		"list without count":     row(FieldOrders),
		"list too long":          row(FieldOrders, 3, 0, 0),
		"list of half a string":  row(FieldOrders, 2, 0, 1),
		"number endless":         row(FieldCount, 0x80),
		"time too short":         row(FieldTime, 1, 2, 3),
		"bool of 2":              row(FieldMFA, 2),
		"bool missing":           row(FieldMFA),
		"enumeration too large":  row(FieldType, byte(EventTypes)),
		"bytes after the fields": row(FieldMFA, 1, 0),
		"row length too small":   {24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"row length too large":   {26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"bytes after the rows":   append(row(FieldMFA, 1), 0),
	} {
		t.Run(name, func(t *testing.T) {
			out.Actor, out.Orders = "stale", []string{"stale"}
			out.MarkAll()
			if err := r.Open(sealed(1, rows)); err != nil {
				t.Fatal(err)
			}
			if r.Next(&out) || !errors.Is(r.Err(), ErrCorruptBatch) {
				t.Fatalf("read: %v", r.Err())
			}
			if err := r.OpenAgain(sealed(1, rows)); err != nil || r.Next(&out) || !errors.Is(r.Err(), ErrCorruptBatch) {
				t.Fatalf("read again: %v", r.Err())
			}
			if d := differs(&Event{}, &out); d != "" {
				t.Fatalf("a failed read leaves %s", d)
			}
			if r.Next(&out) {
				t.Fatal("reads on after an error")
			}
		})
	}
	if err := r.Open(sealed(1<<31, row(FieldMFA, 1))); !errors.Is(err, ErrCorruptBatch) {
		t.Fatalf("more rows than bytes: %v", err)
	}
}

func TestBatchIsStable(t *testing.T) {
	e := &Event{ID: "a1", Time: 1_700_000_000_000_000, Type: OrderAccess, Actor: "li", Orders: []string{"o1", "o2"}, Count: 300,
		Encrypted: true, Received: 1_700_000_000_000_001, Flags: FlagHistory, Partner: "p"}
	e.MarkAll()
	var w BatchWriter
	w.Append(e)
	want := "4d42310a" + "01000000" + "38000000" + "c11dde64" + // magic, events, bytes, checksum
		"34000000" + "1e00580000000000" + "0004000000000000" + "01401e18240a0600" + "02" + // row: length, given fields, received, flags
		"026131" + "00401e18240a0600" + "05" + "026c69" + "02026f31026f32" + "d804" + "01" + "0170"
	if got := fmt.Sprintf("%x", w.Bytes()); got != want {
		t.Fatalf("the stored form has changed:\n got %s\nwant %s", got, want)
	}
}

func TestSlotsFitFields(t *testing.T) {
	for i := 1; i < int(FieldsEnd); i++ {
		if f, s := &Fields[i], slots[i]; s.kind != f.Kind || uintptr(s.offset) != f.offset || f.offset >= unsafe.Sizeof(Event{}) {
			t.Errorf("%s: slot %+v", f.Name, s)
		}
		if knownFields[i>>6]&(1<<(i&63)) == 0 {
			t.Errorf("field %d is unknown", i)
		}
	}
	// A mark of what is no field does no harm.
	var w BatchWriter
	var r BatchReader
	e := &Event{ID: "1"}
	e.MarkAll()
	e.Mark(FieldNone)
	e.Mark(FieldsEnd)
	w.Append(e)
	e.Reset()
	if err := r.Open(w.Bytes()); err != nil || !r.Next(e) || e.ID != "1" || e.Has(FieldsEnd) || Fields[FieldNone].Text(e) != "" {
		t.Errorf("event %+v, %v, %v", e, err, r.Err())
	}
	if knownFields[0]&1 != 0 || knownFields[1]>>(FieldsEnd-64) != 0 {
		t.Error("fields are known that do not exist")
	}
}

func TestBatchAllocs(t *testing.T) {
	var w BatchWriter
	e := benchEvent()
	var r BatchReader
	var out Event
	if n := testing.AllocsPerRun(100, func() {
		w.Reset()
		for range 20 {
			w.Append(e)
		}
		if err := r.Open(w.Bytes()); err != nil {
			t.Fatal(err)
		}
		for r.Next(&out) {
		}
	}); n != 0 {
		t.Errorf("%v allocations per batch", n)
	}
}

func FuzzBatchReader(f *testing.F) {
	var w BatchWriter
	w.Append(benchEvent())
	f.Add(bytes.Clone(w.Bytes()), false)
	r := rand.New(rand.NewPCG(3, 4))
	for range 4 {
		w.Append(randomEvent(r, 0.3))
		f.Add(bytes.Clone(w.Bytes()), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seal bool) {
		if seal && len(b) >= batchHeader { // so that hostile rows get past the checksum
			binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[batchHeader:], castagnoli))
		}
		var rd BatchReader
		if err := rd.Open(b); err != nil {
			if !errors.Is(err, ErrCorruptBatch) {
				t.Fatal(err)
			}
			return
		}
		var again BatchWriter
		var e Event
		for rd.Next(&e) {
			again.Append(&e)
		}
		if rd.Err() != nil {
			if !errors.Is(rd.Err(), ErrCorruptBatch) {
				t.Fatal(rd.Err())
			}
			return
		}
		// What was read says the same when it is written and read again.
		var a, c BatchReader
		if a.Open(b) != nil || c.Open(again.Bytes()) != nil || a.Len() != c.Len() {
			t.Fatal("cannot read again")
		}
		var x, y Event
		for a.Next(&x) {
			if !c.Next(&y) {
				t.Fatal(c.Err())
			}
			if d := differs(&x, &y); d != "" && x.Has(FieldPartner) == y.Has(FieldPartner) {
				t.Fatal(d)
			}
		}
	})
}

// benchEvent has the 15 fields of a usual access to orders.
func benchEvent() *Event {
	e := &Event{
		ID: "e-7f3a9c1b2d4e", Time: 1_763_712_000_123_000, Type: OrderAccess, Actor: "cs-wang.li@shop-1041", Role: "customer_service",
		App: "erp-river", Shops: []string{"shop-1041"}, IP: "203.0.113.57", Device: "d-91ab77c2e05f", Session: "s-55e0c1a4",
		Operation: "view", Orders: []string{"4030112233445566", "4030112233445567", "4030112233445570"},
		Fields: []string{"name", "phone", "address"}, Bytes: 2310, Host: "web-03.erp-river.example",
		Received: 1_763_712_000_323_000, Partner: "p-river",
	}
	e.MarkAll()
	return e
}

func BenchmarkBatchEncode(b *testing.B) {
	var w BatchWriter
	e := benchEvent()
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n++; n%512 == 0 {
			w.Bytes()
			w.Reset()
		}
		w.Append(e)
	}
}

func BenchmarkBatchDecode(b *testing.B) {
	var w BatchWriter
	for range 512 {
		w.Append(benchEvent())
	}
	batch := w.Bytes()
	for name, open := range map[string]func(*BatchReader, []byte) error{"first": (*BatchReader).Open, "again": (*BatchReader).OpenAgain} {
		b.Run(name, func(b *testing.B) {
			var r BatchReader
			var e Event
			b.ReportAllocs()
			b.SetBytes(int64(len(batch) / 512))
			for b.Loop() {
				if !r.Next(&e) {
					if err := open(&r, batch); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
