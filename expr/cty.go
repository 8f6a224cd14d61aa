package expr

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/zclconf/go-cty/cty"
)

var (
	errUnknown = errors.New("the value is not known at start")
	errRange   = errors.New("the number is out of range")
)

// fromCty makes a value of one of HCL's.
func fromCty(v cty.Value) (value, error) {
	v, _ = v.Unmark()
	switch t := v.Type(); {
	case !v.IsKnown():
		return value{}, errUnknown
	case v.IsNull():
		return null, nil
	case t == cty.Bool:
		return boolValue(v.True()), nil
	case t == cty.String:
		return stringValue(v.AsString()), nil
	case t == cty.Number:
		if n, ok := bigValue(v.AsBigFloat()); ok {
			return n, nil
		}
		return value{}, errRange
	case t.IsCapsuleType():
		return value{}, fmt.Errorf("%s cannot be used in an expression", t.FriendlyName())
	}
	return fromCtyComposite(v)
}

func fromCtyComposite(v cty.Value) (value, error) {
	if v.Type().IsSetType() && !v.IsWhollyKnown() {
		return value{}, errUnknown
	}
	object := v.Type().IsObjectType() || v.Type().IsMapType()
	b := newObject(v.LengthInt())
	list := make([]value, 0, v.LengthInt())
	for it := v.ElementIterator(); it.Next(); {
		key, element := it.Element()
		item, err := fromCty(element)
		if err != nil {
			return value{}, err
		}
		if object {
			key, _ = key.Unmark()
			b.set(key.AsString(), item)
		} else {
			list = append(list, item)
		}
	}
	if object {
		return b.value(), nil
	}
	return listValue(list), nil
}

// toCty makes one of HCL's values; timestamps and bytes become strings.
func toCty(v value, at *place) (cty.Value, *Error) {
	switch v.kind {
	case kindNull, kindMissing:
		return cty.NullVal(cty.DynamicPseudoType), nil
	case kindBool:
		return cty.BoolVal(v.num != 0), nil
	case kindInt:
		return cty.NumberIntVal(v.int()), nil
	case kindFloat:
		return floatToCty(v, at)
	case kindList, kindObject:
		return compositeToCty(v.deep(), at)
	}
	s, err := toString(v, at)
	return cty.StringVal(s.str), err
}

// floatToCty gives HCL the decimal that a float is written as, not its binary expansion.
func floatToCty(v value, at *place) (cty.Value, *Error) {
	n, err := toNumber(v, at)
	if err != nil {
		return cty.NilVal, err
	}
	b, _, failed := big.ParseFloat(string(appendFloat(nil, n.float(), 64)), 10, 512, big.ToNearestEven)
	if failed != nil {
		return cty.NilVal, at.failed("not a number", failed)
	}
	return cty.NumberVal(b), nil
}

func compositeToCty(v value, at *place) (cty.Value, *Error) {
	items := make([]cty.Value, len(v.ref.items))
	for i, item := range v.ref.items {
		converted, err := toCty(item, at)
		if err != nil {
			return cty.NilVal, err
		}
		items[i] = converted
	}
	if v.kind == kindList {
		return cty.TupleVal(items), nil
	}
	attributes := make(map[string]cty.Value, len(items))
	for i, key := range v.ref.keys {
		attributes[key] = items[i]
	}
	return cty.ObjectVal(attributes), nil
}
