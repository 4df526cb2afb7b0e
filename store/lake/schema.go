package lake

import (
	"slices"

	"github.com/moat-platform/moat"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// shape is how the values of a column are held and encoded.
type shape uint8

const (
	shapeNumber shape = iota // INT64, delta-packed
	shapeTime                // INT64 with the timestamp annotation, delta-packed
	shapeBool                // BOOLEAN, plain
	shapeText                // BYTE_ARRAY of UTF-8; dictionary while that pays, else what differs from the value before
	shapeList                // list of text
)

// spec is one column of an event file.
type spec struct {
	name     string
	shape    shape
	field    moat.FieldID // the event's field that it holds, or FieldNone
	required bool         // never null
	plain    bool         // values hardly repeat: no dictionary is tried
}

// The columns, in file order. The order is part of the format: files are read by name and position.
const (
	colSeq = iota
	colRow
	colReceived
	colFlags
	colGiven
	colType
	colActorKind
	colOutcome
	colPartner
	colTime
	colID
	colActor
	colRole
	colApp
	colShops
	colIP
	colDevice
	colUserAgent
	colSession
	colHost
	colOutlet
	colURL
	colOperation
	colReason
	colOrders
	colCount
	colFields
	colEncrypted
	colBytes
	colDestination
	colDestinationKind
	colMethod
	colPath
	colStatus
	colDB
	colTemplate
	colRows
	colKeyID
	colDetail
	columns
)

var specs = [columns]spec{
	colSeq:      {name: "seq", shape: shapeNumber, required: true},
	colRow:      {name: "row", shape: shapeNumber, required: true},
	colReceived: {name: "received", shape: shapeTime, required: true},
	colFlags:    {name: "flags", shape: shapeNumber, required: true},
	colGiven:    {name: "given", shape: shapeNumber, required: true},
	// These four always have a value, so that a query need not think of null;
	// whether the sender gave it is in the column given.
	colType:      {name: "type", shape: shapeText, field: moat.FieldType, required: true},
	colActorKind: {name: "actor_kind", shape: shapeText, field: moat.FieldActorKind, required: true},
	colOutcome:   {name: "outcome", shape: shapeText, field: moat.FieldOutcome, required: true},
	colPartner:   {name: "partner", shape: shapeText, field: moat.FieldPartner, required: true},

	colTime:            {name: "time", shape: shapeTime, field: moat.FieldTime},
	colID:              {name: "id", shape: shapeText, field: moat.FieldEventID, plain: true},
	colActor:           {name: "actor", shape: shapeText, field: moat.FieldActor},
	colRole:            {name: "role", shape: shapeText, field: moat.FieldRole},
	colApp:             {name: "app", shape: shapeText, field: moat.FieldApp},
	colShops:           {name: "shops", shape: shapeList, field: moat.FieldShops},
	colIP:              {name: "ip", shape: shapeText, field: moat.FieldIP},
	colDevice:          {name: "device", shape: shapeText, field: moat.FieldDevice},
	colUserAgent:       {name: "user_agent", shape: shapeText, field: moat.FieldUserAgent},
	colSession:         {name: "session", shape: shapeText, field: moat.FieldSession},
	colHost:            {name: "host", shape: shapeText, field: moat.FieldHost},
	colOutlet:          {name: "outlet", shape: shapeText, field: moat.FieldOutlet},
	colURL:             {name: "url", shape: shapeText, field: moat.FieldURL},
	colOperation:       {name: "operation", shape: shapeText, field: moat.FieldOperation},
	colReason:          {name: "reason", shape: shapeText, field: moat.FieldReason},
	colOrders:          {name: "orders", shape: shapeList, field: moat.FieldOrders, plain: true},
	colCount:           {name: "count", shape: shapeNumber, field: moat.FieldCount},
	colFields:          {name: "fields", shape: shapeList, field: moat.FieldFields},
	colEncrypted:       {name: "encrypted", shape: shapeBool, field: moat.FieldEncrypted},
	colBytes:           {name: "bytes", shape: shapeNumber, field: moat.FieldBytes},
	colDestination:     {name: "destination", shape: shapeText, field: moat.FieldDestination},
	colDestinationKind: {name: "destination_kind", shape: shapeText, field: moat.FieldDestinationKind},
	colMethod:          {name: "method", shape: shapeText, field: moat.FieldMethod},
	colPath:            {name: "path", shape: shapeText, field: moat.FieldPath},
	colStatus:          {name: "status", shape: shapeNumber, field: moat.FieldStatus},
	colDB:              {name: "db", shape: shapeText, field: moat.FieldDB},
	colTemplate:        {name: "template", shape: shapeText, field: moat.FieldTemplate},
	colRows:            {name: "rows", shape: shapeNumber, field: moat.FieldRows},
	colKeyID:           {name: "key_id", shape: shapeText, field: moat.FieldKeyID},
	colDetail:          {name: "detail", shape: shapeText},
}

// The bits of the column given: which of the columns that always have a value
// were given by the sender.
const (
	givenType = 1 << iota
	givenActorKind
	givenOutcome
	givenPartner
)

// detailFields are the fields that have no column and go to detail.
var detailFields = fieldsWithoutColumn()

func fieldsWithoutColumn() (set moat.FieldSet) {
	for id := moat.FieldNone + 1; id < moat.FieldsEnd; id++ {
		if !slices.ContainsFunc(specs[:], func(s spec) bool { return s.field == id }) {
			set.Add(id)
		}
	}
	return set
}

func (s *spec) isText() bool { return s.shape == shapeText || s.shape == shapeList }

// levels returns the highest repetition and definition level.
func (s *spec) levels() (rep, def byte) {
	switch {
	case s.shape == shapeList:
		return 1, 2
	case s.required:
		return 0, 0
	}
	return 0, 1
}

func (s *spec) physical() format.Type {
	switch s.shape {
	case shapeNumber, shapeTime:
		return format.Int64
	case shapeBool:
		return format.Boolean
	}
	return format.ByteArray
}

// path is where the column is in the schema.
func (s *spec) path() []string {
	if s.shape == shapeList {
		return []string{s.name, "list", "element"}
	}
	return []string{s.name}
}

// schemaElements describes the columns to any reader.
func schemaElements() []format.SchemaElement {
	out := []format.SchemaElement{{Name: "event", NumChildren: thrift.New(int32(columns))}}
	for i := range specs {
		s := &specs[i]
		e := format.SchemaElement{Name: s.name, RepetitionType: thrift.New(format.Optional)}
		if s.required {
			e.RepetitionType = thrift.New(format.Required)
		}
		if s.shape == shapeList {
			e.NumChildren = thrift.New(int32(1))
			e.ConvertedType = thrift.New(deprecated.List)
			e.LogicalType.Value = new(format.ListType)
			out = append(out, e, format.SchemaElement{Name: "list", RepetitionType: thrift.New(format.Repeated), NumChildren: thrift.New(int32(1))})
			e = format.SchemaElement{Name: "element", RepetitionType: thrift.New(format.Required)}
		}
		e.Type = thrift.New(s.physical())
		switch s.shape {
		case shapeTime:
			e.ConvertedType = thrift.New(deprecated.TimestampMicros)
			e.LogicalType.Value = &format.TimestampType{IsAdjustedToUTC: true, Unit: format.TimeUnit{Value: new(format.MicroSeconds)}}
		case shapeText, shapeList:
			e.ConvertedType = thrift.New(deprecated.UTF8)
			e.LogicalType.Value = new(format.StringType)
		}
		out = append(out, e)
	}
	return out
}

// Column is one column of the lake's files.
type Column struct {
	Name string
	Type string // in SQL
}

// Columns returns the columns of the lake's files, in order. The directories add one: day, the UTC date of receipt.
func Columns() []Column {
	out := make([]Column, columns)
	for i := range specs {
		t := [...]string{shapeNumber: "BIGINT", shapeTime: "TIMESTAMP WITH TIME ZONE", shapeBool: "BOOLEAN", shapeText: "VARCHAR", shapeList: "VARCHAR[]"}
		out[i] = Column{Name: specs[i].name, Type: t[specs[i].shape]}
	}
	return out
}
