package api

// Route is what tests may know of a route.
type Route struct {
	Method, Path  string
	Open          bool // no credentials are needed
	Operator, App bool // the operator's alone; an app's key will do
	Body          int64
}

// Routes lists the routes, with paths as the document writes them.
func Routes() []Route {
	var list []Route
	for _, rt := range routes() {
		events := rt.path == "/v1/events" // asks for credentials by itself
		list = append(list, Route{rt.method, documentPath(rt.path), rt.access == anyone && !events, rt.access == operator, rt.access == sender || events, rt.body})
	}
	return list
}
