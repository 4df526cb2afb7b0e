package retail

import (
	"bytes"
	"compress/gzip"
	_ "embed" // for the orders
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/moat-platform/moat"
)

//go:embed data/orders.csv.gz
var packed []byte

// order is one invoice of the data.
type order struct {
	id       string
	at       moat.Time
	shop     *shop
	lines    int
	customer uint32 // 0 if nobody knows
	cancels  bool   // takes an earlier order back
}

// transit is how long an order takes at most until the service providers have it.
const transit = 12 * moat.Minute

// there is when everybody may see the order.
func (o *order) there() moat.Time { return o.at + transit }

// readOrders reads the orders of the first days, moved to start.
func readOrders(start moat.Time, days int) ([]*order, error) {
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("cannot read orders: %w", err)
	}
	rows := csv.NewReader(z)
	rows.FieldsPerRecord, rows.ReuseRecord = 5, true
	if _, err := rows.Read(); err != nil { // the names of the columns
		return nil, fmt.Errorf("cannot read orders: %w", err)
	}
	var list []*order
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read orders: %w", err)
		}
		minute, err1 := strconv.Atoi(row[1])
		lines, err2 := strconv.Atoi(row[2])
		customer, err3 := strconv.ParseUint(row[4], 16, 32)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, fmt.Errorf("cannot read orders: %w", err)
		}
		if minute >= days*24*60 {
			return list, nil
		}
		o := &order{id: row[0], lines: lines, customer: uint32(customer), cancels: row[0][0] == 'C'}
		// The data has minutes only; the second follows from the customer.
		o.at = start + moat.Time(minute)*moat.Minute + moat.Time(customer%60)*moat.Second
		list = append(list, o)
	}
}
