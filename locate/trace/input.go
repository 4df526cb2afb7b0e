package trace

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

const maxLine = 256 << 10

// ReadOrders reads leaked orders, line by line. A line is an id; or an id, a time, who says so and a
// weight, with commas, semicolons or tabs between them, of which all but the id may be missing; or a JSON object
// with id, at, by, weight; or a complaint as the event contract has it, with orders and contacted_at.
// Empty lines, those that begin with # and a heading are passed over.
func ReadOrders(r io.Reader) ([]Leaked, error) {
	var list []Leaked
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	s.Split(scanLine)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(strings.TrimPrefix(s.Text(), "\ufeff"))
		if line == "" || line[0] == '#' {
			continue
		}
		var more []Leaked
		var err error
		if line[0] == '{' {
			more, err = readObject(line)
		} else {
			more, err = readFields(line, len(list) == 0)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read leaked orders: line %d: %w", n, err)
		}
		if list = append(list, more...); len(list) > MaxOrders {
			return nil, fmt.Errorf("cannot read leaked orders: %w: more than %d", ErrInvalid, MaxOrders)
		}
	}
	if err := s.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("cannot read leaked orders: a line of more than %d KiB: want one order a line", maxLine>>10)
	} else if err != nil {
		return nil, fmt.Errorf("cannot read leaked orders: %w", err)
	}
	return list, nil
}

// scanLine is a [bufio.SplitFunc]: a line ends with a line feed, a carriage return, as old programs write, or both.
func scanLine(data []byte, atEOF bool) (advance int, line []byte, err error) {
	i := bytes.IndexAny(data, "\r\n")
	switch {
	case i < 0 && !atEOF, i >= 0 && data[i] == '\r' && i+1 == len(data) && !atEOF:
		return 0, nil, nil
	case i < 0 && len(data) == 0:
		return 0, nil, nil
	case i < 0:
		return len(data), data, nil
	case bytes.HasPrefix(data[i:], []byte("\r\n")):
		return i + 2, data[:i], nil
	}
	return i + 1, data[:i], nil
}

// checkID refuses what is no id of an order.
func checkID(id string) error {
	if id == "" || len(id) > MaxOrderID || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return fmt.Errorf("%.40q is no id of an order: want 1 to %d bytes of text", id, MaxOrderID)
	}
	return nil
}

func readObject(line string) ([]Leaked, error) {
	var x struct {
		Leaked
		Order       string    `json:"order"` // of a complaint as it is listed; its id is its own
		Reporter    string    `json:"reporter"`
		Orders      []string  `json:"orders"`
		Time        moat.Time `json:"time"`
		ContactedAt moat.Time `json:"contacted_at"`
		Actor       string    `json:"actor"`
	}
	if err := json.Unmarshal([]byte(line), &x); err != nil {
		return nil, fmt.Errorf("no JSON object of an order: %w", err)
	}
	if x.Order != "" {
		x.Orders = append(x.Orders, x.Order)
	}
	if x.ID != "" && len(x.Orders) == 0 {
		return []Leaked{x.Leaked}, checkID(x.ID)
	}
	if len(x.Orders) == 0 {
		return nil, errors.New("a JSON object has neither id nor orders")
	}
	at := x.At
	for _, t := range []moat.Time{x.ContactedAt, x.Time} {
		if at == 0 {
			at = t
		}
	}
	by := cmp.Or(x.By, x.Reporter, x.Actor)
	var list []Leaked
	for _, id := range x.Orders {
		if err := checkID(id); err != nil {
			return nil, err
		}
		list = append(list, Leaked{ID: id, At: at, By: by, Weight: x.Weight})
	}
	return list, nil
}

func readFields(line string, first bool) ([]Leaked, error) {
	f := strings.FieldsFunc(line, func(r rune) bool { return r == '\t' })
	for _, sep := range []string{",", ";"} {
		if len(f) == 1 {
			f = strings.Split(line, sep)
		}
	}
	for i := range f {
		f[i] = strings.Trim(strings.TrimSpace(f[i]), `"`)
	}
	if first {
		switch strings.ToLower(f[0]) {
		case "id", "order", "order_id", "orders":
			return nil, nil
		}
	}
	o := Leaked{ID: f[0]}
	if err := checkID(o.ID); err != nil {
		return nil, err
	}
	if len(f) > 4 {
		return nil, fmt.Errorf("%d fields: want an id, a time, who says so and a weight at most", len(f))
	}
	var err error
	if len(f) > 1 && f[1] != "" {
		if o.At, err = moat.ParseTime(f[1]); err != nil {
			return nil, err
		}
	}
	if len(f) > 2 {
		o.By = f[2]
	}
	if len(f) > 3 && f[3] != "" {
		if o.Weight, err = strconv.ParseFloat(f[3], 64); err != nil || !(o.Weight > 0 && o.Weight <= 1) {
			return nil, fmt.Errorf("%.20q is no weight: want a number above 0 to 1", f[3])
		}
	}
	return []Leaked{o}, nil
}
