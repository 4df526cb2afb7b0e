package api

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bell tells which connections have something to be read. The runtime looks for that when a processor has nothing else to
// do, or every 10 ms, and what it finds waits behind all that is ready to run: an engine, its files, the collector. Whoever works for long
// looks here now and then, and whoever looks answers there and then; when nobody works, a goroutine waits for the bell.
type bell struct {
	poll  *os.File // of the kernel's: what can be read
	raw   syscall.RawConn
	mu    sync.RWMutex
	conns map[int32]*laneConn // by the kernel's number
	done  chan struct{}       // closed when nobody waits any more
}

func newBell() (*bell, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot wait for questions: %w", err)
	}
	b := &bell{poll: os.NewFile(uintptr(fd), "epoll"), conns: map[int32]*laneConn{}, done: make(chan struct{})}
	if b.raw, err = b.poll.SyscallConn(); err != nil {
		b.poll.Close()
		return nil, fmt.Errorf("cannot wait for questions: %w", err)
	}
	go b.wait()
	return b, nil
}

func (b *bell) wait() {
	defer close(b.done)
	for b.raw.Read(b.answer) == nil {
	}
}

func (b *bell) close() {
	b.poll.Close()
	<-b.done
}

// atOnce is how many connections one who looks goes through.
const atOnce = 8

// look answers questions that have come, if there are any.
func (b *bell) look() {
	_ = b.raw.Control(func(fd uintptr) {
		for n := 0; n < atOnce && b.answer(fd); n++ {
		}
	})
}

// answer has a connection that can be read answer, and tells whether there was one. It takes no more than one: those behind it would wait
// if the kernel took the core away now, and somebody else may have one.
func (b *bell) answer(fd uintptr) bool {
	var event unix.EpollEvent
	// It returns at once. Said as a plain system call the runtime would be ready for its taking long.
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&event)), 1, 0, 0, 0)
	if e != 0 || n == 0 {
		return e == unix.EINTR
	}
	b.mu.RLock()
	k := b.conns[event.Fd]
	b.mu.RUnlock()
	if k != nil {
		k.ring()
	}
	return true
}

// add has a connection rung for.
func (b *bell) add(k *laneConn) error {
	return b.change(k, func(poll, fd int) error {
		b.conns[int32(fd)] = k
		return unix.EpollCtl(poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: int32(fd)})
	})
}

// remove must come before the connection is closed: then another may have its number.
func (b *bell) remove(k *laneConn) {
	_ = b.change(k, func(poll, fd int) error {
		delete(b.conns, int32(fd))
		return unix.EpollCtl(poll, unix.EPOLL_CTL_DEL, fd, nil)
	})
}

// change calls f with the kernel's numbers of the bell and of a connection, unless one of them is closed.
func (b *bell) change(k *laneConn, f func(poll, fd int) error) (err error) {
	var closed error
	gone := b.raw.Control(func(poll uintptr) {
		closed = k.raw.Control(func(fd uintptr) {
			b.mu.Lock()
			defer b.mu.Unlock()
			err = f(int(poll), int(fd))
		})
	})
	return errors.Join(gone, closed, err)
}

// ring says that there is something to be read. One at a time has a connection: who comes while somebody has it is noticed by
// that one, who reads once more.
func (k *laneConn) ring() {
	if k.rings.Add(1) > 1 {
		return
	}
	if k.slow || !k.quick() {
		k.slow = true
		k.turn <- struct{}{}
	}
}

// quick answers what has come if it is one question like the one before, and gives the connection up. It says no when the
// connection's own goroutine has to go on, and does not give it up then.
func (k *laneConn) quick() bool {
	seen, room := k.rings.Load(), cap(k.buf)
	n, err := k.pull()
	if err == unix.EAGAIN {
		return !k.due() && k.rings.CompareAndSwap(seen, 0)
	}
	if err != nil || n == room || !k.again() || k.ended(len(k.head)) != n {
		return false
	}
	k.serve(n)
	k.buf = k.buf[:0]
	if k.last || len(k.unsent) > 0 {
		return false
	}
	k.patience(idleTime)
	return k.rings.CompareAndSwap(seen, 0) // there was room for more, so there was no more: if there is now, it has rung
}

// pull reads what there is.
func (k *laneConn) pull() (n int, err error) {
	if len(k.buf) == cap(k.buf) {
		k.buf = append(make([]byte, 0, 2*cap(k.buf)), k.buf...)
	}
	whole := k.raw.Read(func(fd uintptr) bool {
		for n, err = unix.Read(int(fd), k.buf[len(k.buf):cap(k.buf)]); err == unix.EINTR; {
			n, err = unix.Read(int(fd), k.buf[len(k.buf):cap(k.buf)])
		}
		return true
	})
	switch {
	case whole != nil:
		return 0, whole
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	k.buf = k.buf[:len(k.buf)+n]
	return n, nil
}

// push sends an answer without waiting. What the kernel does not take is left to the connection's own goroutine.
func (k *laneConn) push(b []byte) {
	n := 0
	_ = k.raw.Write(func(fd uintptr) bool {
		n, _ = unix.Write(int(fd), b) // an error comes again when the rest is sent
		return true
	})
	k.unsent = append(k.unsent[:0], b[max(n, 0):]...)
}

// flush waits until the caller has taken the rest of an answer, and tells whether there may be another.
func (k *laneConn) flush() bool {
	if len(k.unsent) > 0 {
		k.conn.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := k.conn.Write(k.unsent); err != nil {
			k.last = true
		}
		k.unsent = k.unsent[:0]
	}
	return !k.last
}

// more waits until there is something to be read, or the patience ends, and reads it. Meanwhile others may answer.
func (k *laneConn) more() error {
	for {
		seen := k.rings.Load()
		if _, err := k.pull(); err != unix.EAGAIN {
			return err
		}
		if k.due() {
			return os.ErrDeadlineExceeded
		}
		k.slow = len(k.buf) > 0 || len(k.head) == 0
		if !k.rings.CompareAndSwap(seen, 0) {
			continue
		}
		if <-k.turn; !k.flush() {
			return io.EOF
		}
		if len(k.buf) > 0 {
			return nil
		}
	}
}

// due tells whether nothing more is waited for.
func (k *laneConn) due() bool {
	return k.lane.closing.Load() || !time.Now().Before(k.until)
}
