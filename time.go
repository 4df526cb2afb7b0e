package moat

import (
	"fmt"
	"strconv"
	"time"
)

// Time is an instant in microseconds since 1970-01-01T00:00:00Z. The zero
// value means "not given". It marshals as RFC 3339 in UTC with the
// fewest digits that keep its precision.
type Time int64

// Units of Time.
const (
	Microsecond Time = 1
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
	Minute           = 60 * Second
	Hour             = 60 * Minute
	Day              = 24 * Hour
)

// TimeOf returns t cut to microseconds; the zero time.Time gives 0.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return Time(t.UnixMicro())
}

// Std returns t as a time.Time in UTC.
func (t Time) Std() time.Time { return time.UnixMicro(int64(t)).UTC() }

// Seconds returns whole seconds since 1970, rounded down.
func (t Time) Seconds() int64 {
	s := int64(t) / int64(Second)
	if int64(t)%int64(Second) < 0 {
		s--
	}
	return s
}

// String returns RFC 3339 text in UTC, or "" for the zero value.
func (t Time) String() string {
	if t == 0 {
		return ""
	}
	return t.Std().Format(time.RFC3339Nano)
}

// MarshalJSON writes RFC 3339 text, or null for the zero value.
func (t Time) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	return t.Std().AppendFormat([]byte{'"'}, `2006-01-02T15:04:05.999999999Z07:00"`), nil
}

// UnmarshalJSON reads what [ParseTime] reads, quoted or as a bare integer; null gives 0.
func (t *Time) UnmarshalJSON(b []byte) error {
	s := string(b)
	if s == "null" {
		*t = 0
		return nil
	}
	if len(s) >= 2 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	v, err := ParseTime(s)
	if err != nil {
		return err
	}
	*t = v
	return nil
}

// ParseTime reads RFC 3339 text, or a decimal integer of seconds,
// milliseconds or microseconds since 1970. The unit of an integer follows
// from its size: below 10^11 seconds (year 5138), below 10^14 milliseconds,
// else microseconds. Years outside 1970–9999 are an error.
func ParseTime(s string) (Time, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return TimeOfInt(n)
	}
	v, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("time %.40q is neither RFC 3339 nor an integer of s, ms or µs since 1970", s)
	}
	if v.Year() < 1970 || v.Year() > 9999 {
		return 0, fmt.Errorf("time %.40q is outside the years 1970–9999", s)
	}
	return TimeOf(v), nil
}

// TimeOfInt is [ParseTime] for an integer.
func TimeOfInt(n int64) (Time, error) {
	const end = Time(253402300800) * Second // year 10000
	var t Time
	switch {
	case n <= 0:
		return 0, fmt.Errorf("time %d is not after 1970", n)
	case n < 1e11:
		t = Time(n) * Second
	case n < 1e14:
		t = Time(n) * Millisecond
	default:
		t = Time(n)
	}
	if t >= end {
		return 0, fmt.Errorf("time %d is outside the years 1970–9999", n)
	}
	return t, nil
}
