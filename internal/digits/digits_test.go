package digits

import (
	"encoding/binary"
	"strconv"
	"testing"
)

// FuzzEight holds Eight against strconv, which also takes a sign: that is none here.
func FuzzEight(f *testing.F) {
	for _, s := range []string{"00000000", "12345678", "99999999", "1234567/", ":2345678", "1234 678", "-1234567", "+1234567", "1234567\xb5", "\x001234567"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 8 {
			return
		}
		n, ok := Eight(binary.LittleEndian.Uint64(b))
		want, err := strconv.ParseUint(string(b), 10, 64)
		if ok != (err == nil) || ok && n != int64(want) {
			t.Fatalf("%q: %d, %t, want %d, %v", b, n, ok, want, err)
		}
	})
}
