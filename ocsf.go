package moat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/bits"
	"path"
	"strings"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that
// [OCSF] and [OCSFFinding] write.
const OCSFVersion = "1.8.0"

// Classes of OCSF. The category is the class / 1000.
const (
	ocsfFile           = 1001
	ocsfProcess        = 1007
	ocsfDetection      = 2004
	ocsfIncident       = 2005
	ocsfDataSecurity   = 2006
	ocsfAccountChange  = 3001
	ocsfAuthentication = 3002
	ocsfNetwork        = 4001
	ocsfHTTP           = 4002
	ocsfInventory      = 5001
	ocsfWebResources   = 6001
	ocsfLifecycle      = 6002
	ocsfAPI            = 6003
	ocsfDatastore      = 6005
)

// ocsfOther is the activity that OCSF has no number for; its name goes along.
const ocsfOther = 99

// Severities of OCSF.
const (
	ocsfInformational = 1 + iota
	ocsfLow
	ocsfMedium
	ocsfHigh
	ocsfCritical
)

// object is a JSON object under construction. put leaves out what says nothing.
type object map[string]any

func (o object) put(name string, v any) {
	switch v := v.(type) {
	case string:
		if v == "" {
			return
		}
	case int64:
		if v == 0 {
			return
		}
	case object:
		if len(v) == 0 {
			return
		}
	case []object:
		if len(v) == 0 {
			return
		}
	}
	o[name] = v
}

// OCSF returns e as an event of OCSF in JSON. What the class of its type has no
// place for is in unmapped, under the names of the contract. It returns an error
// for an event without a type or with an Extra that is not JSON.
func OCSF(e *Event) ([]byte, error) { return AppendOCSF(nil, e) }

// AppendOCSF appends what [OCSF] returns.
func AppendOCSF(dst []byte, e *Event) ([]byte, error) {
	if e.Type == NoType || e.Type >= EventTypes {
		return dst, fmt.Errorf("cannot map event %s to OCSF: it has no known type", quote(e.ID))
	}
	m := &ocsfMapper{e: e, left: e.has, out: object{}}
	m.envelope()
	ocsfMappings[e.Type](m)
	m.rest()
	return appendObject(dst, m.out)
}

func appendObject(dst []byte, o object) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(o); err != nil {
		return dst, fmt.Errorf("cannot write OCSF: %w", err)
	}
	return append(dst, bytes.TrimSuffix(b.Bytes(), []byte("\n"))...), nil
}

// ocsfMapper maps one event. Taking a field crosses it off; what is left is unmapped.
type ocsfMapper struct {
	e    *Event
	left [2]uint64
	out  object
}

var ocsfMappings = [EventTypes]func(*ocsfMapper){
	AuthLogin:     func(m *ocsfMapper) { m.authentication(1) },
	AuthLogout:    func(m *ocsfMapper) { m.authentication(2) },
	AuthChallenge: func(m *ocsfMapper) { m.authentication(ocsfOther); m.out["activity_name"] = "Challenge" },
	HostLogin:     func(m *ocsfMapper) { m.authentication(1) },
	AccountChange: (*ocsfMapper).accountChange,
	OrderAccess:   (*ocsfMapper).orderAccess,
	OrderTransmit: (*ocsfMapper).orderTransmit,
	OrderServed:   (*ocsfMapper).orderServed,
	DataDecrypt:   func(m *ocsfMapper) { m.datastore(10); m.orderTable() },
	DataDelete:    func(m *ocsfMapper) { m.datastore(7); m.orderTable() },
	DBQuery:       (*ocsfMapper).dbQuery,
	APICall:       (*ocsfMapper).apiCall,
	HTTPRequest:   (*ocsfMapper).httpRequest,
	HostProcess:   (*ocsfMapper).hostProcess,
	HostFile:      (*ocsfMapper).hostFile,
	HostNetwork:   (*ocsfMapper).hostNetwork,
	HostMalware:   (*ocsfMapper).hostMalware,
	ClientSignal:  (*ocsfMapper).clientSignal,
	Complaint:     (*ocsfMapper).complaint,
	CanaryTouch:   (*ocsfMapper).canaryTouch,
	Heartbeat:     (*ocsfMapper).heartbeat,
	Sighting:      (*ocsfMapper).sighting,
}

