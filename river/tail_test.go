package river

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A reader that keeps up is given what was appended without asking the server; one that falls behind, or whom the tail
// cannot tell everything, asks it again, and misses nothing.
func TestFollow(t *testing.T) {
	r := openRiver(t, Config{Dir: t.TempDir(), Partitions: 1})
	rd, tl := read(t, r, 0, 0), r.parts[0].tail
	want := uint64(0)
	expect := func(n int, from string) {
		t.Helper()
		for range n {
			want++
			if m := next(t, rd); m.Seq != want || idsOf(t, m.Data)[0] != fmt.Sprint(want) {
				t.Fatalf("message %d is %v, want %d", m.Seq, idsOf(t, m.Data), want)
			}
		}
		if now := map[bool]string{true: "tail", false: "server"}[rd.consumer == ""]; now != from {
			t.Errorf("message %d came from the %s, want the %s", want, now, from)
		}
	}
	appended := uint64(0)
	put := func(n, size int) {
		for range n {
			appended++
			mustAppend(t, r, 0, batchOf(size, fmt.Sprint(appended)))
		}
	}
	put(3, 10)
	expect(3, "tail")
	for range 20 {
		put(1, 10)
		expect(1, "tail")
	}
	tl.join(-1) // nobody waits for this reader
	put(40, 1<<20)
	tl.join(1)
	expect(5, "server")
	expect(35, "tail")

	put(1, 10)
	expect(1, "tail")
	appended++
	if _, err := r.send(t.Context(), r.parts[0], batchOf(10, fmt.Sprint(appended))); err != nil { // as if its acknowledgement had not come
		t.Fatal(err)
	}
	got := make(chan Message)
	go func() {
		m, _ := rd.Next(t.Context())
		got <- m
	}()
	tl.doubt()
	if m := <-got; m.Seq != want+1 {
		t.Fatalf("message %d, want %d, of which the tail does not know", m.Seq, want+1)
	}
	want++
	put(2, 10)
	expect(2, "tail")
}

func TestTail(t *testing.T) {
	tl := newTail()
	get := func(seq uint64, want bool) {
		t.Helper()
		if m, ok := tl.get(seq); ok != want || ok && m.Seq != seq {
			t.Errorf("message %d: %d, %v; want %v", seq, m.Seq, ok, want)
		}
	}
	mib := make([]byte, 1<<20)
	get(1, false)
	for seq := uint64(5); seq < 5+40; seq++ {
		tl.put(Message{Seq: seq, Data: mib})
	}
	get(12, false) // over maxTail
	get(13, true)
	get(44, true)
	get(45, false)
	tl.put(Message{Seq: 44, Data: mib}) // overtaken
	tl.trim(20)
	get(20, false)
	get(21, true)
	if tl.next(45) == nil || tl.next(44) != nil || tl.next(46) != nil {
		t.Error("only who has everything may wait")
	}
	tl.put(Message{Seq: 50, Data: mib}) // what lies between went by
	get(44, false)
	get(50, true)
	if tl.bytes != len(mib) {
		t.Errorf("%d bytes of one message", tl.bytes)
	}
}

// Appends wait for a reader that is far behind, but not for ever, and for nobody if there is none.
func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tl := newTail()
		took := func() time.Duration {
			start := time.Now()
			tl.gate()
			return time.Since(start)
		}
		for seq := range uint64(10) {
			tl.put(Message{Seq: seq + 1, Data: make([]byte, 1<<20)})
		}
		if d := took(); d != 0 {
			t.Errorf("waited %v for no reader", d)
		}
		tl.join(1)
		if d := took(); d != gateWait {
			t.Errorf("waited %v for a reader that does not read", d)
		}
		time.AfterFunc(gateWait/10, func() { tl.given(1) })
		time.AfterFunc(gateWait/5, func() { tl.given(2) })
		if d := took(); d != gateWait/5 {
			t.Errorf("waited %v, the reader was there after %v", d, gateWait/5)
		}
	})
}
