package trace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

func TestReadOrders(t *testing.T) {
	at := moat.Time(1_772_409_600) * moat.Second
	check := func(in string, want ...Leaked) {
		t.Helper()
		got, err := ReadOrders(strings.NewReader(in))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q gives %v, %v; want %v", in, got, err, want)
		}
	}
	check("")
	check("\ufeffa\n\n# no\r\n b \r\n", Leaked{ID: "a"}, Leaked{ID: "b"})
	check("id\ra\rb\r\nc\r", Leaked{ID: "a"}, Leaked{ID: "b"}, Leaked{ID: "c"})
	check("order_id,at\na,2026-03-02T00:00:00Z\n", Leaked{ID: "a", At: at})
	check("a,,hotline,0.5\n", Leaked{ID: "a", By: "hotline", Weight: 0.5})
	check("a;1772409600;x", Leaked{ID: "a", At: at, By: "x"})
	check("\"a\"\t1772409600000", Leaked{ID: "a", At: at})
	check(`{"id":"a","at":"2026-03-02T00:00:00Z","by":"x","weight":0.5}`, Leaked{ID: "a", At: at, By: "x", Weight: 0.5})
	check(`{"id":"k_1","partner":"p","order":"a","kind":"scam_call","time":"2026-03-02T00:00:00Z","reporter":"x","weight":0.5}`, Leaked{ID: "a", At: at, By: "x", Weight: 0.5})
	check(`{"type":"complaint","time":1772500000,"contacted_at":1772409600,"orders":["a","b"],"actor":"x"}`, Leaked{ID: "a", At: at, By: "x"}, Leaked{ID: "b", At: at, By: "x"})
	for in, want := range map[string]string{
		"a\nb,soon":                    "line 2",
		"a\r\n\rb,soon":                "line 3",
		"a,,x,2":                       "no weight",
		"a,,x,NaN":                     "no weight",
		"a,,,,":                        "5 fields",
		strings.Repeat("x", 129):       "no id",
		"a\x00b":                       "no id",
		"{":                            "no JSON object",
		`{"type":"complaint"}`:         "neither id nor orders",
		`{"orders":[""]}`:              "no id",
		strings.Repeat("x", maxLine+1): "one order a line",
	} {
		if _, err := ReadOrders(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q gives %v, want %q", in, err, want)
		}
	}
}

func FuzzReadOrders(f *testing.F) {
	for _, s := range []string{"a\nb,2026-03-02T00:00:00Z,x,0.5\n", `{"id":"a"}`, `{"orders":["a"],"time":1}`, "id\n\"\"\n", "\t\t", ",;"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ReadOrders(strings.NewReader(s))
		if err != nil {
			return
		}
		for _, o := range list {
			if checkID(o.ID) != nil {
				t.Fatalf("%q gives the id %q", s, o.ID)
			}
		}
		if len(list) > 0 {
			(&Tracer{Rows: NewMemory()}).Trace(t.Context(), moat.Everyone(), Question{Orders: list}) // must not panic
		}
	})
}
