package rule

import (
	"math"
	"strings"
	"testing"

	"github.com/moat-platform/moat"
)

func TestRoute(t *testing.T) {
	f := func(url, want string) {
		t.Helper()
		var fr Frame
		if got := fr.route(url); got != want {
			t.Errorf("route of %q is %q, want %q", url, got, want)
		}
	}
	f("", "")
	f("/", "/")
	f("/api/v1/orders/88812345/phone", "/api/v1/orders/*/phone")
	f("https://erp.example:8080/trade/list?x=1#y", "/trade/list")
	f("https://erp.example", "/")
	f("https://erp.example?a=/b", "/")
	f("/oauth2/token", "/oauth2/token")
	f("/o/7/", "/o/*/")
	f("/f/0a1b2c3d-0000-4000-8000-abcdefabcdef", "/f/*")
	f("/x/"+strings.Repeat("a", 33), "/x/*")
	f("nightly export", "nightly export")
	f(strings.Repeat("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 20), strings.Repeat("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 20)[:256])
}

func TestHostOf(t *testing.T) {
	f := func(s, want string) {
		t.Helper()
		if got := HostOf(s); got != want {
			t.Errorf("host of %q is %q, want %q", s, got, want)
		}
	}
	f("", "")
	f("https://a.example:8443/x?y=1", "a.example")
	f("https://user:pw@a.example/", "a.example")
	f("ftp://[2001:db8::1]:21/x", "2001:db8::1")
	f("2001:db8::1", "2001:db8::1")
	f("10.0.0.7:3306", "10.0.0.7")
	f("someone@mail.example", "mail.example")
	f("wms-east", "wms-east")
	f("@", "")
	f("[", "[")
}

func TestRegion(t *testing.T) {
	for tag, want := range map[string]string{"": "", "zh": "", "zh-CN": "CN", "zh-Hans-CN": "CN", "en_US": "US", "zh-Hans": "", "de-CH-1996": "CH", "-": "", "zh-cn": ""} {
		if got := region(tag); got != want {
			t.Errorf("region of %q is %q, want %q", tag, got, want)
		}
	}
}

func TestZones(t *testing.T) {
	z := zones()
	if len(z) < 500 {
		t.Fatalf("only %d time zones are known", len(z))
	}
	for zone, want := range map[string]string{"Asia/Shanghai": "CN", "PRC": "CN", "Asia/Hong_Kong": "HK", "Asia/Calcutta": "IN", "America/New_York": "US", "UTC": "", "": ""} {
		if z[zone] != want {
			t.Errorf("%q is in %q, want %q", zone, z[zone], want)
		}
	}
}

// ofDestination is a word of the vocabulary about an event with a destination.
func ofDestination(word, to string) string {
	fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
	fr.Begin(&moat.Event{Destination: to})
	return vocabulary[word].str(&fr)
}

func TestDestinationName(t *testing.T) {
	for to, want := range map[string]string{
		"https://wms.pakhus.eu/in": "wms pakhus", "https://wms.pakhus-eu.com/in": "wms pakhus", "https://API.Wms-Pakhus2.example:8443": "wms pakhus", "ops@mail.pakhus.co.uk": "mail pakhus",
		"https://in.spruce-relay.example/v1": "in spruce relay", "localhost": "", "10.0.0.7:22": "", "https://[2001:db8::1]/": "", "": "", ".": "", "https://api.example/": "",
	} {
		if got := ofDestination("event.destination_name", to); got != want {
			t.Errorf("%q is called %q, want %q", to, got, want)
		}
	}
}

func TestDestinationLook(t *testing.T) {
	for to, want := range map[string]string{
		"https://api.redbird-express.cn/in": "rbdr eprsx", "https://api2.redbird-expres.cn": "rbdr eprsx", "redbrid-exprass.com": "rbdr eprsx", "redbard-expess.top": "rbdr epsx",
		"https://wms.pakhus.eu/in": "wms phks", "barnes.example": "bms", "bames.example": "bms", "c1oud-depot.example": "cdl dpt", "localhost": "", "10.0.0.7:22": "", "": "",
	} {
		if got := ofDestination("event.destination_look", to); got != want {
			t.Errorf("%q looks like %q, want %q", to, got, want)
		}
	}
}