func (m *ocsfMapper) take(f FieldID) { m.left[f>>6] &^= 1 << (f & 63) }

func (m *ocsfMapper) text(f FieldID) string { m.take(f); return Fields[f].Text(m.e) }

func (m *ocsfMapper) number(f FieldID) int64 { m.take(f); return Fields[f].Number(m.e) }

// class sets class and activity.
func (m *ocsfMapper) class(class, activity int) { putClass(m.out, class, activity) }

// classBy sets class and activity by what f says; activities holds what OCSF has a number for.
func (m *ocsfMapper) classBy(class int, activities map[string]int, f FieldID) {
	if activity, known := activities[Fields[f].Text(m.e)]; known {
		m.class(class, activity)
		return
	}
	m.class(class, ocsfOther)
	m.out["activity_name"] = m.text(f)
}

func putClass(o object, class, activity int) {
	o["class_uid"], o["category_uid"] = class, class/1000
	o["activity_id"], o["type_uid"] = activity, class*100+activity
}

// envelope sets what events of all classes have.
func (m *ocsfMapper) envelope() {
	m.take(FieldType)
	m.take(FieldOutcome)
	m.take(FieldPartner)
	o := m.out
	o["time"] = m.number(FieldTime) / int64(Millisecond)
	o["severity_id"] = ocsfInformational
	switch m.e.Outcome {
	case Success:
		o["status_id"] = 1
	case Challenged:
		o["status_id"] = ocsfOther
	default:
		o["status_id"] = 2
	}
	o.put("status", m.e.Outcome.String())
	o.put("status_detail", m.text(FieldReason))
	o.put("duration", m.number(FieldDurationMS))
	meta := ocsfMetadata(m.text(FieldEventID), m.e.Partner)
	meta.put("event_code", m.e.Type.String())
	meta.put("logged_time", int64(m.e.Received/Millisecond))
	o["metadata"] = meta
}

func ocsfMetadata(id, partner string) object {
	meta := object{"version": OCSFVersion, "product": object{"name": "Moat", "vendor_name": "Moat"}}
	meta.put("uid", id)
	meta.put("tenant_uid", partner)
	return meta
}

// user returns the actor as a user.
func (m *ocsfMapper) user() object {
	id := m.text(FieldActor)
	kind := map[ActorKind]int{ActorUser: 1, ActorAdmin: 2, ActorSystem: 3, ActorService: 4}[m.e.ActorKind]
	m.take(FieldActorKind)
	if id == "" {
		return object{"uid": "unknown", "type_id": 0}
	}
	return object{"uid": id, "type_id": kind}
}

// actor sets the actor, which must be there even if nobody is known.
func (m *ocsfMapper) actor() object {
	a := object{}
	a.put("app_uid", m.text(FieldApp))
	if m.e.Actor != "" || len(a) == 0 {
		a.put("user", m.user())
	}
	if s := m.text(FieldSession); s != "" {
		a.put("session", object{"uid": s})
	}
	m.out["actor"] = a
	return a
}

// source sets where the actor was, which must be there even if it is not known.
func (m *ocsfMapper) source() {
	s := object{}
	s.put("ip", m.text(FieldIP))
	s.put("uid", m.text(FieldDevice))
	if len(s) == 0 {
		s["name"] = "unknown"
	}
	m.out["src_endpoint"] = s
}

// server sets the host that served.
func (m *ocsfMapper) server() {
	if h := m.text(FieldHost); h != "" {
		m.out.put("dst_endpoint", object{"hostname": h})
	}
}

