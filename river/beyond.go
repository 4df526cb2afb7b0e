package river

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxBeyond bounds the bytes of blocks that [Beyond] reads of a partition.
const maxBeyond = 256 << 20

// Beyond calls fn with each message of the embedded store in dir whose sequence is above what after says of its partition, in the order
// of a partition, while no process has the store: what one that was killed left to be worked on. fn may keep nothing. What was trimmed may be among them. more says that
// there are more than were read. Nothing is locked, mended or changed; while a process has the store, and where there is none, there is nothing beyond.
func Beyond(dir string, after func(partition int) uint64, fn func(partition int, seq uint64, batch []byte) error) (more bool, err error) {
	if free, err := idle(dir); !free || err != nil {
		return false, err
	}
	streams, err := streamsOf(dir)
	if err != nil {
		return false, fmt.Errorf("cannot read river: %w", err)
	}
	for p, s := range streams {
		cut, err := beyond(p, s, after(p), fn)
		if err != nil {
			return more, fmt.Errorf("cannot read river: %w", err)
		}
		more = more || cut
	}
	return more, nil
}

// idle tells whether there is a store in dir that no process has.
func idle(dir string) (bool, error) {
	f, err := os.Open(filepath.Join(dir, lockName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot read river: %w", err)
	}
	defer f.Close()
	return unlocked(f), nil
}

// beyond is [Beyond] of one partition.
func beyond(p int, dir string, after uint64, fn func(int, uint64, []byte) error) (more bool, err error) {
	msgs := filepath.Join(dir, "msgs")
	blocks, err := blocksOf(msgs)
	if err != nil {
		return false, err
	}
	from := len(blocks) // the first block that is needed
	for from > 0 {
		from--
		if first, err := firstOf(blockPath(msgs, blocks[from])); err != nil {
			return false, err
		} else if first > 0 && first <= after+1 {
			break
		}
	}
	var buf []byte
	read := 0
	for _, b := range blocks[from:] {
		if read > maxBeyond {
			return true, nil
		}
		if buf, err = readFile(blockPath(msgs, b), buf); err != nil {
			return false, err
		}
		read += len(buf)
		if after, err = beyondIn(buf, p, filepath.Base(dir), b, after, fn); err != nil {
			return false, err
		}
	}
	return false, nil
}

// firstOf returns the sequence of the first record of a block, 0 if it has none.
func firstOf(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var head [recordHeader]byte
	if _, err := io.ReadFull(f, head[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint64(head[4:]) &^ seqMarks, nil
}

// beyondIn calls fn with the messages of a block after a sequence, and returns the last sequence.
func beyondIn(buf []byte, p int, stream string, block int, after uint64, fn func(int, uint64, []byte) error) (uint64, error) {
	key := blockKey(stream, block)
	for at := 0; at < len(buf); {
		n, seq := record(buf[at:], key[:])
		if n == 0 {
			if at, _ = nextRecord(buf, at, key[:], subject(p), after); at < 0 {
				break
			}
			continue
		}
		if seq&seqMarks == 0 && seq > after {
			if err := fn(p, seq, messageOf(buf[at:at+n])); err != nil {
				return after, err
			}
			after = seq
		}
		at += n
	}
	return after, nil
}

// messageOf returns the message of a whole record.
func messageOf(b []byte) []byte {
	le := binary.LittleEndian
	at := recordHeader + int(le.Uint16(b[20:]))
	if le.Uint32(b)&headersBit != 0 {
		at += 4 + int(le.Uint32(b[at:]))
	}
	return b[min(at, len(b)-recordHash) : len(b)-recordHash]
}
