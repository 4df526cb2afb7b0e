package rule

import (
	"strings"

	"cel.dev/cel-go/cel"
)

// agent is what a user agent says of itself: places in the tables below.
type agent struct {
	browser, system, device uint8
	bot                     bool
	version                 uint16 // of the browser, major
}

// sign is a text that tells a name; of several in a user agent the first in its table counts, since most
// browsers also claim to be others.
type sign struct {
	text, name string
	bot        bool
}

var browserMarks = [...]sign{{}, // 0 is none
	{text: "HeadlessChrome/", name: "Headless Chrome", bot: true}, {text: "PhantomJS/", name: "PhantomJS", bot: true},
	{text: "MicroMessenger/", name: "WeChat"}, {text: "DingTalk/", name: "DingTalk"}, {text: "AliApp(", name: "AliApp"}, {text: "Lark/", name: "Lark"},
	{text: "QQBrowser/", name: "QQ Browser"}, {text: "UCBrowser/", name: "UC Browser"}, {text: "MiuiBrowser/", name: "Mi Browser"},
	{text: "HuaweiBrowser/", name: "Huawei Browser"}, {text: "QIHU", name: "360 Browser"}, {text: "SE 2.X", name: "Sogou Browser"},
	{text: "SamsungBrowser/", name: "Samsung Internet"}, {text: "YaBrowser/", name: "Yandex Browser"}, {text: "Vivaldi/", name: "Vivaldi"}, {text: "DuckDuckGo/", name: "DuckDuckGo"},
	{text: "Electron/", name: "Electron"},
	{text: "Edg/", name: "Edge"}, {text: "EdgA/", name: "Edge"}, {text: "EdgiOS/", name: "Edge"}, {text: "Edge/", name: "Edge"},
	{text: "OPR/", name: "Opera"}, {text: "Opera/", name: "Opera"}, {text: "FxiOS/", name: "Firefox"}, {text: "CriOS/", name: "Chrome"},
	{text: "Firefox/", name: "Firefox"}, {text: "Chrome/", name: "Chrome"}, {text: "MSIE ", name: "Internet Explorer"}, {text: "Trident/", name: "Internet Explorer"},
	{text: "Version/", name: "Safari"}, {text: "Safari/", name: "Safari"}, {text: "Dalvik/", name: "Android app"}, {text: "CFNetwork/", name: "Apple app"},
	{text: "okhttp/", name: "okhttp", bot: true}, {text: "curl/", name: "curl", bot: true}, {text: "Wget/", name: "Wget", bot: true},
	{text: "python-requests/", name: "Python", bot: true}, {text: "Python-urllib/", name: "Python", bot: true}, {text: "python-httpx/", name: "Python", bot: true}, {text: "aiohttp/", name: "Python", bot: true}, {text: "Scrapy/", name: "Scrapy", bot: true},
	{text: "Go-http-client/", name: "Go", bot: true}, {text: "Apache-HttpClient/", name: "Java", bot: true}, {text: "Java/", name: "Java", bot: true},
	{text: "PostmanRuntime/", name: "Postman", bot: true}, {text: "axios/", name: "Node.js", bot: true}, {text: "node-fetch", name: "Node.js", bot: true}, {text: "undici", name: "Node.js", bot: true},
	{text: "GuzzleHttp/", name: "PHP", bot: true}, {text: "libwww-perl/", name: "Perl", bot: true}, {text: "PowerShell/", name: "PowerShell", bot: true},
}

var systemMarks = [...]sign{{},
	{text: "HarmonyOS", name: "HarmonyOS"}, {text: "OpenHarmony", name: "HarmonyOS"}, {text: "Android", name: "Android"},
	{text: "iPhone", name: "iOS"}, {text: "iPad", name: "iOS"}, {text: "iPod", name: "iOS"}, {text: "Windows", name: "Windows"},
	{text: "Mac OS X", name: "macOS"}, {text: "Macintosh", name: "macOS"}, {text: "Darwin/", name: "macOS"}, {text: "CrOS", name: "ChromeOS"}, {text: "Linux", name: "Linux"}, {text: "X11", name: "Unix"},
}

