package world

import (
	"math/rand/v2"
	"strconv"

	"github.com/moat-platform/moat"
)

// country is where partners sit: its clock and the networks of its homes, offices, phones and
// clouds, by the first two or three numbers of an address. The summer time is left out: a clock
// that jumps would only blur the rhythm that everybody is compared with.
type country struct {
	code, timezone, language string
	zone                     moat.Time
	home, office, mobile     []string
	cloud                    []string
}

// britain is where most partners are; its cloud stands for the regions that they rent.
var britain = &country{"GB", "Europe/London", "en-GB", 0,
	[]string{"82.30", "90.196", "31.48", "94.12", "78.144", "87.81", "80.0", "86.128"}, []string{"81.138", "195.171", "62.31", "217.33", "213.120"},
	[]string{"92.40", "188.28", "94.197"}, []string{"3.8", "18.130", "35.176", "51.140", "20.26", "178.62"}}

// abroad are the countries of cross-border partners.
var abroad = []*country{
	{"CN", "Asia/Shanghai", "zh-CN", 8 * moat.Hour, []string{"58.33", "116.226", "180.164", "114.86", "112.65", "123.114"}, []string{"101.226", "116.226", "180.164"},
		[]string{"117.136", "39.144", "223.104"}, []string{"47.100", "39.104", "120.27", "118.25", "49.233", "81.70"}},
	{"DE", "Europe/Berlin", "de-DE", moat.Hour, []string{"79.200", "91.10", "84.130", "93.200", "88.70"}, []string{"62.153", "84.130"}, []string{"176.2", "176.4"},
		[]string{"78.46", "116.203", "3.120", "18.192"}},
	{"US", "America/New_York", "en-US", -5 * moat.Hour, []string{"73.5", "24.5", "71.163", "108.5"}, []string{"12.20", "50.200"}, []string{"172.58", "174.200"},
		[]string{"3.80", "54.160", "52.10"}},
	{"JP", "Asia/Tokyo", "ja-JP", 9 * moat.Hour, []string{"126.10", "153.130", "220.100", "110.160"}, []string{"210.150", "153.130"}, []string{"1.66", "126.10"}, []string{"54.64", "13.112"}},
	{"IN", "Asia/Kolkata", "en-IN", 5*moat.Hour + 30*moat.Minute, []string{"49.36", "106.200", "117.195"}, []string{"122.170"}, []string{"49.36", "106.200"}, []string{"13.126", "13.112"}},
	{"AU", "Australia/Sydney", "en-AU", 10 * moat.Hour, []string{"101.165", "49.180"}, []string{"203.45"}, []string{"1.125", "1.145"}, []string{"13.236"}},
	{"PL", "Europe/Warsaw", "pl-PL", moat.Hour, []string{"83.8", "79.185"}, []string{"83.8"}, []string{"31.0"}, []string{"51.15", "3.120"}},
	{"FR", "Europe/Paris", "fr-FR", moat.Hour, []string{"90.5", "82.64", "86.200"}, []string{"90.5"}, []string{"92.90"}, []string{"51.15", "15.188"}},
	{"ES", "Europe/Madrid", "es-ES", moat.Hour, []string{"83.35", "88.5"}, []string{"83.35"}, []string{"88.5"}, []string{"51.15"}},
	{"IE", "Europe/Dublin", "en-IE", 0, []string{"86.45", "89.100"}, []string{"86.45"}, []string{"89.100"}, []string{"34.240", "52.210"}},
}

// tunnels are networks of data centres that sell VPNs, also to honest people.
var tunnels = []string{"212.102.40", "84.17.50", "89.187.160", "45.87.213", "45.87.212"}

// crawls are networks from which the internet is scanned.
var crawls = []string{"80.82.77", "89.248.165", "92.118.39", "193.32.162", "185.244.25"}

// address completes the first numbers of an address.
func address(r *rand.Rand, nets []string) string {
	b := append(make([]byte, 0, 15), pick(r, nets)...)
	for dots := 0; ; {
		dots = 0
		for _, c := range b {
			if c == '.' {
				dots++
			}
		}
		if dots == 3 {
			return string(b)
		}
		b = strconv.AppendInt(append(b, '.'), int64(2+r.IntN(250)), 10)
	}
}

// phone returns an address of a mobile carrier: many customers leave by few of them.
func (c *country) phone(r *rand.Rand) string {
	return pick(r, c.mobile) + "." + strconv.Itoa(1+r.IntN(6)) + "." + strconv.Itoa(2+r.IntN(60))
}

// browser is a kind of program that people work with; version stands for %.
type browser struct {
	before, after string
	first         int // version on the first day
	weeks         int // between versions
	weight        float64
	phone         bool
}

const webkit = "AppleWebKit/537.36 (KHTML, like Gecko) "

var browsers = []browser{
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/", ".0.0.0 Safari/537.36", 139, 4, 50, false},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64) " + webkit + "Chrome/139.0.0.0 Safari/537.36 Edg/", ".0.0.0", 139, 4, 16, false},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) " + webkit + "Chrome/", ".0.0.0 Safari/537.36", 139, 4, 9, false},
	{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.", " Safari/605.1.15", 3, 7, 6, false},
	{"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/", ".0", 140, 4, 8, false},
	{"Mozilla/5.0 (X11; Linux x86_64) " + webkit + "Chrome/", ".0.0.0 Safari/537.36", 138, 4, 3, false},
	{"Mozilla/5.0 (Windows NT 6.1; Win64; x64) " + webkit + "Chrome/", ".0.0.0 Safari/537.36", 109, 1000, 3, false}, // the last for that system
	{"Mozilla/5.0 (Linux; Android 13; TC26) " + webkit + "Chrome/", ".0.0.0 Mobile Safari/537.36", 137, 5, 6, true},
	{"Mozilla/5.0 (Linux; Android 14; K) " + webkit + "Chrome/", ".0.0.0 Mobile Safari/537.36", 139, 4, 9, true},
	{"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.", " Mobile/15E148 Safari/604.1", 3, 7, 5, true},
}

// anyBrowser returns one as they are in use, at a desk or on the way.
func anyBrowser(r *rand.Rand, phone bool) *browser {
	weights := make([]float64, len(browsers))
	for i := range browsers {
		if browsers[i].phone == phone {
			weights[i] = browsers[i].weight
		}
	}
	return &browsers[weighted(r, weights...)]
}

// agent is the user agent on a day; lag is how many days its owner updates later than the first.
func (b *browser) agent(day, lag int) string {
	return b.before + strconv.Itoa(b.first+max(0, day-lag+21)/(7*b.weeks)) + b.after
}

// libraries are what programs call with.
var libraries = []string{"okhttp/4.12.0", "Java/17.0.11", "python-requests/2.32.3", "Go-http-client/2.0", "GuzzleHttp/7", "axios/1.7.9", "Apache-HttpClient/5.3 (Java/17.0.9)", "node-fetch/3.3.2"}