func TestDestinationOwner(t *testing.T) {
	for to, want := range map[string]string{
		"https://hook.s1.pakhus.eu:8443/in": "pakhus.eu", "https://pakhus.eu": "pakhus.eu", "https://a.b.pakhus.co.uk/": "pakhus.co.uk", "ops@mail.pakhus.com.cn": "pakhus.com.cn",
		"localhost": "localhost", "": "",
	} {
		if got := ofDestination("event.destination_owner", to); got != want {
			t.Errorf("%q belongs to %q, want %q", to, got, want)
		}
	}
}

func TestLookalike(t *testing.T) {
	for _, c := range []struct {
		before, after string
		want          float64
	}{
		{"https://hook.pakhus.eu/in", "https://hook.pakhus-eu.com/in", 1},
		{"https://hook.redbird-express.cn/cb", "https://hook.redbird-express.com.cn/cb", 1},
		{"https://hook.redbird-express.cn/cb", "https://in.hook.redbird-expres.top/cb", 0},
		{"https://hook.barnes.example/cb", "https://hook.bames.example/cb", 1},
		{"https://hook.pakhus.eu/in", "https://hook.pakhus.eu/v2/in", 0},
		{"https://hook.pakhus.co.uk/in", "https://hook2.pakhus.co.uk/in", 0},
		{"https://hook.pakhus.eu/in", "https://elsewhere.example/in", 0},
		{"https://10.0.0.7/in", "https://10.0.1.7/in", 0}, {"trade.read", "trade.read,receiver.decrypt", 0}, {"", "https://hook.pakhus.eu", 0}, {"..", ".", 0},
	} {
		fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
		fr.Begin(&moat.Event{Before: c.before, After: c.after})
		if got := vocabulary["event.lookalike"].num(&fr); got != c.want {
			t.Errorf("%q instead of %q is %v, want %v", c.after, c.before, got, c.want)
		}
	}
}

