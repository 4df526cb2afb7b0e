package world

import (
	"testing"

	"github.com/moat-platform/moat"
)

// shape is what a campaign looked like over some worlds, by manner.
type shape struct {
	thefts, acts int
	taken        float64 // orders and rows
	types        map[moat.EventType]int
}

// TestManners lets every campaign happen alone, often enough for both manners, and compares them: who is careful mostly takes
// less. Each act is in the stream, of a type that belongs to the campaign.
func TestManners(t *testing.T) {
	want := map[string][]moat.EventType{
		"bribed clerk": {moat.OrderAccess}, "bribed clerk, at once": {moat.OrderAccess}, "hired to steal": {moat.OrderAccess}, "departing employee": {moat.OrderAccess},
		"collusion": {moat.OrderAccess, moat.AuthLogin}, "takeover and export": {moat.AuthLogin, moat.OrderAccess}, "takeover with recovery": {moat.AuthLogin, moat.AccountChange, moat.OrderAccess},
		"session theft": {moat.OrderAccess}, "MFA fatigue": {moat.AuthLogin, moat.AuthChallenge, moat.OrderAccess}, "credential stuffing": {moat.AuthLogin, moat.OrderAccess},
		"password spraying": {moat.AuthLogin, moat.OrderAccess}, "screen scraping": {moat.OrderAccess, moat.ClientSignal}, "foreign objects": {moat.OrderAccess}, "id enumeration": {moat.OrderAccess},
		"whole shop by API": {moat.APICall}, "stolen app key": {moat.APICall, moat.DataDecrypt}, "over-granted scope": {moat.APICall, moat.AccountChange}, "changed webhook": {moat.AccountChange, moat.OrderTransmit},
		"rogue destination": {moat.OrderTransmit}, "server break-in": {moat.HTTPRequest, moat.HostFile, moat.HostProcess, moat.DBQuery, moat.HostNetwork}, "SQL injection": {moat.HTTPRequest, moat.DBQuery},
		"service account by hand": {moat.DBQuery}, "outlet leak": {moat.OrderAccess, moat.DataDecrypt}, "Trojan at the packing table": {moat.OrderAccess}, "low and slow": {moat.AuthLogin, moat.OrderAccess},
		"suppressed telemetry": {moat.APICall}, "fabricated telemetry": {moat.APICall, moat.OrderAccess},
	}
	list := Campaigns()
	got := map[[2]string]*shape{}
	for seed := range uint64(2) {
		w := world(t, Config{Seed: seed, Partners: 30, Days: 17, Thefts: 6 * len(list)})
		seen := map[string]moat.EventType{}
		for day, ok := w.Next(); ok; day, ok = w.Next() {
			for _, e := range day {
				seen[e.Partner+" "+e.ID] = e.Type
			}
		}
		for _, x := range w.Thefts() {
			k := [2]string{x.Name, x.Variant}
			s := got[k]
			if s == nil {
				s = &shape{types: map[moat.EventType]int{}}
				got[k] = s
			}
			s.thefts++
			for _, a := range x.Acts {
				typ := moat.NoType
				for _, p := range append([]string{x.Partner}, x.Elsewhere...) {
					typ = max(typ, seen[p+" "+a.Event])
				}
				if typ == moat.NoType {
					t.Fatalf("%s: act %s is not in the stream", x.Name, a.Event)
				}
				s.acts++
				s.types[typ]++
				s.taken += float64(len(a.Orders)) + float64(a.Rows)
			}
		}
	}
	less := 0
	for _, c := range list {
		plain, careful := got[[2]string{c.Name, ""}], got[[2]string{c.Name, "careful"}]
		if plain == nil || careful == nil {
			t.Errorf("%s: plain %v, careful %v", c.Name, plain, careful)
			continue
		}
		for _, typ := range want[c.Name] {
			if plain.types[typ]+careful.types[typ] == 0 && (typ != moat.ClientSignal && typ != moat.AuthLogin || c.Name != "screen scraping" && c.Name != "collusion") {
				t.Errorf("%s: no act is a %s", c.Name, typ)
			}
		}
		a, b := plain.taken/float64(plain.thefts), careful.taken/float64(careful.thefts)
		t.Logf("%-28s plain %2d: %5d acts, %7.0f taken each; careful %2d: %5d acts, %7.0f taken each", c.Name, plain.thefts, plain.acts, a, careful.thefts, careful.acts, b)
		if len(want[c.Name]) == 0 {
			t.Errorf("%s: nobody says what its acts are", c.Name)
		}
		if b < a {
			less++
		}
		if b > 1.5*a { // their victims differ
			t.Errorf("%s: a careful thief takes %.0f, another one %.0f", c.Name, b, a)
		}
	}
	if less*5 < len(list)*4 {
		t.Errorf("in %d of %d campaigns who is careful takes less", less, len(list))
	}
}
