package moat

import "fmt"

// EntityKind says what sort of thing an [Entity] is.
type EntityKind uint8

// The kinds of entity. Peers is the group of accounts that share a partner
// and a role; it carries the statistics that an account is compared with.
const (
	NoEntity EntityKind = iota
	Account
	App
	Host
	Device
	IP
	Order
	Shop
	Outlet
	Partner
	Peers
	EntityKinds // how many there are, NoEntity included
)

// Destination is the kind of a system that orders, or other data, were sent to; its id is that of [Event.Destination]. It
// stands apart from the other kinds: no statistics are kept of it and nothing is decided about it. Its number is part of the
// keys of diaries.
const Destination EntityKind = 255

var entityNames = [EntityKinds]string{"", "account", "app", "host", "device", "ip", "order", "shop", "outlet", "partner", "peers"}

const destinationName = "destination"

// String returns the kind as it is written in JSON and in rules: "account", "ip", …
func (k EntityKind) String() string {
	switch {
	case k < EntityKinds:
		return entityNames[k]
	case k == Destination:
		return destinationName
	}
	return fmt.Sprintf("entity(%d)", uint8(k))
}

// ParseEntityKind is the inverse of [EntityKind.String].
func ParseEntityKind(s string) (EntityKind, error) {
	for k := NoEntity + 1; k < EntityKinds; k++ {
		if entityNames[k] == s {
			return k, nil
		}
	}
	if s == destinationName {
		return Destination, nil
	}
	return NoEntity, fmt.Errorf("unknown entity kind %.40q: want one of account, app, host, device, ip, order, shop, outlet, partner, peers, destination", s)
}

// MarshalText writes [EntityKind.String].
func (k EntityKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what [ParseEntityKind] reads.
func (k *EntityKind) UnmarshalText(b []byte) (err error) {
	*k, err = ParseEntityKind(string(b))
	return err
}

// Entity is whom or what an event concerns, within one partner.
type Entity struct {
	Kind EntityKind `json:"kind"`
	ID   string     `json:"id"`
}

// String returns "kind:id".
func (e Entity) String() string { return e.Kind.String() + ":" + e.ID }
