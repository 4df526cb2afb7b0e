package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// fillDisk appends until writing fails because files may not grow over 1 MiB,
// reads back what was acknowledged, lifts the limit and appends again.
func fillDisk(dir string) error {
	ctx := context.Background()
	signal.Ignore(syscall.SIGXFSZ)
	r, err := Open(ctx, Config{Dir: dir, Partitions: 1, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return err
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	low := limit
	low.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &low); err != nil {
		return err
	}
	last := uint64(0)
	for {
		seq, err := r.Append(ctx, 0, batchOf(100<<10, fmt.Sprint(last+1)))
		if err != nil {
			fmt.Println("failed:", err)
			break
		}
		last = seq
	}
	if _, err := r.Append(ctx, 0, batchOf(10, "x")); errors.Is(err, ErrAway) {
		fmt.Println("refused")
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	rd, err := r.Read(ctx, 0, 0)
	if err != nil {
		return err
	}
	for seq := range last {
		m, err := rd.Next(ctx)
		if err != nil || m.Seq != seq+1 {
			return fmt.Errorf("message %d, %w; want %d", m.Seq, err, seq+1)
		}
	}
	for {
		seq, err := r.Append(ctx, 0, batchOf(10, "after"))
		if errors.Is(err, ErrAway) || errors.Is(err, ErrUnknown) {
			continue
		}
		if err != nil {
			return err
		}
		for {
			m, err := rd.Next(ctx)
			if err != nil {
				return err
			}
			if m.Seq == seq {
				break
			}
		}
		fmt.Println("kept", last, "and went on")
		return r.Close(ctx)
	}
}

func TestWriteError(t *testing.T) {
	out, err := child(t, "fill", t.TempDir()).Output()
	if err != nil {
		t.Fatal(err)
	}
	text := string(out)
	for _, want := range []string{"failed: ", "file too large", "refused\n", "kept 10 and went on"} {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in:\n%s", want, text)
		}
	}
}
