package expr

import (
	"errors"

	"github.com/hashicorp/hcl/v2/ext/customdecode"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
)

// StartFunctions returns the functions of this package for expressions that are evaluated once, at
// start, by HCL's own evaluator. The map belongs to the caller.
func StartFunctions() map[string]function.Function {
	list := make(map[string]function.Function, len(functions))
	for name, f := range functions {
		list[name] = f.atStart()
	}
	list["has"] = hasAtStart
	list["get"] = getAtStart
	list["coalesce"] = coalesceAtStart
	return list
}

// atStart makes a function of HCL's of an entry of the table.
func (f *tableFunction) atStart() function.Function {
	spec := &function.Spec{
		Description: f.doc,
		Type:        function.StaticReturnType(cty.DynamicPseudoType),
		Impl:        func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.callAtStart(args) },
	}
	for i, p := range f.params {
		parameter := function.Parameter{Name: p.name, Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true}
		if f.many && i == len(f.params)-1 || i >= f.least {
			spec.VarParam = &parameter
		} else {
			spec.Params = append(spec.Params, parameter)
		}
	}
	return function.New(spec)
}

func (f *tableFunction) callAtStart(args []cty.Value) (cty.Value, error) {
	if why := f.takes(len(args)); why != "" {
		return cty.NilVal, errors.New(why)
	}
	at := &site{args: make([]*place, len(args))}
	values := make([]value, len(args))
	for i, arg := range args {
		if !arg.IsWhollyKnown() {
			return cty.DynamicVal, nil // HCL tries a for with elements that are not known, before it begins
		}
		at.args[i] = &place{}
		v, err := fromCty(arg)
		if err != nil {
			return cty.NilVal, function.NewArgError(i, err)
		}
		converted, failed := f.param(i).convert(v, at.args[i])
		if failed != nil {
			return cty.NilVal, function.NewArgError(i, errors.New(failed.detail()))
		}
		values[i] = converted
	}
	v, failed := f.call(&env{}, values, at)
	if failed != nil {
		return cty.NilVal, errors.New(failed.detail())
	}
	result, failed := toCty(v, &at.place)
	if failed != nil {
		return cty.NilVal, errors.New(failed.detail())
	}
	return result, nil
}

// pathParameter takes an argument that is evaluated by the function itself.
var pathParameter = function.Parameter{Name: "path", Type: customdecode.ExpressionClosureType}

var anyType = function.StaticReturnType(cty.DynamicPseudoType)

var hasAtStart = function.New(&function.Spec{
	Params: []function.Parameter{pathParameter},
	Type:   function.StaticReturnType(cty.Bool),
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		_, diags := customdecode.ExpressionClosureFromVal(args[0]).Value()
		return cty.BoolVal(!diags.HasErrors()), nil
	},
})

var getAtStart = function.New(&function.Spec{
	Params: []function.Parameter{pathParameter, {Name: "default", Type: cty.DynamicPseudoType, AllowNull: true, AllowDynamicType: true}},
	Type:   anyType,
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		v, diags := customdecode.ExpressionClosureFromVal(args[0]).Value()
		if diags.HasErrors() || v.IsNull() {
			return args[1], nil
		}
		return v, nil
	},
})

var coalesceAtStart = function.New(&function.Spec{
	Params:   []function.Parameter{pathParameter},
	VarParam: &pathParameter,
	Type:     anyType,
	Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
		for _, arg := range args {
			v, diags := customdecode.ExpressionClosureFromVal(arg).Value()
			if !diags.HasErrors() && !v.IsNull() && !isEmptyString(v) {
				return v, nil
			}
		}
		return cty.NilVal, errors.New("every value is absent, null or an empty string")
	},
})

func isEmptyString(v cty.Value) bool {
	v, _ = v.Unmark()
	return v.IsKnown() && v.Type() == cty.String && v.AsString() == ""
}