func TestTimes(t *testing.T) {
	at := func(s string) moat.Time {
		v, err := moat.ParseTime(s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	f := func(e moat.Event, hour, weekday, age float64) {
		t.Helper()
		fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
		fr.Begin(&e)
		for name, want := range map[string]float64{"event.hour": hour, "event.weekday": weekday, "event.age_s": age} {
			if got := vocabulary[name].num(&fr); got != want {
				t.Errorf("%s at %v is %v, want %v", name, e.Time, got, want)
			}
		}
	}
	monday := at("2026-03-02T23:59:59Z")
	f(moat.Event{Time: monday}, 23, 0, 0)
	f(moat.Event{Time: monday + moat.Second, Received: monday + 11*moat.Second}, 0, 1, 10)
	f(moat.Event{Time: monday, Received: monday - moat.Second}, 23, 0, -1)
	f(moat.Event{Time: monday, Received: monday + moat.Day, Flags: moat.FlagHistory}, 23, 0, 0)
	f(moat.Event{Time: 0}, 0, 3, 0)
	f(moat.Event{Time: -moat.Hour}, 23, 2, 0)

	for day, want := range map[string]float64{"2026-03-01": 0, "2026-03-02": 1, "2026-03-16": 15, "2026-03-31": 0, "2026-02-27": 1, "2024-02-28": 1, "2025-12-31": 0} {
		fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
		fr.Begin(&moat.Event{Time: at(day + "T23:59:59Z")})
		if got := vocabulary["event.month_turn"].num(&fr); got != want {
			t.Errorf("event.month_turn on %s is %v, want %v", day, got, want)
		}
	}
}

func TestAgent(t *testing.T) {
	f := func(agent, browser string, version float64, system, device string, bot bool) {
		t.Helper()
		fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
		fr.Begin(&moat.Event{UserAgent: agent})
		for range 2 { // the second from memory
			got := []any{vocabulary["ua.browser"].str(&fr), vocabulary["ua.version"].num(&fr), vocabulary["ua.os"].str(&fr), vocabulary["ua.device"].str(&fr), vocabulary["ua.bot"].bool(&fr)}
			want := []any{browser, version, system, device, bot}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("%s\n got %v\nwant %v", agent, got, want)
					break
				}
			}
		}
	}
	f("", "", 0, "", "", false)
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36", "Chrome", 120, "Windows", "desktop", false)
	f("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36 Edg/121.0", "Edge", 121, "Windows", "desktop", false)
	f("Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 Mobile/15E148 Safari/604.1", "Safari", 17, "iOS", "mobile", false)
	f("Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) AppleWebKit/605.1.15 Version/16.6 Mobile/15E148 Safari/604.1", "Safari", 16, "iOS", "tablet", false)
	f("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:121.0) Gecko/20100101 Firefox/121.0", "Firefox", 121, "macOS", "desktop", false)
	f("Mozilla/5.0 (Linux; Android 13; SM-G991B) AppleWebKit/537.36 Chrome/119.0 Mobile Safari/537.36 SamsungBrowser/23.0", "Samsung Internet", 23, "Android", "mobile", false)
	f("Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 Chrome/119.0 Safari/537.36", "Chrome", 119, "Android", "tablet", false)
	f("Mozilla/5.0 (Linux; Android 12; CUBOT X50) AppleWebKit/537.36 Chrome/119.0 Mobile Safari/537.36 MicroMessenger/8.0.44", "WeChat", 8, "Android", "mobile", false)
	f("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/119.0 Safari/537.36", "Headless Chrome", 119, "Linux", "program", true)
	f("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "", 0, "", "program", true)
	f("python-requests/2.31.0", "Python", 2, "", "program", true)
	f("curl/8.4.0", "curl", 8, "", "program", true)
	f("Mozilla/5.0 (compatible; MSIE 99999999999.0; Windows NT 6.1)", "Internet Explorer", 65535, "Windows", "desktop", false)
}

// FuzzDerived: whatever a stranger writes, what follows from it stays in bounds and does not allocate.
func FuzzDerived(f *testing.F) {
	for _, s := range []string{"", "https://a.example:1/b/123?c#d", "@[]:", "zh-Hans-CN", "Chrome/99999999", "https://rn1barnes--1oud.rrnn.example", "//", "\x00://\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
		fr.Begin(&moat.Event{URL: s, Path: s[:len(s)/2], Destination: s, Peer: s, UserAgent: s, Timezone: s, Language: s})
		ask := func() {
			for _, name := range [...]string{"event.route", "event.destination_host", "event.destination_name", "event.destination_look", "event.destination_owner", "event.peer_host", "event.timezone_country", "event.language_country", "ua.browser", "ua.os", "ua.device"} {
				if got := vocabulary[name].str(&fr); len(got) > max(len(s), 256) {
					t.Fatalf("%s of %q is %q", name, s, got)
				}
			}
		}
		ask()
		if n := testing.AllocsPerRun(1, ask); n > 0 {
			t.Fatalf("%v allocations for %q", n, s)
		}
	})
}

func TestStouffer(t *testing.T) {
	k := func(v float64) numFn { return func(*Frame) float64 { return v } }
	if got := stouffer([]numFn{k(2), k(1), k(3), k(2)})(nil); got != 4 {
		t.Errorf("stouffer(2, 1, 3, 2) is %v, want 8/√4", got)
	}
	if got := stouffer([]numFn{k(math.MaxFloat64), k(math.MaxFloat64)})(nil); got != math.MaxFloat64 {
		t.Errorf("a sum beyond all numbers is %v", got)
	}
	for z, want := range map[float64]float64{0: 0.5, 1.959964: 0.025, 3.719016: 1e-4, -1.959964: 0.975} {
		if got := upperTail(z); math.Abs(got-want) > 1e-6 {
			t.Errorf("tail(%v) is %v, want %v", z, got, want)
		}
	}
}

func BenchmarkAgent(b *testing.B) {
	fr := (&Plan{Texts: agentPlace + 1}).NewFrame()
	fr.Begin(&moat.Event{UserAgent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36"})
	b.Run("known", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			fr.agent()
		}
	})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			parseAgent(fr.Event.UserAgent)
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	var fr Frame
	b.ReportAllocs()
	for range b.N {
		fr.route("https://erp.example/api/v1/orders/88812345/phone?x=1")
	}
}
