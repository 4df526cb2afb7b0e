package run

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"testing"

	moat "github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run/runtest"
)

func FuzzIDs(f *testing.F) {
	for _, s := range []string{"", "0", "0007", "TB-000123", "000000000000000000000001", "01234567-89ab-4def-a123-456789abcdef",
		"01234567-89AB-4def-a123-456789abcdef", "deadbeefdeadbeef", "deadbeefdeadbeefa", "999999999999999999", "é\x00"} {
		f.Add(s, s+"1", []byte(s))
	}
	f.Add("x-0009", "x-0010", []byte{0x02, 0x12, 0xff})
	f.Fuzz(func(t *testing.T, a, b string, hostile []byte) {
		var in, out idShape
		code := appendID(appendID(nil, a, &in), b, &in)
		for _, want := range []string{a, b} {
			got, rest, ok := nextID(nil, code, &out)
			if !ok || string(got) != want {
				t.Fatalf("%q comes back as %q, %t", want, got, ok)
			}
			code = rest
		}
		if len(code) > 0 {
			t.Fatalf("%d bytes left", len(code))
		}
		for ok := true; ok && len(hostile) > 0; {
			_, hostile, ok = nextID(nil, hostile, &out)
		}
	})
}

func FuzzParts(f *testing.F) {
	var e moat.Event
	runtest.New(1, 10, 10).Event(&e)
	for p := range parts {
		f.Add(appendPart(nil, p, &e))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for p := range parts {
			new(Touch).viewPart(p, b)
		}
	})
}

// FuzzFile changes a run at several places, makes its checksums right again
// where it can, and reads and merges it. It must not panic, whatever it finds.
func FuzzFile(f *testing.F) {
	good := seedFile(f)
	f.Add([]byte{})
	for _, at := range []uint32{8, 200, 3000, 9000, uint32(len(good)) - 400, uint32(len(good)) - 100, uint32(len(good)) - 12} {
		f.Add(append(binary.LittleEndian.AppendUint32(nil, at), 0xff))
	}
	f.Fuzz(func(t *testing.T, changes []byte) {
		data := append([]byte(nil), good...)
		for len(changes) >= 5 {
			at := int(binary.LittleEndian.Uint32(changes) % uint32(len(data)))
			data[at] = changes[4]
			changes = changes[5:]
		}
		readAll(data[:len(data)-len(changes)])
		if reseal(data) {
			readAll(data)
		}
	})
}

// seedFile returns a run with lists, several blocks and buckets.
func seedFile(f *testing.F) []byte {
	load := runtest.New(1, 3, 100)
	x := index(NewHasher([16]byte{}))
	s := newSegment(1, x, newVocabulary(1), nil, nil)
	s.first, s.last = 1, 2
	var e moat.Event
	for row := range uint32(300) {
		load.Event(&e)
		s.add(1, row, &e)
	}
	s.end()
	s.freeze()
	path, err := writeSegment(f.TempDir(), s, runtime.Gosched)
	if err != nil {
		f.Fatal(err)
	}
	r, err := openFile(path)
	if err != nil {
		f.Fatal(err)
	}
	defer r.release()
	return append([]byte(nil), r.data...)
}

// readAll reads everything that a file leads to.
func readAll(data []byte) {
	r, err := parseFile("fuzz", data)
	if err != nil {
		return
	}
	var keys []uint64
	_ = walkKeys([]*file{r}, 1<<64-1, func(c *keyCursor) error {
		if len(keys) == 0 || keys[len(keys)-1] != c.key {
			keys = append(keys, c.key)
		}
		_, err := c.file.numbers(nil, &c.b, c.slot, c.b.count(c.i))
		return err
	})
	t := &reader{table: r, file: r}
	n := 0
	for _, k := range keys { // errors are as good as answers
		_ = r.find([]uint64{k}, func(_ int, ords []uint32) error {
			for _, ord := range ords {
				var row Row
				if ok, err := t.load(&row, ord, moat.Everyone(), 0, 1<<62); ok && err == nil {
					sameParts(&row)
				}
				if n++; n > 1000 {
					return errNext
				}
			}
			return nil
		})
	}
	b := &builder{out: sink{yield: runtime.Gosched}}
	remap := make([][parts][]uint32, 1)
	for p := range parts {
		if r.foot.Entries[p] > 1<<20 || b.mergeDicts(p, []*file{r}, remap) != nil {
			return
		}
	}
	_ = b.copyEvents(r, &remap[0])
}

