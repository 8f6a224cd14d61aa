package expr

import "slices"

var typeFunctions = []tableFunction{
	{
		name: "tonumber", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The value as a number: a string is read in decimal. null stays null.",
		example: `tonumber("12.50") * 2`,
		call: converting(func(v value, at *place) (value, *Error) {
			n, err := toNumber(v, at)
			n.width, n.ref = 0, nil
			return n, err
		}),
	},
	{
		name: "tostring", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The value as a string, by the one rule that makes strings of values. null stays null.",
		example: `tostring(1.50)`,
		call:    converting(toString),
	},
	{
		name: "tobool", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The value as a bool: the strings \"true\", \"1\", \"false\" and \"0\" count. null stays null.",
		example: `tobool("true")`,
		call:    converting(toBool),
	},
	{
		name: "tobytes", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The bytes of a string's UTF-8, for a header that is to hold bytes; bytes stay as they are.",
		example: `length(tobytes("é"))`,
		call: func(_ *env, args []value, at *site) (value, *Error) {
			v, err := octets(args[0], at.arg(0))
			v.kind = kindBytes
			return v, err
		},
	},
	{
		name: "type", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The name of the value's type: null, bool, number, string, bytes, timestamp, list or object.",
		example: `type([1])`,
		call: func(_ *env, args []value, _ *site) (value, *Error) {
			return stringValue(args[0].kind.name()), nil
		},
	},
	{
		name: "isbool", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is true or false.",
		example: `isbool("true")`,
		call:    is(kindBool),
	},
	{
		name: "isnumber", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is a number.",
		example: `isnumber(1.5)`,
		call:    is(kindInt, kindFloat),
	},
	{
		name: "isstring", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is a string.",
		example: `isstring("1")`,
		call:    is(kindString),
	},
	{
		name: "isbytes", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is bytes, which only headers, tobytes and decoders have.",
		example: `isbytes(tobytes("a"))`,
		call:    is(kindBytes),
	},
	{
		name: "istimestamp", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is a timestamp, which only properties, headers and the functions about time have.",
		example: `istimestamp("2026-01-02T03:04:05Z")`,
		call:    is(kindTime),
	},
	{
		name: "islist", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is a list.",
		example: `islist([])`,
		call:    is(kindList),
	},
	{
		name: "isobject", params: []param{{"v", anyParam}}, least: 1,
		doc:     "Whether the value is an object.",
		example: `isobject({})`,
		call:    is(kindObject),
	},
}

func is(kinds ...kind) builtin {
	return func(_ *env, args []value, _ *site) (value, *Error) {
		return boolValue(slices.Contains(kinds, args[0].kind)), nil
	}
}

// octets takes a string or bytes as bytes.
func octets(v value, at *place) (value, *Error) {
	if v.kind == kindBytes {
		return v, nil
	}
	return toString(v, at)
}

func converting(convert func(value, *place) (value, *Error)) builtin {
	return func(_ *env, args []value, at *site) (value, *Error) {
		if args[0].kind == kindNull {
			return null, nil
		}
		return convert(args[0], at.arg(0))
	}
}
