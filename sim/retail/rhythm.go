package retail

import "github.com/moat-platform/moat"

// Rhythm returns how many of the real orders came in each hour of each day of the week, Monday
// first: what a shop's week looks like. The shop was closed on Saturdays.
func Rhythm() (week [7][24]int, err error) {
	const monday = 4 * moat.Day // of 1970
	list, err := readOrders(monday, MaxDays)
	for _, o := range list {
		week[(o.at-monday)/moat.Day%7][o.at%moat.Day/moat.Hour]++
	}
	return week, err
}
