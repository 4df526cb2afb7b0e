package bench

import "testing"

// TestYardstick lays the yardstick on: memory must be slower than any cache would be, and an event no harder to decode than a page of text.
func TestYardstick(t *testing.T) {
	var y yardstick
	for range 3 {
		if err := y.lay(); err != nil {
			t.Fatal(err)
		}
	}
	if decode := median(y.decode); decode < 500 || decode > 500_000 {
		t.Errorf("an event takes %.0f ns to decode", decode)
	}
	if read := median(y.read); read < 20 || read > 20_000 {
		t.Errorf("a number in memory takes %.0f ns", read)
	}
}
