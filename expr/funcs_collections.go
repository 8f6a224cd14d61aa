package expr

import (
	"slices"
	"unicode/utf8"
)

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

func length(e *env, args []value, at *site) (value, *Error) {
	switch v := args[0]; v.kind {
	case kindString:
		return intValue(int64(utf8.RuneCountInString(v.str))), nil
	case kindBytes:
		return intValue(int64(len(v.str))), nil
	case kindList, kindObject:
		c, err := e.open(v, at.arg(0))
		if err != nil {
			return value{}, err
		}
		return intValue(int64(len(c.items))), nil
	default:
		return value{}, at.arg(0).fail("has no length: it is %t", v)
	}
}

func contains(e *env, args []value, at *site) (value, *Error) {
	list, err := e.open(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	wanted := args[1]
	if wanted.kind >= kindList {
		if err := e.look(openingCost*(args[0].weight(maxReading)+wanted.weight(maxReading)), &at.place); err != nil {
			return value{}, err
		}
		wanted = wanted.full()
	}
	i := slices.IndexFunc(list.items, func(item value) bool { return equal(item, wanted) })
	compared := i + 1
	if i < 0 {
		compared = len(list.items)
	}
	return boolValue(i >= 0), e.look(comparisonCost*compared, &at.place)
}

// sorted returns what an object holds, in the order of its keys.
func sorted(e *env, v value, at *site, pick func(c *composite, i int) value) (value, *Error) {
	c, err := e.open(v, at.arg(0))
	if err != nil {
		return value{}, err
	}
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
	for i, object := range args {
		c, err := e.open(object, at.arg(i))
		if err != nil {
			return value{}, err
		}
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
	for i, part := range args {
		c, err := e.open(part, at.arg(i))
		if err != nil {
			return value{}, err
		}
		if err := e.spend(elementCost*len(c.items), &at.place); err != nil {
			return value{}, err
		}
		list = append(list, c.items...)
	}
	return listValue(list), nil
}

func element(e *env, args []value, at *site) (value, *Error) {
	list, err := e.open(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	i, err := toInt(args[1], at.arg(1))
	switch {
	case err != nil:
		return value{}, err
	case len(list.items) == 0:
		return value{}, at.arg(0).fail("the list is empty", args[0])
	case i < 0:
		return value{}, at.arg(1).fail("an index is not negative", args[1])
	}
	return list.items[i%int64(len(list.items))], nil
}