// sameParts checks that what a row gives by parts is what it gives as a whole.
func sameParts(row *Row) {
	whole, err := row.Touch()
	if err != nil {
		return
	}
	var got Touch
	err = row.Orders(func(id []byte) { got.Orders = append(got.Orders, string(id)) })
	for p, same := range [parts]func() bool{
		PartSource: func() bool { return got.Source == whole.Source },
		PartAct:    func() bool { return reflect.DeepEqual(got.Act, whole.Act) },
		PartShops:  func() bool { return slices.Equal(got.Shops, whole.Shops) },
	} {
		if err := row.Part(Part(p), &got); err != nil || !same() {
			panic(fmt.Sprintf("part %d is %+v, want %+v: %v", p, got, whole, err))
		}
	}
	if err != nil || !slices.Equal(got.Orders, whole.Orders) {
		panic(fmt.Sprintf("orders %q, want %q: %v", got.Orders, whole.Orders, err))
	}
}

// reseal makes the checksums of a changed file right, as far as it can be followed.
func reseal(data []byte) bool {
	tail := len(data) - len(magic) - 4
	size := int(binary.LittleEndian.Uint32(data[tail:]))
	if size > tail || size < 8 {
		return false
	}
	seal := func(off, end uint64) {
		if end <= uint64(len(data)) && off+4 <= end {
			binary.LittleEndian.PutUint32(data[end-4:], checksum(data[off:end-4]))
		}
	}
	var foot footer
	footAt := data[tail-size : tail-4]
	if n, err := binary.Decode(footAt, binary.LittleEndian, &foot); err != nil || n != len(footAt) {
		return false
	}
	u64 := func(off uint64) uint64 {
		if off+8 > uint64(len(data)) {
			return 0
		}
		return binary.LittleEndian.Uint64(data[off:])
	}
	for i := range (foot.Events%(1<<16) + blockEvents - 1) / blockEvents {
		seal(u64(foot.Blocks.Off+24*i), u64(foot.Blocks.Off+24*(i+1)))
	}
	for p := range parts {
		for i := range (foot.Entries[p]%(1<<16) + blockEntries - 1) / blockEntries {
			seal(u64(foot.Dicts[p].Off+8*i), u64(foot.Dicts[p].Off+8*(i+1)))
		}
	}
	for i := range foot.Buckets % (1 << 10) {
		at := foot.Directory + i*dirEntry
		if at+dirEntry > uint64(len(data)) {
			break
		}
		d := data[at:][:dirEntry]
		sum := checksum(d[:61])
		d[61], d[62], d[63] = byte(sum), byte(sum>>8), byte(sum>>16)
		off := u64(at+filterBytes) & (1<<40 - 1)
		if off > 0 && off+4 <= uint64(len(data)) {
			seal(off, off+uint64(binary.LittleEndian.Uint32(data[off:]))+4)
		}
	}
	for _, e := range []*extent{&foot.Blocks, &foot.Dicts[0], &foot.Dicts[1], &foot.Dicts[2], &foot.Lists, &foot.Partners} {
		if e.Off <= uint64(len(data)) && e.Size <= uint64(len(data))-e.Off {
			e.Sum = uint64(checksum(data[e.Off : e.Off+e.Size]))
		}
	}
	b, _ := binary.Append(nil, binary.LittleEndian, &foot)
	copy(footAt, b)
	seal(uint64(tail-size), uint64(tail))
	if r, err := parseFile("fuzz", data); err == nil {
		var lists [][2]uint64 // sealed after the walk: they may lie over what it reads
		_ = walkKeys([]*file{r}, 1<<64-1, func(c *keyCursor) error {
			n := c.b.count(c.i)
			off := u64(foot.Lists.Off + 8*c.b.number(c.slot))
			if n > inlineMax && off < uint64(len(data))-5 {
				lists = append(lists, [2]uint64{off, off + 5 + streamBytes(uint64(n)*uint64(data[off+4])) + 4})
			}
			return nil
		})
		for _, l := range lists {
			seal(l[0], l[1])
		}
	}
	return true
}