// The classes of device.
const (
	noDevice = iota
	desktop
	mobile
	tablet
	program
)

var deviceNames = [...]string{"", "desktop", "mobile", "tablet", "program"}

// botMarks are in names of programs that say so; case matters, as CUBOT makes telephones.
var botMarks = [...]string{"bot/", "bot;", "bot)", "Bot/", "Bot ", "Googlebot", "bingbot", "Baiduspider", "spider", "Spider", "crawl", "Crawl", "Slurp", "Selenium", "Puppeteer", "Playwright", "webdriver"}

// parseAgent reads a user agent.
func parseAgent(s string) agent {
	var a agent
	for i := 1; i < len(browserMarks); i++ {
		m := &browserMarks[i]
		if at := strings.Index(s, m.text); at >= 0 {
			a.browser, a.bot = uint8(i), m.bot
			a.version = major(s[at+len(m.text):])
			break
		}
	}
	for _, t := range botMarks {
		a.bot = a.bot || strings.Contains(s, t)
	}
	for i := 1; i < len(systemMarks); i++ {
		if strings.Contains(s, systemMarks[i].text) {
			a.system = uint8(i)
			break
		}
	}
	phone := strings.Contains(s, "Mobile") || strings.Contains(s, "iPhone")
	switch system := systemMarks[a.system].name; {
	case a.bot:
		a.device = program
	case strings.Contains(s, "iPad") || strings.Contains(s, "Tablet") || system == "Android" && !phone:
		a.device = tablet
	case phone || system == "HarmonyOS" || system == "iOS":
		a.device = mobile
	case system != "":
		a.device = desktop
	}
	return a
}

// major returns the whole number at the beginning of s, at most 65,535.
func major(s string) uint16 {
	n := 0
	for i := 0; i < len(s) && s[i]-'0' < 10; i++ {
		n = min(n*10+int(s[i]-'0'), 1<<16-1)
	}
	return uint16(n)
}

// agentMemo remembers what user agents were read as, by their hash: there are few, and reading one takes 1 µs.
type agentMemo struct {
	hash uint64 // 0: none
	agent
}

// agent returns what the event's user agent says.
func (f *Frame) agent() agent {
	s := f.Event.UserAgent
	if s == "" {
		return agent{}
	}
	if f.scene.read {
		return f.scene.agent
	}
	if f.agents == nil {
		f.agents = make([]agentMemo, memoSize)
	}
	h := f.hash(agentPlace, s) | 1
	m := &f.agents[h>>1%memoSize]
	if m.hash != h {
		m.hash, m.agent = h, parseAgent(s)
	}
	f.scene.agent, f.scene.read = m.agent, true
	return m.agent
}

func agentVariables() map[string]*variable {
	str := func(doc string, f strFn) *variable { return &variable{typ: cel.StringType, str: f, doc: doc} }
	return map[string]*variable{
		"ua.browser": str("browser or program in the user agent: Chrome, WeChat, curl, …, or empty", func(f *Frame) string { return browserMarks[f.agent().browser].name }),
		"ua.version": {typ: cel.DoubleType, num: func(f *Frame) float64 { return float64(f.agent().version) }, doc: "major version of the browser, or 0"},
		"ua.os":      str("operating system in the user agent: Windows, Android, iOS, macOS, HarmonyOS, ChromeOS, Linux, Unix, or empty", func(f *Frame) string { return systemMarks[f.agent().system].name }),
		"ua.device":  str("class of device in the user agent: desktop, mobile, tablet, program, or empty", func(f *Frame) string { return deviceNames[f.agent().device] }),
		"ua.bot":     {typ: cel.BoolType, bool: func(f *Frame) bool { return f.agent().bot }, doc: "the user agent says that it is a program: a crawler, a library, a browser without a window"},
	}
}