// request sets the HTTP request that brought the act.
func (m *ocsfMapper) request() object {
	r := object{}
	r.put("user_agent", m.text(FieldUserAgent))
	if u := m.text(FieldURL); u != "" {
		r.put("url", object{"url_string": u})
	}
	m.out.put("http_request", r)
	return r
}

// device sets the server as the device; around a class that has none by itself it needs the host profile.
func (m *ocsfMapper) device() {
	if h := m.text(FieldHost); h != "" {
		m.out["device"] = object{"hostname": h, "type_id": 1}
	}
}

func (m *ocsfMapper) hostProfile() {
	m.out["metadata"].(object)["profiles"] = []string{"host"}
}

// orders returns the orders touched as resources.
func (m *ocsfMapper) orders() []object {
	m.take(FieldOrders)
	list := make([]object, 0, len(m.e.Orders)+1)
	for _, id := range m.e.Orders {
		list = append(list, object{"type": "order", "uid": id})
	}
	if len(list) == 0 {
		list = append(list, object{"type": "order", "name": "orders"})
	}
	return list
}

// rest puts what no attribute took under unmapped.
func (m *ocsfMapper) rest() {
	u := object{}
	for w, left := range m.left {
		for ; left != 0; left &= left - 1 {
			f := &Fields[w<<6+bits.TrailingZeros64(left)]
			if b := f.appendJSON(nil, m.e); len(b) > 0 {
				u[f.Name] = json.RawMessage(b)
			}
		}
	}
	m.out.put("unmapped", u)
}

func (m *ocsfMapper) authentication(activity int) {
	m.class(ocsfAuthentication, activity)
	o := m.out
	o["user"] = m.user()
	m.actor()
	m.source()
	m.server()
	m.request()
	if method := m.text(FieldMethod); method != "" {
		o["auth_protocol"], o["auth_protocol_id"] = method, ocsfOther
	}
	if m.e.Has(FieldMFA) {
		m.take(FieldMFA)
		o["is_mfa"] = m.e.MFA
	}
	service := m.text(FieldService)
	if service == "" {
		service = m.e.App
	}
	if service == "" && m.e.Host == "" {
		service = "unknown"
	}
	if service != "" {
		o["service"] = object{"name": service}
	}
}

func (m *ocsfMapper) accountChange() {
	m.classBy(ocsfAccountChange, map[string]int{"password": 3, "sub_account": 1}, FieldChange)
	m.actor()
	m.source()
	m.request()
	m.out["user"] = object{"uid": m.text(FieldObject), "type_id": 0}
}

func (m *ocsfMapper) orderAccess() {
	m.classBy(ocsfWebResources, map[string]int{"view": 2, "view_list": 2, "api_pull": 2, "decrypt": 2, "modify": 3, "delete": 4, "search": 5,
		"print": 7, "print_list": 7, "export": 7, "export_list": 7, "download": 7, "send": 8}, FieldOperation)
	m.actor()
	m.source()
	m.server()
	m.request()
	m.out["web_resources"] = m.orders()
}

func (m *ocsfMapper) orderTransmit() {
	m.class(ocsfWebResources, 8)
	m.actor()
	m.source()
	m.request()
	m.out["dst_endpoint"] = object{"name": m.text(FieldDestination)}
	m.out["web_resources"] = m.orders()
}

func (m *ocsfMapper) orderServed() {
	m.class(ocsfAPI, 2)
	m.actor()
	m.source()
	m.server()
	m.request()
	operation := m.text(FieldMethod)
	if operation == "" {
		operation = m.e.Type.String()
	}
	m.out["api"] = object{"operation": operation}
	m.out["resources"] = m.orders()
}

// datastore sets the common part of acts on stored data.
func (m *ocsfMapper) datastore(activity int) object {
	m.class(ocsfDatastore, activity)
	a := m.actor()
	m.source()
	m.server()
	m.request()
	return a
}

// orderTable is for acts on the orders of a system whose tables are not known.
func (m *ocsfMapper) orderTable() {
	m.out["type_id"], m.out["table"] = 3, object{"name": "orders"}
}

