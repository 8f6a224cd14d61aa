package expr

import "unicode/utf8"

var collectionFunctions = []tableFunction{
	{
		name: "length", params: []param{{"v", anyParam}}, least: 1,
		doc:  "How many elements a list has, keys an object, characters (code points) a string, bytes bytes.",
		call: length,
	},
	{
		name: "contains", params: []param{{"list", listParam}, {"v", anyParam}}, least: 2,
		doc:  "Whether an element of the list is equal to the value.",
		call: contains,
	},
	{
		name: "keys", params: []param{{"object", objectParam}}, least: 1,
		doc:  "The keys of the object, sorted by their bytes.",
		call: keys,
	},
	{
		name: "values", params: []param{{"object", objectParam}}, least: 1,
		doc:  "The values of the object, in the order of its sorted keys.",
		call: values,
	},
	{
		name: "merge", params: []param{{"objects", objectParam}}, least: 1, many: true,
		doc:  "One object of all; where a key comes twice, the later value counts.",
		call: merge,
	},
	{
		name: "concat", params: []param{{"lists", listParam}}, least: 1, many: true,
		doc:  "One list of all, in order.",
		call: concat,
	},
	{
		name: "element", params: []param{{"list", listParam}, {"index", numberParam}}, least: 2,
		doc:  "An element of the list; an index past the end begins again at the start.",
		call: element,
	},
}

func length(_ *env, args []value, at *site) (value, *Error) {
	switch v := args[0]; v.kind {
	case kindString:
		return intValue(int64(utf8.RuneCountInString(v.str))), nil
	case kindBytes:
		return intValue(int64(len(v.str))), nil
	case kindList, kindObject:
		return intValue(int64(v.size())), nil
	default:
		return value{}, at.arg(0).fail("has no length: it is %t", v)
	}
}

func contains(_ *env, args []value, _ *site) (value, *Error) {
	for _, item := range args[0].open().items {
		if equal(item, args[1]) {
			return boolValue(true), nil
		}
	}
	return boolValue(false), nil
}

// sorted returns what an object holds, in the order of its keys.
func sorted(e *env, v value, at *site, pick func(c *composite, i int) value) (value, *Error) {
	c := v.open()
	if err := e.spend(elementCost*len(c.items), &at.place); err != nil {
		return value{}, err
	}
	list := make([]value, 0, len(c.items))
	for _, i := range iterationOrder(c) {
		list = append(list, pick(c, i))
	}
	return listValue(list), nil
}

func keys(e *env, args []value, at *site) (value, *Error) {
	return sorted(e, args[0], at, func(c *composite, i int) value { return stringValue(c.keys[i]) })
}

func values(e *env, args []value, at *site) (value, *Error) {
	return sorted(e, args[0], at, func(c *composite, i int) value { return c.items[i] })
}

func merge(e *env, args []value, at *site) (value, *Error) {
	b := newObject(fewKeys)
	for _, object := range args {
		c := object.open()
		if err := e.spend(elementCost*len(c.items), &at.place); err != nil {
			return value{}, err
		}
		for i, key := range c.keys {
			b.set(key, c.items[i])
		}
	}
	return b.value(), nil
}

func concat(e *env, args []value, at *site) (value, *Error) {
	var list []value
	for _, part := range args {
		items := part.open().items
		if err := e.spend(elementCost*len(items), &at.place); err != nil {
			return value{}, err
		}
		list = append(list, items...)
	}
	return listValue(list), nil
}

func element(_ *env, args []value, at *site) (value, *Error) {
	items := args[0].open().items
	i, err := toInt(args[1], at.arg(1))
	switch {
	case err != nil:
		return value{}, err
	case len(items) == 0:
		return value{}, at.arg(0).fail("the list is empty", args[0])
	case i < 0:
		return value{}, at.arg(1).fail("an index is not negative", args[1])
	}
	return items[i%int64(len(items))], nil
}
