package river

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/minio/highwayhash"
)

// The environment variable that makes the test binary another program.
const roleKey = "MOAT_RIVER_TEST_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleKey) {
	case "":
		os.Exit(m.Run())
	case "append":
		err = appendForEver(os.Args[1], os.Args[2])
	case "fill":
		err = fillDisk(os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, args...)
	c.Env = append(os.Environ(), roleKey+"="+role)
	c.Stderr = t.Output()
	return c
}

// appendForEver appends events of ever new ids and prints what is acknowledged.
func appendForEver(dir, round string) error {
	r, err := Open(context.Background(), Config{Dir: dir, Partitions: 1})
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s.%d.%d", round, w, i)
				seq, err := r.Append(context.Background(), 0, batchOf(4000, id))
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				fmt.Println(seq, id) // one write: lines do not mix
			}
		})
	}
	wg.Wait()
	return nil
}

// Whatever was acknowledged before a kill is there afterwards, in its place, once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]uint64{}
	for round := range 10 {
		c := child(t, "append", dir, fmt.Sprint(round))
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		for left := 1 + rand.IntN(300); in.Scan(); left-- {
			var seq uint64
			var id string
			if _, err := fmt.Sscan(in.Text(), &seq, &id); err != nil {
				break // the last line may be cut
			}
			acked[id] = seq
			if left == 0 {
				if err := c.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Fatalf("round %d: %v, want killed", round, err)
		}
	}
	r := openRiver(t, Config{Dir: dir})
	_, last, err := r.Bounds(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	rd := read(t, r, 0, 0)
	found := map[string]uint64{}
	for seq := uint64(1); seq <= last; seq++ {
		m := next(t, rd)
		if m.Seq != seq {
			t.Fatalf("message %d, want %d", m.Seq, seq)
		}
		for _, id := range idsOf(t, m.Data) {
			if found[id] != 0 {
				t.Errorf("event %s is in messages %d and %d", id, found[id], seq)
			}
			found[id] = seq
		}
	}
	for id, seq := range acked {
		if found[id] != seq {
			t.Errorf("event %s was acknowledged in message %d, found in %d", id, seq, found[id])
		}
	}
	t.Logf("%d events acknowledged, %d found, in %d messages", len(acked), len(found), last)
}

// damagedStore makes a store of n messages of 400 KiB, ten in a block, and
// closes it, cleanly or as if it had been killed.
func damagedStore(t *testing.T, n int, clean bool, harm func(t *testing.T, blocks []string)) string {
	t.Helper()
	dir := t.TempDir()
	r := openRiver(t, Config{Dir: dir, Partitions: 1, MaxBytes: 24 << 20, Sync: SyncInterval})
	for i := range n {
		mustAppend(t, r, 0, batchOf(400<<10, fmt.Sprint(i+1)))
	}
	closeRiver(t, r)
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream/*/streams/*/msgs/*.blk"))
	if err != nil || len(blocks) < 2 {
		t.Fatalf("blocks %v, %v", blocks, err)
	}
	slices.SortFunc(blocks, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	if !clean {
		if err := os.WriteFile(filepath.Join(dir, lockName), []byte("1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, b := range blocks {
			os.Remove(filepath.Join(filepath.Dir(b), "index.db"))
		}
	}
	harm(t, blocks)
	return dir
}

// edit changes the bytes of a file.
func edit(t *testing.T, path string, f func(b []byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, f(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

// recordAt returns where the n-th record of a block begins, n counting from 0.
func recordAt(b []byte, n int) (at int) {
	for range n {
		at += int(binary.LittleEndian.Uint32(b[at:]) &^ headersBit)
	}
	return at
}

// readAll reads to the end and says what it saw: "1-3 lost 4-5 6-9".
func readAll(t *testing.T, r *River, last uint64) string {
	t.Helper()
	rd := read(t, r, 0, 0)
	var seen []string
	from, seq := uint64(1), uint64(0)
	run := func() {
		if from <= seq {
			seen = append(seen, fmt.Sprintf("%d-%d", from, seq))
		}
	}
	for seq < last {
		m, err := rd.Next(t.Context())
		var gone *CorruptError
		var trimmed *TrimmedError
		switch {
		case errors.As(err, &gone) && errors.Is(err, ErrCorrupt):
			run()
			seen = append(seen, fmt.Sprintf("lost %d-%d", gone.First, gone.Last))
			from, seq = gone.Last+1, gone.Last
		case errors.As(err, &trimmed):
			seen = append(seen, fmt.Sprintf("trimmed %d-%d", trimmed.After+1, trimmed.First-1))
			from, seq = trimmed.First, trimmed.First-1
		case err != nil:
			t.Fatal(err)
		default:
			if seq++; m.Seq != seq || idsOf(t, m.Data)[0] != fmt.Sprint(seq) {
				t.Fatalf("message %d with event %v, want %d", m.Seq, idsOf(t, m.Data), seq)
			}
		}
	}
	run()
	return strings.Join(seen, " ")
}

func TestDamage(t *testing.T) {
	const n = 25
	flip := func(record, offset int) func(t *testing.T, blocks []string) {
		return func(t *testing.T, blocks []string) {
			edit(t, blocks[1], func(b []byte) []byte { b[recordAt(b, record)+offset] ^= 0x40; return b })
		}
	}
	f := func(name string, clean bool, want string, harm func(t *testing.T, blocks []string)) {
		t.Run(name, func(t *testing.T) {
			dir := damagedStore(t, n, clean, harm)
			r := openRiver(t, Config{Dir: dir})
			if seq := mustAppend(t, r, 0, batchOf(10, fmt.Sprint(n+1))); seq != n+1 {
				t.Errorf("sequence %d, want %d", seq, n+1)
			}
			if got := readAll(t, r, n+1); got != want {
				t.Errorf("read %s, want %s", got, want)
			}
		})
	}
	f("none, clean", true, "1-26", func(*testing.T, []string) {})
	f("none", false, "1-26", func(*testing.T, []string) {})
	f("a bit of a message", false, "1-13 lost 14-14 15-26", flip(3, 1000))
	f("a bit of a message, clean", true, "1-13 lost 14-14 15-26", flip(3, 1000))
	f("a bit of a length", false, "1-13 lost 14-14 15-26", flip(3, 2))
	f("a bit of a sequence", false, "1-13 lost 14-14 15-26", flip(3, 4))
	f("a bit of a checksum", false, "1-13 lost 14-14 15-26", flip(4, -1))
	f("zeros over three messages", false, "1-13 lost 14-16 17-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[1], func(b []byte) []byte { clear(b[recordAt(b, 3)+100 : recordAt(b, 5)+100]); return b })
	})
	f("two places", false, "1-11 lost 12-12 13-16 lost 17-17 18-26", func(t *testing.T, blocks []string) {
		flip(1, 500)(t, blocks)
		flip(6, 500)(t, blocks)
	})
	// A server that was closed well trusts its index, finds the damage when it
	// comes to the block, and then cuts the block itself.
	f("a bit of a length, clean", true, "1-13 lost 14-20 21-26", flip(3, 2))
	f("the last message, clean", true, "1-24 lost 25-25 26-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[2], func(b []byte) []byte { b[recordAt(b, 4)+1000] ^= 1; return b })
	})
	f("a cut last block, clean", true, "1-23 lost 24-25 26-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[2], func(b []byte) []byte { return b[:recordAt(b, 3)+1000] })
	})
	f("the first message, clean", true, "lost 1-1 2-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[0], func(b []byte) []byte { b[1000] ^= 1; return b })
	})
	f("the second message", false, "1-1 lost 2-2 3-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[0], func(b []byte) []byte { b[recordAt(b, 1)+1000] ^= 1; return b })
	})
	f("a cut block", false, "1-17 lost 18-20 21-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[1], func(b []byte) []byte { return b[:recordAt(b, 7)+10] })
	})
	f("a lost block", false, "1-10 lost 11-20 21-26", func(t *testing.T, blocks []string) {
		if err := os.Remove(blocks[1]); err != nil {
			t.Fatal(err)
		}
	})
	f("garbage behind the end", false, "1-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[len(blocks)-1], func(b []byte) []byte { return append(b, bytes.Repeat([]byte("garbage"), 100)...) })
	})
	f("a torn record behind the end", false, "1-26", func(t *testing.T, blocks []string) {
		edit(t, blocks[len(blocks)-1], func(b []byte) []byte { return append(b, b[:300<<10]...) })
	})
}

func FuzzScanBlock(f *testing.F) {
	f.Add([]byte{}, 0, byte(1), 0)
	f.Add(bytes.Repeat([]byte{0}, 100), 3, byte(0xff), 50)
	f.Add([]byte(subject(0)), 10, byte(1), 2)
	f.Fuzz(func(t *testing.T, junk []byte, at int, mask byte, cut int) {
		whole := testBlock(9)
		b := slices.Clone(whole)
		if len(b) > 0 {
			b[uint(at)%uint(len(b))] ^= mask
		}
		cut = int(uint(cut) % uint(len(b)))
		b = slices.Concat(b[:cut], junk, b[cut:])
		found, _ := scanBlock(b, streamName(0), subject(0), 1, 0)
		end := 0
		var rest []byte
		for _, d := range found {
			if d.from < end || d.to <= d.from || d.to >= len(b) {
				t.Fatalf("damages %v overlap or are out of %d bytes", found, len(b))
			}
			rest, end = append(rest, b[end:d.from]...), d.to
		}
		rest = append(rest, b[end:]...)
		if again, _ := scanBlock(rest, streamName(0), subject(0), 1, 0); len(again) != 0 {
			t.Fatalf("damages %v leave %v", found, again)
		}
		if len(junk) == 0 && mask == 0 && len(found) != 0 {
			t.Fatalf("damages %v in a whole block", found)
		}
	})
}

// testBlock makes a block of n records as JetStream writes them.
func testBlock(n int) (b []byte) {
	key := sha256.Sum256([]byte(streamName(0) + "-1"))
	le := binary.LittleEndian
	for i := range n {
		msg := fmt.Sprintf("message %d", i+1)
		at := len(b)
		b = le.AppendUint32(b, uint32(recordHeader+len(subject(0))+len(msg)+recordHash))
		b = le.AppendUint64(b, uint64(i+1))
		b = le.AppendUint64(b, 1)
		b = le.AppendUint16(b, uint16(len(subject(0))))
		b = append(b, subject(0)...)
		b = append(b, msg...)
		h := highwayhash.Sum64(append(slices.Clone(b[at+4:at+20]), b[at+recordHeader:]...), key[:])
		b = le.AppendUint64(b, h)
	}
	return b
}
