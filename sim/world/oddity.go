package world

// oddity is something honest that looks odd.
type oddity uint8

// The oddities. In a world of the default size hardly one of them does not happen.
const (
	bulkJob        oddity = iota // a reconciliation job reads and fetches thousands of orders at night
	monthEnd                     // the accountant exports a month
	weeklyExport                 // and a week
	travel                       // somebody works from another country for some days
	tunnelled                    // somebody works through a VPN
	kiosk                        // people share a device
	newHire                      // an account works for the first time
	leaver                       // an account is closed
	roleChange                   // an account gets another role
	passwordReset                // a password is forgotten, tried, and set anew
	wrongClock                   // a partner's clock is wrong
	retry                        // an event is sent twice
	lateBatch                    // events arrive hours later
	missingFields                // events lack what they could have
	constantDevice               // every event has the same device id
	privateAddress               // the app sees the address of its own proxy
	deployment                   // a new version, sometimes on another server
	nightDump                    // an administrator or a job makes a backup with a dump tool
	coveredShift                 // somebody works for a colleague who is ill
	movedOffice                  // everybody has a new address
	natChange                    // the provider gives an office another address
	mistyped                     // a login fails before it succeeds
	newDestination               // orders go to a system that is new
	scan                         // somebody on the internet tries the doors
	saleDay                      // ten to thirty times the orders
	newDevice                    // a laptop is replaced
	overtime                     // somebody works at night
	holiday                      // somebody comes back after weeks
	benignMalware                // a scanner takes something harmless for malware
	adHocQuery                   // a developer reads a table by hand
	erasure                      // old orders are deleted by rule
	largeCustomer                // a clerk goes through all orders of one buyer
	sharedPassword               // two people use one account
	lostParcels                  // a manager goes through the orders of an outlet one after another
	clientPlugin                 // a browser plug-in changes the page
	keyRotation                  // an app's key is replaced
	screenMacro                  // a macro turns the pages of order lists
	newScope                     // an app is granted more, and calls what it never called
	movedEndpoint                // a system that takes orders in gets another address
	serviceByHand                // a developer uses the app's own database account
	outage                       // a partner reports nothing for hours, and sends it later or never
	oddities
)

var oddityNames = [oddities]string{"bulk job", "month-end export", "weekly export", "travel", "VPN", "kiosk", "new hire", "leaver", "role change", "password reset", "wrong clock",
	"retry", "late batch", "missing fields", "constant device", "private address", "deployment", "night dump", "covered shift", "moved office", "NAT change", "mistyped password",
	"new destination", "internet scan", "sale day", "new device", "overtime", "holiday", "benign malware", "ad-hoc query", "erasure", "large customer", "shared password",
	"lost parcels", "client plug-in", "key rotation", "screen macro", "new scope", "moved endpoint", "service account by hand", "reporting outage"}

// String names the oddity.
func (o oddity) String() string { return oddityNames[o] }

// note says that an oddity happened.
func (w *World) note(o oddity) { w.odd[o]++ }
