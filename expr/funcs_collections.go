package expr

import (
	"math/bits"
	"slices"
	"unicode/utf8"
)

var collectionFunctions = []tableFunction{
	{
		name: "length", params: []param{{"v", anyParam}}, least: 1,
		doc:     "How many elements a list has, keys an object, characters (code points) a string, bytes bytes.",
		example: `length("Wörld")`,
		call:    length,
	},
	{
		name: "contains", params: []param{{"list", listParam}, {"v", anyParam}}, least: 2,
		doc:     "Whether an element of the list is equal to the value.",
		example: `contains(["a", "b"], "b")`,
		call:    contains,
		shorten: shortenContains,
	},
	{
		name: "keys", params: []param{{"object", objectParam}}, least: 1,
		doc:     "The keys of the object, sorted by their bytes.",
		example: `keys({b = 1, a = 2})`,
		call:    keys,
	},
	{
		name: "values", params: []param{{"object", objectParam}}, least: 1,
		doc:     "The values of the object, in the order of its sorted keys.",
		example: `values({b = 1, a = 2})`,
		call:    values,
	},
	{
		name: "merge", params: []param{{"objects", objectParam}}, least: 1, many: true,
		doc:     "One object of all; where a key comes twice, the later value counts.",
		example: `merge({a = 1, b = 2}, {b = 3})`,
		call:    merge,
	},
	{
		name: "concat", params: []param{{"lists", listParam}}, least: 1, many: true,
		doc:     "One list of all, in order.",
		example: `concat([1], [2, 3])`,
		call:    concat,
	},
	{
		name: "element", params: []param{{"list", listParam}, {"index", numberParam}}, least: 2,
		doc:     "An element of the list; an index past the end begins again at the start.",
		example: `element(["a", "b"], 3)`,
		call:    element,
	},
	{
		name: "index", params: []param{{"list", listParam}, {"v", anyParam}}, least: 2,
		doc:     "The position of the first element of the list that is equal to the value. It is an error if there is none.",
		example: `index(["a", "b"], "b")`,
		call:    index,
	},
	{
		name: "slice", params: []param{{"list", listParam}, {"start", numberParam}, {"end", numberParam}}, least: 3,
		doc:     "The elements of the list from a position up to, but without, another.",
		example: `slice([1, 2, 3, 4], 1, 3)`,
		call:    slice,
	},
	{
		name: "reverse", params: []param{{"list", listParam}}, least: 1,
		doc:     "The list in reverse order.",
		example: `reverse([1, 2, 3])`,
		call:    reverse,
	},
	{
		name: "sort", params: []param{{"list", listParam}}, least: 1,
		doc:     "The list in order: all strings, by their bytes; all numbers; or all timestamps.",
		example: `sort([3, 1, 2])`,
		call:    sortList,
	},
	{
		name: "distinct", params: []param{{"list", listParam}}, least: 1,
		doc:     "The list without the elements that are equal to one before them.",
		example: `distinct([1, "1", 1.0])`,
		call:    union,
	},
	{
		name: "setunion", params: []param{{"lists", listParam}}, least: 1, many: true,
		doc:     "The elements of all lists, each once, in the order of their first appearance.",
		example: `setunion([1, 2], [2, 3])`,
		call:    union,
	},
	{
		name: "setintersection", params: []param{{"lists", listParam}}, least: 1, many: true,
		doc:     "The elements that every list has, each once, in the order of the first list.",
		example: `setintersection([1, 2, 3], [3, 2])`,
		call:    intersection,
	},
	{
		name: "setsubtract", params: []param{{"list", listParam}, {"without", listParam}}, least: 2,
		doc:     "The elements of the first list that the second does not have, each once.",
		example: `setsubtract([1, 2, 3], [2])`,
		call:    subtraction,
	},
	{
		name: "flatten", params: []param{{"list", listParam}}, least: 1,
		doc:     "The list with every list in it replaced by its elements, however deep.",
		example: `flatten([1, [2, [3]], []])`,
		call:    flatten,
	},
	{
		name: "compact", params: []param{{"list", listParam}}, least: 1,
		doc:     "The list without null and empty strings.",
		example: `compact(["a", "", null, "b"])`,
		call:    compact,
	},
	{
		name: "chunklist", params: []param{{"list", listParam}, {"size", numberParam}}, least: 2,
		doc:     "The list cut into lists of the size; the last may be shorter.",
		example: `chunklist([1, 2, 3], 2)`,
		call:    chunkList,
	},
	{
		name: "one", params: []param{{"list", listParam}}, least: 1,
		doc:     "The one element of the list; null of an empty list. It is an error if there are more.",
		example: `one([5])`,
		call:    one,
	},
	{
		name: "alltrue", params: []param{{"list", listParam}}, least: 1,
		doc:     "Whether every element of the list is true.",
		example: `alltrue([true, "true"])`,
		call:    every(true),
	},
	{
		name: "anytrue", params: []param{{"list", listParam}}, least: 1,
		doc:     "Whether an element of the list is true.",
		example: `anytrue([false, true])`,
		call:    every(false),
	},
	{
		name: "range", params: []param{{"start", numberParam}, {"end", numberParam}, {"step", numberParam}}, least: 1,
		doc:     "The whole numbers from start up to, but without, end, in steps of 1, or -1 where end is smaller. range(n) begins with 0.",
		example: `range(1, 10, 3)`,
		call:    rangeOf,
	},
	{
		name: "zipmap", params: []param{{"keys", listParam}, {"values", listParam}}, least: 2,
		doc:     "The object that has the keys, each with the value in the same position.",
		example: `zipmap(["a", "b"], [1, 2])`,
		call:    zipMap,
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
	i, err := position(e, args, at)
	return boolValue(i >= 0), err
}

// shortenContains looks for strings in a list of strings that is written there.
func shortenContains(n *node, args []node, at *site) {
	list := args[0].constant
	if list == nil || list.kind != kindList || list.isRaw() {
		return
	}
	texts := make([]string, len(list.ref.items))
	for i, item := range list.ref.items {
		if item.kind != kindString {
			return
		}
		texts[i] = item.str
	}
	wanted := args[1].eval
	*n = n.testing(func(e *env) (bool, *Error) {
		v, err := wanted(e)
		if err != nil || v.kind != kindString {
			return false, err
		}
		if err := e.look(len(v.str), at.arg(1)); err != nil {
			return false, err
		}
		i := slices.Index(texts, v.str)
		return i >= 0, e.compared(i, len(texts), &at.place)
	})
}

// compared counts the comparisons of a search that ended at i, or found nothing among so many.
func (e *env) compared(i, among int, at *place) *Error {
	if i < 0 {
		return e.look(comparisonCost*among, at)
	}
	return e.look(comparisonCost*(i+1), at)
}

// position returns where in a list an element is that is equal to a value, or -1.
func position(e *env, args []value, at *site) (int, *Error) {
	list, err := e.open(args[0], at.arg(0))
	if err != nil {
		return 0, err
	}
	wanted := args[1]
	if wanted.kind >= kindList {
		if err := e.look(openingCost*(args[0].weight(maxReading)+wanted.weight(maxReading)), &at.place); err != nil {
			return 0, err
		}
		wanted = wanted.full()
	}
	i := slices.IndexFunc(list.items, func(item value) bool { return equal(item, wanted) })
	return i, e.compared(i, len(list.items), &at.place)
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

// bounds checks that two positions are in a list, in order.
func bounds(list *composite, args []value, at *site) (start, end int64, err *Error) {
	if start, err = toInt(args[1], at.arg(1)); err != nil {
		return 0, 0, err
	}
	if end, err = toInt(args[2], at.arg(2)); err != nil {
		return 0, 0, err
	}
	switch {
	case start < 0 || start > int64(len(list.items)):
		err = at.arg(1).fail("the list has no such position", missing)
	case end < start || end > int64(len(list.items)):
		err = at.arg(2).fail("the list has no such position from there on", missing)
	}
	return start, end, err
}

func slice(e *env, args []value, at *site) (value, *Error) {
	list, err := e.open(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	start, end, err := bounds(list, args, at)
	if err != nil {
		return value{}, err
	}
	return listValue(list.items[start:end:end]), nil
}

func index(e *env, args []value, at *site) (value, *Error) {
	i, err := position(e, args, at)
	if err == nil && i < 0 {
		err = at.fail("no element of the list is equal to the value", missing)
	}
	return intValue(int64(i)), err
}

// copied opens a list and copies its elements.
func (e *env) copied(list value, at *place) ([]value, *Error) {
	c, err := e.open(list, at)
	if err != nil {
		return nil, err
	}
	return slices.Clone(c.items), e.spend(elementCost*len(c.items), at)
}

func reverse(e *env, args []value, at *site) (value, *Error) {
	items, err := e.copied(args[0], at.arg(0))
	slices.Reverse(items)
	return listValue(items), err
}

func sortList(e *env, args []value, at *site) (value, *Error) {
	items, err := e.copied(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	for _, item := range items {
		if item.kind.name() != items[0].kind.name() || item.kind != kindTime && item.kind != kindString && !item.isNumber() {
			return value{}, at.arg(0).fail("not all strings, all numbers or all timestamps: it has %t", item)
		}
	}
	if err := e.look(elementWork*len(items)*bits.Len(uint(len(items))), &at.place); err != nil {
		return value{}, err
	}
	var failed *Error
	slices.SortStableFunc(items, func(a, b value) int {
		order, err := compare(a, b, at.arg(0), at.arg(0))
		if err != nil {
			failed = err
		}
		return order
	})
	return listValue(items), failed
}

func flatten(e *env, args []value, at *site) (value, *Error) {
	out, err := appendFlat(e, nil, args[0], at.arg(0))
	return listValue(out), err
}

func appendFlat(e *env, out []value, list value, at *place) ([]value, *Error) {
	c, err := e.open(list, at)
	if err != nil {
		return out, err
	}
	if err := e.spend(elementCost*len(c.items), at); err != nil {
		return out, err
	}
	for _, item := range c.items {
		if item.kind != kindList {
			out = append(out, item)
		} else if out, err = appendFlat(e, out, item, at); err != nil {
			return out, err
		}
	}
	return out, nil
}

func compact(e *env, args []value, at *site) (value, *Error) {
	items, err := e.copied(args[0], at.arg(0))
	return listValue(slices.DeleteFunc(items, func(v value) bool {
		return v.kind == kindNull || v.kind == kindString && v.str == ""
	})), err
}

func chunkList(e *env, args []value, at *site) (value, *Error) {
	list, err := e.open(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	size, err := toInt(args[1], at.arg(1))
	switch {
	case err != nil:
		return value{}, err
	case size < 1:
		return value{}, at.arg(1).fail("the size is 1 or more", args[1])
	}
	if err := e.spend(2*elementCost*len(list.items), &at.place); err != nil {
		return value{}, err
	}
	var chunks []value
	for chunk := range slices.Chunk(list.items, int(min(size, maxElements+1))) {
		chunks = append(chunks, listValue(chunk))
	}
	return listValue(chunks), nil
}

func one(e *env, args []value, at *site) (value, *Error) {
	list, err := e.open(args[0], at.arg(0))
	switch {
	case err != nil:
		return value{}, err
	case len(list.items) > 1:
		return value{}, at.arg(0).fail("the list has more than one element", args[0])
	case len(list.items) == 0:
		return null, nil
	}
	return list.items[0], nil
}

// every is whether all elements are true, or, if that is not wanted, whether any is.
func every(all bool) builtin {
	return func(e *env, args []value, at *site) (value, *Error) {
		list, err := e.open(args[0], at.arg(0))
		if err != nil {
			return value{}, err
		}
		for i, item := range list.items {
			holds, err := toBool(item, at.arg(0))
			if err != nil {
				return value{}, err
			}
			if holds.num != 0 != all {
				return boolValue(!all), e.look(comparisonCost*i, &at.place)
			}
		}
		return boolValue(all), e.look(comparisonCost*len(list.items), &at.place)
	}
}

func rangeOf(e *env, args []value, at *site) (value, *Error) {
	numbers := make([]int64, len(args))
	for i := range args {
		var err *Error
		if numbers[i], err = toInt(args[i], at.arg(i)); err != nil {
			return value{}, err
		}
	}
	start, end, step := int64(0), numbers[0], int64(1)
	if len(numbers) > 1 {
		start, end = numbers[0], numbers[1]
	}
	if end < start {
		step = -1
	}
	if len(numbers) > 2 {
		step = numbers[2]
	}
	if step == 0 || step > 0 != (end >= start) && end != start {
		return value{}, at.fail("the step leads away from the end", missing)
	}
	n := steps(start, end, step)
	if err := e.spend(elementCost*int(min(n, maxOutput)), &at.place); err != nil {
		return value{}, err
	}
	list := make([]value, n)
	for i := range list {
		list[i] = intValue(start + int64(i)*step)
	}
	return listValue(list), nil
}

// steps returns how many numbers there are from start on, before end. The step leads there.
func steps(start, end, step int64) uint64 {
	switch {
	case start == end:
		return 0
	case step < 0:
		return (uint64(start)-uint64(end)-1)/uint64(-step) + 1
	}
	return (uint64(end)-uint64(start)-1)/uint64(step) + 1
}

func zipMap(e *env, args []value, at *site) (value, *Error) {
	keys, err := e.strings(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	list, err := e.open(args[1], at.arg(1))
	switch {
	case err != nil:
		return value{}, err
	case len(keys) != len(list.items):
		return value{}, at.fail("the lists are not of the same length", missing)
	}
	if err := e.spend(elementCost*len(keys), &at.place); err != nil {
		return value{}, err
	}
	b := newObject(len(keys))
	for i, key := range keys {
		b.set(key, list.items[i])
	}
	return b.value(), nil
}
