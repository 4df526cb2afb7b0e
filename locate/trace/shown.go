package trace

import (
	"slices"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/store/run"
)

// Shown tells how much of an order an act brought to light, from 0 to 1: what a thief could have
// used. It is 1 for a phone number, an address or an identity, less for names and goods, a tenth
// of that if the fields stayed encrypted or masked, and 0 for acts that failed or show nothing.
// Where an act does not say what it showed, handing data out counts more than looking at it.
func Shown(a *run.Act) float64 {
	if a.Outcome != moat.Success {
		return 0
	}
	w := 0.0
	switch a.Type {
	case moat.OrderServed, moat.OrderTransmit, moat.DataDecrypt:
		w = 0.8
	case moat.OrderAccess:
		w = 0.5
		switch a.Operation {
		case "export", "export_list", "download", "decrypt", "send", "api_pull", "print", "print_list":
			w = 0.8
		case "delete":
			w = 0
		}
	case moat.DBQuery, moat.APICall, moat.HTTPRequest:
		w = 0.5
	default:
		return 0
	}
	if len(a.Fields) > 0 && w > 0 {
		w = 0.15
		for _, f := range a.Fields {
			switch f {
			case "phone", "address", "id_card", "email", "payment":
				w = 1
			case "name":
				w = max(w, 0.3)
			}
		}
	}
	if a.Encrypted && !slices.Contains([]string{"decrypt"}, a.Operation) {
		w *= 0.1
	}
	return w
}
