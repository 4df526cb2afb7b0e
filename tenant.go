package moat

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

// Partner returns the one partner, or "" and false for the operator.
func (t Tenant) Partner() (string, bool) { return t.partner, !t.all }
