package bench

import (
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// yardstick says how fast the machine is just then, by work that has nothing to do with Moat. Machines differ by as much as four times, and a
// shared one from minute to minute by two: a figure of one run means little beside that of another without it.
type yardstick struct{ decode, read []float64 } // ns, one for each time that it was laid on

const (
	decodes = 2_000
	reads   = 100_000
	chain   = 1 << 25 // places of four bytes: more than caches hold
)

// sample is the event that the yardstick decodes: that somebody looked at two orders, in the usual length.
var sample = []byte(`{"id":"018f3c1e-7a10-7d52-9c44-5b1f0f1e2d3c","time":"2026-03-02T08:00:00.123456Z","type":"order.access","actor":"user9144",` +
	`"actor_kind":"user","outcome":"success","role":"operations","app":"app144","shops":["shop26"],"ip":"60.35.184.1","device":"dev-9144",` +
	`"user_agent":"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36","session":"sess-9144","operation":"view",` +
	`"orders":["2026000019816376","2026000019816383"],"fields":["name","phone","address"]}`)

// looked is what the sample holds.
type looked struct {
	ID        string    `json:"id"`
	Time      time.Time `json:"time"`
	Type      string    `json:"type"`
	Actor     string    `json:"actor"`
	ActorKind string    `json:"actor_kind"`
	Outcome   string    `json:"outcome"`
	Role      string    `json:"role"`
	App       string    `json:"app"`
	Shops     []string  `json:"shops"`
	IP        string    `json:"ip"`
	Device    string    `json:"device"`
	UserAgent string    `json:"user_agent"`
	Session   string    `json:"session"`
	Operation string    `json:"operation"`
	Orders    []string  `json:"orders"`
	Fields    []string  `json:"fields"`
}

// lay measures once more: how long encoding/json takes to decode an event, and how long a number that lies anywhere in memory takes to
// come when nobody knows where before.
func (y *yardstick) lay() error {
	runtime.LockOSThread() // what others take of the processor at the time does not count
	defer runtime.UnlockOSThread()
	begin := threadTime()
	for range decodes {
		var v looked
		if err := json.Unmarshal(sample, &v); err != nil {
			return fmt.Errorf("cannot decode the sample: %w", err)
		}
	}
	y.decode = append(y.decode, float64(threadTime()-begin)/decodes)
	b, err := unix.Mmap(-1, 0, chain*4, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("cannot get memory to measure: %w", err)
	}
	defer unix.Munmap(b)
	unix.Madvise(b, unix.MADV_HUGEPAGE) // as the engine has it; without, it is only slower
	places := unsafe.Slice((*uint32)(unsafe.Pointer(&b[0])), chain)
	for i := range places { // one way through all of them (Hull and Dobell 1962)
		places[i] = (uint32(i)*1664525 + 1013904223) % chain
	}
	at := uint32(0)
	begin = threadTime()
	for range reads {
		at = places[at]
	}
	took := threadTime() - begin
	if at == 0 {
		return fmt.Errorf("BUG: the way through memory is shorter than %d", reads)
	}
	y.read = append(y.read, float64(took)/reads)
	return nil
}

// threadTime is what the processor has spent on this thread, in ns.
func threadTime() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) // it fails for clocks that do not exist only
	return t.Nano()
}

// median is what lies in the middle of v.
func median(v []float64) float64 { return slices.Sorted(slices.Values(v))[len(v)/2] }
