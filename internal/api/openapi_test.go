package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/fixture"
)

var update = flag.Bool("update", false, "rewrite openapi.json and the table in docs/api.md")

type object = map[string]any

// words are the values of types that are words.
var words = map[reflect.Type][]string{
	reflect.TypeFor[Role]():              roleNames[1:],
	reflect.TypeFor[events.Kind]():       texts(events.Kinds),
	reflect.TypeFor[control.Path]():      append([]string{string(control.PathSelf)}, texts(control.Paths)...),
	reflect.TypeFor[control.Transport](): {string(control.TransportUDP), string(control.TransportTCP)},
}

func texts[T ~string](list []T) (out []string) {
	for _, x := range list {
		out = append(out, string(x))
	}
	return out
}

// description makes openapi.json of the table of routes and of the types.
type description struct {
	t        *testing.T
	schemas  object
	named    map[string]reflect.Type
	comments map[string]map[string]string
}

func (d *description) build() object {
	d.schemas, d.named, d.comments = object{}, map[string]reflect.Type{}, map[string]map[string]string{}
	paths := object{}
	problem := object{"description": "it failed", "content": object{"application/json": object{"schema": d.schema(reflect.TypeFor[Problem]())}}}
	for _, r := range routes {
		op := object{
			"summary": r.summary, "operationId": operation(r), "x-role": r.role.String(),
			"description": fmt.Sprintf("For the role %s.", r.role),
		}
		var params []any
		for _, p := range r.params {
			params = append(params, object{"name": p.name, "in": p.in, "required": p.in == "path", "description": p.meaning, "schema": object{"type": p.typ}})
		}
		if params != nil {
			op["parameters"] = params
		}
		if r.body != nil {
			op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": d.schema(reflect.TypeOf(r.body))}}}
		}
		content := object{"schema": object{"type": "string"}}
		if r.answer != nil {
			content["schema"] = d.schema(reflect.TypeOf(r.answer))
		}
		media := string(r.kind)
		if r.kind == jsonAnswer {
			media = "application/json"
		}
		ok := object{"description": r.summary, "content": object{media: content}}
		if r.kind == stream {
			ok["description"] = "server-sent events; the data of each has this form"
		}
		op["responses"] = object{"200": ok, "default": problem}
		if paths[r.path] == nil {
			paths[r.path] = object{}
		}
		paths[r.path].(object)[strings.ToLower(r.method)] = op
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "tincan", "version": "1",
			"description": "The HTTP API of a running node, at the UNIX socket NETWORK.api.socket beside its pid file. Names and their meanings do not change within /v1; new ones may be added at any time.",
		},
		"servers":    []any{object{"url": "http://tincan"}},
		"paths":      paths,
		"components": object{"schemas": d.schemas},
	}
}

// operation is a name for a route: get_v1_nodes_name.
func operation(r route) string {
	return strings.ToLower(r.method) + strings.NewReplacer("/", "_", "{", "", "}", "", ".", "_").Replace(r.path)
}

func (d *description) schema(t reflect.Type) object {
	if list := words[t]; list != nil {
		return object{"type": "string", "enum": list}
	}
	switch {
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[control.Millis]():
		return object{"type": "number"}
	case t.Implements(reflect.TypeFor[interface{ MarshalText() ([]byte, error) }]()), t.Kind() == reflect.String:
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		if t.Elem().Kind() == reflect.Interface {
			return object{"type": "object"}
		}
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return object{"$ref": "#/components/schemas/" + d.name(t)}
	}
	return object{"type": "integer"}
}

// name is that of a type's schema, which is made if it is not there.
func (d *description) name(t reflect.Type) string {
	name := t.Name()
	if other := d.named[name]; other != nil && other != t {
		pkg := filepath.Base(t.PkgPath())
		name = strings.ToUpper(pkg[:1]) + pkg[1:] + name
	}
	if d.named[name] == t {
		return name
	}
	if d.named[name] != nil {
		d.t.Fatalf("two types are called %s", name)
	}
	d.named[name] = t
	properties, required := object{}, []string{}
	d.fields(t, properties, &required)
	slices.Sort(required)
	s := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	d.schemas[name] = s
	return name
}

func (d *description) fields(t reflect.Type, properties object, required *[]string) {
	dir := filepath.Join("../..", strings.TrimPrefix(t.PkgPath(), "tincan/"))
	if d.comments[dir] == nil {
		d.comments[dir] = fixture.FieldComments(d.t, dir)
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			d.fields(f.Type, properties, required)
			continue
		case name == "-" || !f.IsExported():
			continue
		case name == "":
			d.t.Errorf("%v.%s has no name for JSON", t, f.Name)
		}
		s := d.schema(f.Type)
		if text := d.comments[dir][t.Name()+"."+f.Name]; text != "" {
			s["description"] = text
		}
		properties[name] = s
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
}

