package canary

import (
	"errors"
	"strings"
	"testing"
)

// TestPhones: whatever is made of an example or a pattern rings nowhere, or is in a pool that is small enough to be one's own.
func TestPhones(t *testing.T) {
	k := testKey(t)
	for example, want := range map[string]string{
		"+44 7700 900123": "+44 7700 900###", "07700 900123": "07700 900###", "00447700900123": "00447700900###", "(01632) 960999": "(01632) 960###", "020 7946 0018": "020 7946 0###",
		"+1 (202) 555-0123": "+1 (202) 555-01##", "202-555-0199": "202-555-01##", "+61 2 5550 1234": "+61 2 5550 ####", "01 99 00 12 34": "01 99 00 ## ##", "020 912 3456": "020 91# ####",
		"+44 7700 901123": "", "+86 138 0013 8000": "", "202-555-0200": "", "+44 7911 123456": "", "": "", "#": "", "555": "",
	} {
		got, err := PatternFor(Phone, example)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrLot) {
			t.Errorf("%q gives %q, %v; want %q", example, got, err, want)
		}
		if err != nil {
			continue
		}
		l := lot("acme", "sms", Phone, got, 50)
		if err := l.Check(); err != nil {
			t.Errorf("%q: %v", got, err)
		}
		for n := range 50 {
			if again, err := PatternFor(Phone, k.Value(&l, n)); again != got {
				t.Errorf("%q makes %q, which is none for fiction: %v", got, k.Value(&l, n), err)
			}
		}
	}
	for pattern, want := range map[string]string{
		"+44 7700 900###":                   "",
		"+44 7700 900105":                   "",
		"202-555-01##|+44 7700 900###":      "",
		"+86 571 8502 ####":                 "", // a block of one's own
		"+44 ##########":                    "set aside for fiction",
		"+44 7700 9#####":                   "+447700900000",
		"+44 7700 90####":                   "leave the last 3 digits open",
		"+1 202-555-0###":                   "+1 ???5550100 to ???5550199",
		"202-555-01##|+44 7700 9#####":      "set aside for fiction",
		"+86 138 ########":                  "at most 4 open digits, this has 8",
		"+44 7700 900@@@":                   "takes # alone",
		"12##":                              "5 to 15 digits",
		"+44 7700 900### 000000":            "5 to 15 digits",
		strings.Repeat("#", 11):             "set aside for fiction",
		"+44 7911 1#####":                   "at most 4 open digits",
		"+44 7700 900###|+86 138 0013 80##": "",
	} {
		l := lot("acme", "sms", Phone, pattern, 1)
		err := l.Check()
		if want == "" && err != nil || want != "" && (!errors.Is(err, ErrLot) || !strings.Contains(strings.ReplaceAll(err.Error(), "+44 7700", "+447700"), strings.ReplaceAll(want, "+44 7700", "+447700"))) {
			t.Errorf("%q: %v, want %q", pattern, err, want)
		}
	}
	if _, err := PatternFor(Address, "12 Quay Street, Room 7"); !errors.Is(err, ErrLot) {
		t.Errorf("an address of an example: %v", err)
	}
}

// TestSamePhone: people write a number for abroad and for home.
func TestSamePhone(t *testing.T) {
	x, err := NewIndex(testKey(t), []Lot{lot("acme", "sms", Phone, "+44 7700 900105", 1), lot("acme", "desk", Phone, "202-555-0174", 1)})
	if err != nil {
		t.Fatal(err)
	}
	for number, want := range map[string]int{"07700 900105": 1, "0044 (7700) 900105": 1, "447700900105": 1, "7700900105": 1, "+1 202 555 0174": 1, "2025550174": 1,
		"+44 7700 900106": 0, "900105": 0, "+33 7700 900105": 0, "+1 303 555 0174": 0, "00900105": 0} {
		if got := x.Find(Phone, number); len(got) != want {
			t.Errorf("%s is %d canaries, want %d", number, len(got), want)
		}
	}
}

func FuzzPhonePattern(f *testing.F) {
	for _, s := range []string{"+44 7700 900123", "202-555-0123", "", "#1", "٠١٢", "+1 (202) 555-0123 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, example string) {
		pattern, err := PhonePattern(example)
		if err != nil {
			return
		}
		l := lot("p", "c", Phone, pattern, 1)
		if err := l.Check(); err != nil {
			t.Fatalf("%q of %q: %v", pattern, example, err)
		}
	})
}
