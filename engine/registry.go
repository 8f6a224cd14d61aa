package engine

import (
	"fmt"
	"reflect"
	"slices"
)

// Role is what a component does in a pipeline.
type Role string

// The roles.
const (
	RoleSource     Role = "source"
	RoleStage      Role = "stage"
	RoleAggregator Role = "aggregator" // named by stage blocks too
	RoleSink       Role = "sink"
)

// Registry holds the kinds of component that a configuration can name. Fill it before use; reading
// is then safe from many goroutines. There is no process-wide registry.
//
// A constructor is a function func(C) (T, error), where C is a struct whose tags describe the
// component's arguments and T is the component's type. Registering something else, or a kind twice,
// is a programmer's mistake and panics.
type Registry struct {
	components map[registryKey]*Component
}

type registryKey struct {
	role Role
	kind string
}

// Component is one registered kind.
type Component struct {
	Role   Role
	Kind   string
	Config reflect.Type // the struct that the constructor takes
	new    reflect.Value
}

var roleTypes = map[Role]reflect.Type{
	RoleSource:     reflect.TypeFor[Source](),
	RoleStage:      reflect.TypeFor[Stage](),
	RoleAggregator: reflect.TypeFor[Aggregator](),
	RoleSink:       reflect.TypeFor[Sink](),
}

// Source registers a kind of source.
func (r *Registry) Source(kind string, constructor any) { r.add(RoleSource, kind, constructor) }

// Stage registers a kind of stage.
func (r *Registry) Stage(kind string, constructor any) { r.add(RoleStage, kind, constructor) }

// Aggregator registers a kind of stage that works on groups.
func (r *Registry) Aggregator(kind string, constructor any) {
	r.add(RoleAggregator, kind, constructor)
}

// Sink registers a kind of sink.
func (r *Registry) Sink(kind string, constructor any) { r.add(RoleSink, kind, constructor) }

func (r *Registry) add(role Role, kind string, constructor any) {
	key := registryKey{role, kind}
	if _, ok := r.components[key]; ok {
		panic(fmt.Sprintf("engine: %s %q is registered twice", role, kind))
	}
	fn := reflect.ValueOf(constructor)
	want := roleTypes[role]
	if !isConstructor(fn, want) {
		panic(fmt.Sprintf("engine: the constructor of %s %q is a %T, not a func(Config) (%s, error)",
			role, kind, constructor, want))
	}
	if r.components == nil {
		r.components = make(map[registryKey]*Component)
	}
	r.components[key] = &Component{Role: role, Kind: kind, Config: fn.Type().In(0), new: fn}
}

func isConstructor(fn reflect.Value, want reflect.Type) bool {
	if fn.Kind() != reflect.Func || fn.IsNil() {
		return false
	}
	t := fn.Type()
	return !t.IsVariadic() && t.NumIn() == 1 && t.In(0).Kind() == reflect.Struct &&
		t.NumOut() == 2 && t.Out(0).Implements(want) && t.Out(1) == reflect.TypeFor[error]()
}

// Lookup finds a kind.
func (r *Registry) Lookup(role Role, kind string) (*Component, bool) {
	c, ok := r.components[registryKey{role, kind}]
	return c, ok
}

// Kinds lists the registered kinds of a role, sorted.
func (r *Registry) Kinds(role Role) []string {
	var kinds []string
	for key := range r.components {
		if key.role == role {
			kinds = append(kinds, key.kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// New makes a component of its config, a value of type c.Config. The result is a [Source], [Stage],
// [Aggregator] or [Sink], as c.Role says.
func (c *Component) New(config any) (any, error) {
	out := c.new.Call([]reflect.Value{reflect.ValueOf(config)})
	if err, _ := out[1].Interface().(error); err != nil {
		return nil, err
	}
	return out[0].Interface(), nil
}
