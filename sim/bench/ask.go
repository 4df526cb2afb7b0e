package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/sim/load"
)

// ask poses questions at a fixed rate whatever the answers take: those of each millisecond fall due at its beginning, each has a
// connection of its partner's to itself, and waits for one count. They are about logins of the accounts of the load, with the devices
// and from the addresses that they have there.
func (c *client) ask(ctx context.Context, logins []*load.Body) error {
	q, err := c.newAsking(logins)
	if err != nil {
		return err
	}
	defer q.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	hasten()
	each := unix.NsecToTimespec(int64(time.Millisecond))
	q.start = time.Now()
	if err := unix.TimerfdSettime(q.tick, 0, &unix.ItimerSpec{Interval: each, Value: each}, nil); err != nil {
		return fmt.Errorf("cannot set a timer: %w", err)
	}
	for ready := make([]unix.EpollEvent, 256); q.answered < q.count && ctx.Err() == nil; {
		if err := q.pose(); err != nil {
			return err
		}
		if err := q.hear(ready); err != nil {
			return err
		}
	}
	c.next.Add(uint64(q.count))
	return ctx.Err()
}

// hasten asks the kernel to let this thread on as soon as it has something to do: before all others if the user may ask for that, else
// for a short time each, as far as the kernel, Linux since 6.12, knows that. Who asks is elsewhere in real life, with processors of its
// own: the server has the less of these two, and what is measured is its time and not the client's. Refused, times are longer.
func hasten() {
	a, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return
	}
	usual := a.Nice
	a.Runtime, a.Nice = uint64(100*time.Microsecond), -20
	if unix.SchedSetAttr(0, a, 0) != nil {
		a.Nice = usual
		_ = unix.SchedSetAttr(0, a, 0)
	}
}

// asking poses questions and hears answers in one thread, by the kernel's own means: what a client spends is taken from the
// server that it measures, on the same processors.
type asking struct {
	c               *client
	logins          []*load.Body
	askers          []*asker
	free            [][]*asker // of each partner
	poll, tick      int
	start           time.Time
	count           int
	posed, answered int
}

// asker is a connection that asks one question after another. It speaks just enough HTTP.
type asker struct {
	fd, partner int
	due         time.Duration // of the question, since the start
	head        []byte        // of every request, as far as the length of its body
	out, in     []byte
	have        int // bytes of in
}

func (c *client) newAsking(logins []*load.Body) (q *asking, err error) {
	address, err := netip.ParseAddrPort(strings.TrimPrefix(c.job.URL, "http://"))
	if err != nil || !address.Addr().Is4() {
		return nil, fmt.Errorf("cannot ask %s: want an IPv4 address and a port", c.job.URL)
	}
	q = &asking{c: c, logins: logins, free: make([][]*asker, len(c.job.Keys)), poll: -1, tick: -1, count: int(c.job.Seconds * float64(c.job.Questions))}
	defer func() {
		if err != nil {
			q.close()
		}
	}()
	if q.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, fmt.Errorf("cannot wait for answers: %w", err)
	}
	if q.tick, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("cannot make a timer: %w", err)
	}
	if err := q.watch(q.tick, -1); err != nil {
		return nil, err
	}
	for range max(1, c.job.Connections/len(q.free)) {
		for p := range q.free {
			if err := q.dial(address, p); err != nil {
				return nil, fmt.Errorf("cannot connect to %s: %w", address, err)
			}
		}
	}
	c.times = make([]time.Duration, 0, q.count)
	return q, nil
}

// watch has the number told when there is something to read.
func (q *asking) watch(fd, number int) error {
	return unix.EpollCtl(q.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(number)})
}

func (q *asking) dial(address netip.AddrPort, partner int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	k := &asker{fd: fd, partner: partner, in: make([]byte, 16<<10)}
	k.head = fmt.Appendf(nil, "POST /v1/risk HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: ", address, q.c.job.Keys[partner])
	q.askers, q.free[partner] = append(q.askers, k), append(q.free[partner], k)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}); err != nil {
		return err
	}
	if err := errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), unix.SetNonblock(fd, true)); err != nil {
		return err
	}
	return q.watch(fd, len(q.askers)-1)
}

func (q *asking) close() {
	for _, k := range q.askers {
		unix.Close(k.fd)
	}
	unix.Close(q.tick)
	unix.Close(q.poll)
}

// pose asks what is due, until a partner has no connection free.
func (q *asking) pose() error {
	for ; q.posed < q.count; q.posed++ {
		due := (time.Duration(q.posed) * time.Second / time.Duration(q.c.job.Questions)).Truncate(time.Millisecond)
		login := q.posed % len(q.logins)
		partner := login % len(q.free)
		last := len(q.free[partner]) - 1
		if last < 0 || due > time.Since(q.start) {
			return nil
		}
		k, body := q.free[partner][last], q.logins[login]
		q.free[partner] = q.free[partner][:last]
		body.Renew(q.c.job.FirstID+uint64(q.posed), moat.TimeOf(time.Now()))
		k.due, k.have = due, 0
		k.out = strconv.AppendInt(append(k.out[:0], k.head...), int64(len(body.Text)), 10)
		k.out = append(append(k.out, "\r\n\r\n"...), body.Text...)
		if n, err := unix.Write(k.fd, k.out); err != nil || n < len(k.out) {
			return fmt.Errorf("cannot ask: %d of %d bytes were taken: %w", n, len(k.out), err)
		}
	}
	return nil
}

// hear waits until something is to be done, and takes the answers that are there.
func (q *asking) hear(ready []unix.EpollEvent) error {
	// Go's own way to wait would have another thread look whether this one should give its processor up, ten thousand times a second.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(q.poll), uintptr(unsafe.Pointer(&ready[0])), uintptr(len(ready)), ^uintptr(0), 0, 0)
	if e == unix.EINTR {
		return nil
	}
	if e != 0 {
		return fmt.Errorf("cannot wait for answers: %w", e)
	}
	for _, r := range ready[:n] {
		if r.Fd < 0 {
			var times [8]byte
			_, _ = unix.Read(q.tick, times[:]) // it goes on when it has been read
			continue
		}
		k := q.askers[r.Fd]
		whole, err := k.answer()
		if err != nil {
			return err
		}
		if whole {
			q.c.times = append(q.c.times, time.Since(q.start)-k.due)
			q.c.requests.Add(1)
			q.answered++
			q.free[k.partner] = append(q.free[k.partner], k)
		}
	}
	return nil
}

// answer reads what there is of an answer, and tells whether that is all of it.
func (k *asker) answer() (whole bool, err error) {
	n, err := unix.Read(k.fd, k.in[k.have:])
	if err == unix.EAGAIN {
		return false, nil
	}
	if err != nil || n == 0 {
		return false, fmt.Errorf("cannot read answer: %w", errors.Join(err, fmt.Errorf("after %d bytes", k.have)))
	}
	k.have += n
	head, _, whole := bytes.Cut(k.in[:k.have], []byte("\r\n\r\n"))
	if !whole {
		return false, nil
	}
	_, after, _ := bytes.Cut(head, []byte("Content-Length: "))
	length, _, _ := bytes.Cut(after, []byte("\r\n"))
	size, err := strconv.Atoi(string(length))
	want := len(head) + 4 + size
	if err != nil || want > len(k.in) || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return false, fmt.Errorf("answer: %.300q", k.in[:k.have])
	}
	return k.have >= want, nil
}