// TestTheDescriptionIsThatOfTheHandlers compares openapi.json with the table and the types.
func TestTheDescriptionIsThatOfTheHandlers(t *testing.T) {
	want, err := json.MarshalIndent((&description{t: t}).build(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if bytes.Equal(want, openAPI) {
		return
	}
	if !*update {
		t.Fatal("openapi.json differs from the handlers; run: go test ./internal/api -run Description -update")
	}
	if err := os.WriteFile("openapi.json", want, 0o666); err != nil {
		t.Fatal(err)
	}
	openAPI = want
}

// document is openapi.json, for checking answers.
type document struct{ object }

func described(t *testing.T) document {
	t.Helper()
	var d document
	if err := json.Unmarshal(openAPI, &d.object); err != nil {
		t.Fatal(err)
	}
	return d
}

// at follows keys into the document.
func (d document) at(keys ...string) object {
	o := d.object
	for _, k := range keys {
		o, _ = o[k].(object)
	}
	return o
}

// fits checks a value against a schema, strictly: every key has to be described.
func (d document) fits(v any, schema object, where string) (wrong []string) {
	if ref, ok := schema["$ref"].(string); ok {
		schema = d.at("components", "schemas", strings.TrimPrefix(ref, "#/components/schemas/"))
	}
	bad := func() []string { return []string{fmt.Sprintf("%s: %v is no %v", where, v, schema["type"])} }
	if list, ok := schema["enum"].([]any); ok && !slices.Contains(list, v) {
		return []string{fmt.Sprintf("%s: %v is none of %v", where, v, list)}
	}
	switch schema["type"] {
	case "string":
		text, ok := v.(string)
		if !ok {
			return bad()
		}
		if _, err := time.Parse(time.RFC3339Nano, text); schema["format"] == "date-time" && err != nil {
			return bad()
		}
	case "boolean":
		if _, ok := v.(bool); !ok {
			return bad()
		}
	case "number", "integer":
		n, ok := v.(float64)
		if !ok || schema["type"] == "integer" && n != float64(int64(n)) {
			return bad()
		}
	case "array":
		list, ok := v.([]any)
		if !ok {
			return bad()
		}
		for i, x := range list {
			wrong = append(wrong, d.fits(x, schema["items"].(object), fmt.Sprintf("%s[%d]", where, i))...)
		}
	case "object":
		o, ok := v.(object)
		if !ok {
			return bad()
		}
		properties, fixed := schema["properties"].(object)
		for key, x := range o {
			s, known := properties[key].(object)
			if !known {
				s, known = schema["additionalProperties"].(object)
			}
			if !known && fixed {
				wrong = append(wrong, fmt.Sprintf("%s.%s is not described", where, key))
			} else if known {
				wrong = append(wrong, d.fits(x, s, where+"."+key)...)
			}
		}
		required, _ := schema["required"].([]any)
		for _, key := range required {
			if _, ok := o[key.(string)]; !ok {
				wrong = append(wrong, fmt.Sprintf("%s.%s is missing", where, key))
			}
		}
	default:
		wrong = append(wrong, fmt.Sprintf("%s: the schema has no type: %v", where, schema))
	}
	return wrong
}

// fill sets every field of a value to something.
func fill(v reflect.Value, depth int) {
	if list := words[v.Type()]; list != nil && v.Kind() == reflect.String {
		v.SetString(list[0])
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(1_800_000_000, 0).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), depth)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0), depth)
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		if v.Type().Elem().Kind() == reflect.Interface {
			return
		}
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key, depth)
		fill(value, depth)
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() || v.Type().Field(i).Anonymous {
				fill(v.Field(i), depth+1)
			}
		}
	}
}

// TestEveryFieldOfEveryAnswerIsDescribed writes each form with all of its fields.
func TestEveryFieldOfEveryAnswerIsDescribed(t *testing.T) {
	d := described(t)
	check := func(where string, form any, schema object) {
		v := reflect.New(reflect.TypeOf(form))
		fill(v.Elem(), 0)
		text, err := json.Marshal(v.Interface())
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		var back any
		if err := json.Unmarshal(text, &back); err != nil {
			t.Fatal(err)
		}
		for _, w := range d.fits(back, schema, where) {
			t.Error(w)
		}
	}
	for _, r := range routes {
		op := d.at("paths", r.path, strings.ToLower(r.method))
		if op == nil {
			t.Errorf("%s %s is not described", r.method, r.path)
			continue
		}
		if r.answer != nil {
			media := string(r.kind)
			if media == "" {
				media = "application/json"
			}
			check(operation(r), r.answer, (document{op}).at("responses", "200", "content", media, "schema"))
		}
		if r.body != nil {
			check(operation(r)+" body", r.body, (document{op}).at("requestBody", "content", "application/json", "schema"))
		}
	}
	for path := range d.at("paths") {
		for method := range d.at("paths", path) {
			if !slices.ContainsFunc(routes, func(r route) bool { return r.path == path && strings.EqualFold(r.method, method) }) {
				t.Errorf("%s %s is described, and there is no handler", method, path)
			}
		}
	}
}
