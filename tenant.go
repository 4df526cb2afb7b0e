package moat

import "strings"

// Tenant says whose data a call may see: one partner's, or everyone's for the
// operator. The zero value sees nothing. Every query of kept data takes one.
type Tenant struct {
	partner string
	all     bool
}

// Only is the tenant that sees one partner's data.
func Only(partner string) Tenant { return Tenant{partner: partner} }

// Everyone is the operator's tenant.
func Everyone() Tenant { return Tenant{all: true} }

// Sees tells whether data of that partner may be shown.
func (t Tenant) Sees(partner string) bool { return t.all || t.partner != "" && t.partner == partner }

// veil begins the names of [Veiled].
const veil = "*"

// Veiled is the name under which is kept what concerns a partner and only the operator may see: what became of the canaries that the operator
// planted there. No sender may use such a name, so no other tenant sees what is kept under it.
func Veiled(partner string) string { return veil + partner }

// Unveiled returns the partner that a name means, and whether it is one of [Veiled].
func Unveiled(name string) (partner string, veiled bool) {
	if rest, ok := strings.CutPrefix(name, veil); ok && rest != "" {
		return rest, true
	}
	return name, false
}

// Partner returns the one partner, or "" and false for the operator.
func (t Tenant) Partner() (string, bool) { return t.partner, !t.all }