func (m *ocsfMapper) dbQuery() {
	a := m.datastore(4)
	a.put("app_name", m.text(FieldClient))
	db := m.text(FieldDB)
	if db == "" {
		db = "unknown"
	}
	m.out["type_id"], m.out["database"] = 1, object{"name": db, "type_id": 0}
	f := FieldStatement
	if m.e.Statement == "" {
		f = FieldTemplate
	}
	query := object{"name": Fields[f].Name, "query_string": m.text(f)}
	query.put("bytes", m.number(FieldBytes))
	m.out["query_info"] = query
	if len(m.e.Tables) == 1 {
		m.take(FieldTables)
		m.out["table"] = object{"name": m.e.Tables[0]}
	}
}

func (m *ocsfMapper) apiCall() {
	method := m.text(FieldMethod)
	activity := apiActivity(method)
	m.class(ocsfAPI, activity)
	if activity == ocsfOther {
		m.out["activity_name"] = method
	}
	if key := m.text(FieldKeyID); key != "" {
		u := m.user()
		u["credential_uid"] = key
		m.actor()["user"] = u
	} else {
		m.actor()
	}
	m.source()
	m.server()
	m.request()
	api := object{"operation": method}
	if m.e.Has(FieldStatus) {
		api["response"] = object{"code": m.number(FieldStatus)}
	}
	m.out["api"] = api
	m.out.put("duration", m.number(FieldLatencyMS))
	if len(m.e.Orders) > 0 {
		m.out["resources"] = m.orders()
	}
}

// apiActivity tells by the last word of an API method, as in "erp.order.get", what it does.
func apiActivity(method string) int {
	word := strings.ToLower(method[strings.LastIndexAny(method, "./_:")+1:])
	for _, verb := range []struct {
		prefix   string
		activity int
	}{
		{"create", 1}, {"add", 1}, {"insert", 1},
		{"get", 2}, {"query", 2}, {"list", 2}, {"search", 2}, {"read", 2}, {"pull", 2}, {"export", 2}, {"decrypt", 2},
		{"update", 3}, {"modify", 3}, {"edit", 3},
		{"delete", 4}, {"remove", 4},
	} {
		if strings.HasPrefix(word, verb.prefix) {
			return verb.activity
		}
	}
	return ocsfOther
}

