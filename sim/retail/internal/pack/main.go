// Pack makes the orders that package retail embeds from the file of the UCI machine
// learning repository.
//
// Use it when other weeks are wanted: go run ./sim/retail/internal/pack -in FILE, where FILE is
// the data set as CSV, gzipped or not. It will not download anything, and it writes
// neither what was bought nor who bought it.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"time"
)

// invoice is one order, of many lines.
type invoice struct {
	id, country string
	at          time.Time
	lines       int
	customer    uint32
}

func main() {
	in := flag.String("in", "online-retail.csv.gz", "the data set: CSV, gzipped or not")
	out := flag.String("out", "data/orders.csv.gz", "file to write")
	from := flag.String("from", "2011-03-21", "first day, a Monday")
	weeks := flag.Int("weeks", 10, "how many weeks to keep")
	flag.Parse()
	if err := pack(*in, *out, *from, *weeks); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func pack(in, out, from string, weeks int) error {
	first, err := time.Parse(time.DateOnly, from)
	if err != nil || first.Weekday() != time.Monday {
		return fmt.Errorf("cannot use first day %q: want the date of a Monday", from)
	}
	invoices, err := read(in, first, first.AddDate(0, 0, 7*weeks))
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", in, err)
	}
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	fmt.Fprintf(z, "invoice,minute,lines,country,customer\n")
	for _, o := range invoices {
		fmt.Fprintf(z, "%s,%d,%d,%s,%x\n", o.id, int(o.at.Sub(first).Minutes()), o.lines, o.country, o.customer)
	}
	if err := z.Close(); err != nil {
		return err
	}
	fmt.Printf("%d invoices, %d bytes\n", len(invoices), b.Len())
	return os.WriteFile(out, b.Bytes(), 0o644)
}

// read returns the invoices of a stretch of time, by time.
func read(path string, from, to time.Time) ([]*invoice, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buffered := bufio.NewReader(f)
	var r io.Reader = buffered
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if r, err = gzip.NewReader(buffered); err != nil {
			return nil, err
		}
	}
	rows := csv.NewReader(r)
	if _, err := rows.Read(); err != nil { // the names of the columns
		return nil, err
	}
	byID := map[string]*invoice{}
	var list []*invoice
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if len(row) != 8 {
			return nil, fmt.Errorf("a line has %d columns, want 8", len(row))
		}
		at, err := time.Parse(time.DateTime, row[4])
		if err != nil {
			return nil, err
		}
		if at.Before(from) || !at.Before(to) {
			continue
		}
		o := byID[row[0]]
		if o == nil {
			h := fnv.New32a()
			h.Write([]byte("customer " + row[6]))
			o = &invoice{id: row[0], at: at, country: row[7]}
			if row[6] != "" {
				o.customer = h.Sum32()
			}
			byID[row[0]], list = o, append(list, o)
		}
		o.lines++
	}
	slices.SortStableFunc(list, func(a, b *invoice) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.id, b.id)) })
	return list, nil
}