func (m *ocsfMapper) httpRequest() {
	method := strings.ToUpper(m.text(FieldMethod))
	activity, known := map[string]int{"CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8, "PATCH": 9}[method]
	if !known {
		activity = ocsfOther
		m.out["activity_name"] = method
	}
	m.class(ocsfHTTP, activity)
	m.source()
	m.server()
	if m.e.Actor != "" || m.e.App != "" {
		m.actor()
		m.hostProfile()
	}
	r := m.request()
	url := object{"path": m.text(FieldPath)}
	url.put("url_string", m.e.URL)
	r["url"], r["http_method"] = url, method
	r.put("referrer", m.text(FieldReferer))
	m.out["http_request"] = r
	if m.e.Has(FieldStatus) {
		response := object{"code": m.number(FieldStatus)}
		response.put("latency", m.number(FieldLatencyMS))
		response.put("length", m.number(FieldBytes))
		m.out["http_response"] = response
	}
}

// ocsfFileOf returns the file at name, with its hash if there is one.
func ocsfFileOf(name, hash string) object {
	file := object{"path": name, "name": path.Base(strings.ReplaceAll(name, `\`, "/")), "type_id": 1}
	if hash != "" {
		algorithm := map[int]int{32: 1, 40: 2, 64: 3, 128: 4}[len(hash)] // MD5, SHA-1, SHA-256, SHA-512 by their digits
		file["hashes"] = []object{{"algorithm_id": algorithm, "value": hash}}
	}
	return file
}

// system sets the host and who acted there.
func (m *ocsfMapper) system() {
	m.device()
	u := m.user()
	if name := m.text(FieldUser); name != "" {
		u.put("name", name)
	}
	m.out["actor"] = object{"user": u}
}

func (m *ocsfMapper) hostProcess() {
	m.class(ocsfProcess, 1)
	m.system()
	file := ocsfFileOf(m.text(FieldExe), m.text(FieldHash))
	p := object{"name": file["name"], "file": file}
	if m.e.Has(FieldPID) {
		p["pid"] = m.number(FieldPID)
	} else {
		p["uid"] = file["path"] // a process must have one or the other
	}
	p.put("cmd_line", m.text(FieldArgs))
	if parent := m.text(FieldParent); parent != "" {
		f := ocsfFileOf(parent, "")
		p["parent_process"] = object{"uid": parent, "name": f["name"], "file": f}
	}
	m.out["process"] = p
}

func (m *ocsfMapper) hostFile() {
	m.classBy(ocsfFile, map[string]int{"create": 1, "view": 2, "read": 2, "modify": 3, "update": 3, "change": 3, "delete": 4, "remove": 4, "rename": 5}, FieldOperation)
	m.system()
	m.out["file"] = ocsfFileOf(m.text(FieldPath), m.text(FieldHash))
}

func (m *ocsfMapper) hostNetwork() {
	m.class(ocsfNetwork, 1)
	here := object{"hostname": m.text(FieldHost)}
	there := object{"name": m.text(FieldPeer)}
	port := m.number(FieldPort)
	direction := m.text(FieldDirection)
	info := object{"direction_id": 0}
	if direction == "in" {
		info = object{"direction_id": 1, "direction": "Inbound"}
		here.put("port", port)
		m.out["src_endpoint"], m.out["dst_endpoint"] = there, here
	} else {
		if direction == "out" {
			info = object{"direction_id": 2, "direction": "Outbound"}
		}
		there.put("port", port)
		m.out["src_endpoint"], m.out["dst_endpoint"] = here, there
	}
	m.out["connection_info"] = info
	if m.e.Has(FieldBytes) {
		m.out["traffic"] = object{"bytes": m.number(FieldBytes)}
	}
}

// finding makes a finding of an event that is one already.
func (m *ocsfMapper) finding(class, severity int, title string) object {
	m.class(class, 1)
	m.out["severity_id"] = severity
	m.out["status_id"], m.out["status"] = 1, "New"
	id := m.e.ID
	if id == "" {
		id = stableID("e", string(AppendJSON(nil, m.e)))
	}
	return object{"uid": id, "title": title}
}

func (m *ocsfMapper) hostMalware() {
	name := m.text(FieldName)
	m.out["finding_info"] = m.finding(ocsfDetection, ocsfHigh, "Malware "+name)
	m.out["is_alert"] = true
	m.device()
	file := ocsfFileOf(m.text(FieldPath), m.text(FieldHash))
	m.out["malware"] = []object{{"name": name, "path": m.e.Path, "classification_ids": []int{0}, "files": []object{file}}}
}

func (m *ocsfMapper) clientSignal() {
	m.class(ocsfInventory, 2)
	d := object{"uid": m.text(FieldDevice), "type_id": 0}
	d.put("ip", m.text(FieldIP))
	m.out["device"] = d
	if m.e.Actor != "" || m.e.App != "" {
		m.actor()
	}
}

func (m *ocsfMapper) complaint() {
	kind := m.text(FieldComplaintKind)
	title := "Customer complaint"
	if kind != "" {
		title += ": " + kind
	}
	m.out["finding_info_list"] = []object{m.finding(ocsfIncident, ocsfMedium, title)}
	m.out["desc"] = title
	m.out["is_suspected_breach"] = true
	m.out["assignee_group"] = object{"name": "unassigned"}
	m.out.put("start_time", m.number(FieldContactedAt)/int64(Millisecond))
}

func (m *ocsfMapper) canaryTouch() {
	m.out["finding_info"] = m.finding(ocsfDetection, ocsfHigh, "Canary touched")
	m.out["is_alert"] = true
	var touched []object
	if token := m.text(FieldToken); token != "" {
		touched = append(touched, object{"type": "canary", "uid": token})
	}
	if len(m.e.Orders) > 0 {
		touched = append(touched, m.orders()...)
	}
	m.out.put("resources", touched)
}

func (m *ocsfMapper) heartbeat() {
	m.class(ocsfLifecycle, ocsfOther)
	m.out["activity_name"] = "Heartbeat"
	name := m.text(FieldApp)
	if name == "" {
		name = m.e.Host
	}
	app := object{"name": name}
	app.put("version", m.text(FieldVersion))
	m.out["app"] = app
	if m.e.Host != "" {
		m.device()
		m.hostProfile()
	}
}

func (m *ocsfMapper) sighting() {
	m.class(ocsfLifecycle, ocsfOther)
	m.out["activity_name"] = "Sighting"
	m.out["app"] = object{"name": "Moat"}
}

// OCSFFinding returns f as a Data Security Finding of OCSF in JSON. Its severity
// is low, medium from a score of 0.5 and high from 0.8; when the data has left
// the partner's systems, one step higher.
func OCSFFinding(f *Finding) ([]byte, error) {
	o := object{"time": int64(f.Time / Millisecond), "status_id": 1, "status": "New", "message": f.Reason, "is_alert": f.Mode == Enforce}
	putClass(o, ocsfDataSecurity, 1)
	o["metadata"] = ocsfMetadata(f.ID, f.Partner)
	step, state := 0, 2 // data in transit
	if f.Egress {
		step = 1
	} else {
		state = 3 // data in use
	}
	level := ocsfLevel(f.Score)
	o["severity_id"] = ocsfInformational + level + step
	o["confidence_id"], o["confidence_score"] = level, int(f.Score*100+0.5)
	o["data_security"] = object{"category_id": 1, "data_lifecycle_state_id": state}
	o["finding_info"] = ocsfFindingInfo(f)
	resources := make([]object, 0, 1+len(f.Related))
	for _, e := range append([]Entity{f.Entity}, f.Related...) {
		resources = append(resources, object{"type": e.Kind.String(), "uid": e.ID})
		switch e.Kind {
		case Account:
			o["actor"] = object{"user": object{"uid": e.ID}}
		case IP:
			o["src_endpoint"] = object{"ip": e.ID}
		case Device:
			o["device"] = object{"uid": e.ID, "type_id": 0}
		}
	}
	o["resources"] = resources
	evidence := object{}
	for _, e := range f.Evidence {
		evidence[e.Name] = e.Value
	}
	u := object{"orders": f.Orders, "weight": f.Weight, "egress": f.Egress}
	u.put("evidence", evidence)
	o["unmapped"] = u
	return appendObject(nil, o)
}

// ocsfLevel maps a probability to low, medium, high as 1, 2, 3.
func ocsfLevel(score float64) int {
	switch {
	case score >= 0.8:
		return 3
	case score >= 0.5:
		return 2
	}
	return 1
}

func ocsfFindingInfo(f *Finding) object {
	state := 1 // active
	if f.Mode == Shadow {
		state = 3 // experimental
	}
	info := object{
		"uid": f.ID, "title": f.Title, "desc": f.Reason, "types": []string{f.Dimension}, "created_time": int64(f.Time / Millisecond),
		"analytic": object{"uid": f.Detector, "name": f.Detector, "category": f.Family, "type_id": 2, "state_id": state},
	}
	events := make([]object, 0, len(f.Events))
	for _, id := range f.Events {
		events = append(events, object{"uid": id})
	}
	info.put("related_events", events)
	attacks := make([]object, 0, len(f.Attack))
	for _, id := range f.Attack {
		technique, _, sub := strings.Cut(id, ".")
		a := object{"technique": object{"uid": technique}}
		if sub {
			a["sub_technique"] = object{"uid": id}
		}
		attacks = append(attacks, a)
	}
	info.put("attacks", attacks)
	return info
}
