package config

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// set gives a field a plain value.
func (d *decoder) set(t target, v cty.Value) error {
	if err := setValue(t.value, v, &t.field); err != nil {
		return err
	}
	return t.check(t.value)
}

// setValue converts a value to the type of what is to hold it.
func setValue(to reflect.Value, v cty.Value, f *field) error {
	if v.IsNull() && to.Kind() != reflect.Interface {
		return errors.New("it must not be null")
	}
	if to.Type() == reflect.TypeFor[time.Duration]() {
		d, err := duration(v)
		to.SetInt(int64(d))
		return err
	}
	if f.bytes && to.CanInt() {
		n, err := size(v)
		to.SetInt(n)
		return err
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		return setValue(to.Elem(), v, f)
	case reflect.Slice:
		return setSlice(to, v, f)
	case reflect.Map:
		return setMap(to, v, f)
	case reflect.Interface:
		x, err := plainValue(v)
		if x != nil {
			to.Set(reflect.ValueOf(x))
		}
		return err
	}
	return setPrimitive(to, v)
}

func setPrimitive(to reflect.Value, v cty.Value) error {
	switch {
	case to.Kind() == reflect.String:
		v, err := as(v, cty.String, "text, in quotes")
		if err == nil {
			to.SetString(v.AsString())
		}
		return err
	case to.Kind() == reflect.Bool:
		v, err := as(v, cty.Bool, "true or false")
		if err == nil {
			to.SetBool(v.True())
		}
		return err
	case to.CanInt():
		return setInt(to, v)
	case to.CanFloat():
		v, err := as(v, cty.Number, "a number")
		if err == nil {
			f, _ := v.AsBigFloat().Float64()
			to.SetFloat(f)
		}
		return err
	}
	panic(fmt.Sprintf("config: an argument cannot have the type %s", to.Type()))
}

func setInt(to reflect.Value, v cty.Value) error {
	v, err := as(v, cty.Number, "a whole number")
	if err != nil {
		return err
	}
	n, exact := v.AsBigFloat().Int64()
	switch {
	case exact != big.Exact && !v.AsBigFloat().IsInt():
		return fmt.Errorf("a whole number is needed, not %s", number(v))
	case exact != big.Exact || to.OverflowInt(n):
		return fmt.Errorf("%s is too large a number", number(v))
	}
	to.SetInt(n)
	return nil
}

// as converts to a primitive type.
func as(v cty.Value, t cty.Type, what string) (cty.Value, error) {
	out, err := convert.Convert(v, t)
	if err != nil || out.IsNull() {
		return out, fmt.Errorf("%s is needed, not %s", what, describe(v))
	}
	return out, nil
}

// describe names a value in a sentence.
func describe(v cty.Value) string {
	switch t := v.Type(); {
	case v.IsNull():
		return "null"
	case t == cty.String:
		return strconv.Quote(v.AsString())
	case t == cty.Number:
		return number(v)
	case t == cty.Bool:
		return strconv.FormatBool(v.True())
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		return "a list"
	case t.IsObjectType() || t.IsMapType():
		return "an object"
	}
	return "a value of type " + v.Type().FriendlyName()
}

func number(v cty.Value) string { return v.AsBigFloat().Text('g', 12) }

func setSlice(to reflect.Value, v cty.Value, f *field) error {
	if t := v.Type(); !t.IsTupleType() && !t.IsListType() && !t.IsSetType() {
		return fmt.Errorf("a list is needed, as [%s], not %s", example(v), describe(v))
	}
	out := reflect.MakeSlice(to.Type(), 0, v.LengthInt())
	for i, element := range v.AsValueSlice() {
		e := reflect.New(to.Type().Elem()).Elem()
		if err := setValue(e, element, f); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		out = reflect.Append(out, e)
	}
	to.Set(out)
	return nil
}

// example is what stands in the brackets of an example of a list.
func example(v cty.Value) string {
	if !v.IsNull() && v.Type().IsPrimitiveType() {
		return describe(v)
	}
	return "…"
}

func setMap(to reflect.Value, v cty.Value, f *field) error {
	if t := v.Type(); !t.IsObjectType() && !t.IsMapType() {
		return fmt.Errorf("an object is needed, as { name = … }, not %s", describe(v))
	}
	out := reflect.MakeMap(to.Type())
	for key, element := range v.AsValueMap() {
		e := reflect.New(to.Type().Elem()).Elem()
		if err := setValue(e, element, f); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
		out.SetMapIndex(reflect.ValueOf(key), e)
	}
	to.Set(out)
	return nil
}

// plainValue makes nil, bool, int64, float64, string, []any or map[string]any of a value.
func plainValue(v cty.Value) (any, error) {
	switch t := v.Type(); {
	case v.IsNull():
		return nil, nil
	case t == cty.String:
		return v.AsString(), nil
	case t == cty.Bool:
		return v.True(), nil
	case t == cty.Number:
		return plainNumber(v)
	case t.IsObjectType() || t.IsMapType():
		out := map[string]any{}
		err := setMap(reflect.ValueOf(&out).Elem(), v, &field{})
		return out, err
	case t.IsTupleType() || t.IsListType() || t.IsSetType():
		out := []any{}
		err := setSlice(reflect.ValueOf(&out).Elem(), v, &field{})
		return out, err
	}
	return nil, fmt.Errorf("%s cannot be used here", describe(v))
}

func plainNumber(v cty.Value) (any, error) {
	f := v.AsBigFloat()
	if n, exact := f.Int64(); exact == big.Exact {
		return n, nil
	}
	n, _ := f.Float64()
	if math.IsInf(n, 0) {
		return nil, fmt.Errorf("%s is too large a number", number(v))
	}
	return n, nil
}

func duration(v cty.Value) (time.Duration, error) {
	const how = `a number with a unit, as "500ms", "5s", "1m30s" or "2h"`
	if v.Type() != cty.String {
		return 0, fmt.Errorf("a duration is needed: %s", how)
	}
	d, err := time.ParseDuration(v.AsString())
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is not a duration: write %s", v.AsString(), how)
	case d < 0:
		return 0, fmt.Errorf("a duration must not be negative, as %q is", v.AsString())
	}
	return d, nil
}

var (
	sizeText  = regexp.MustCompile(`^(\d+) ?([A-Za-z]*)$`)
	sizeUnits = map[string]int64{
		"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12,
		"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
	}
)

func size(v cty.Value) (int64, error) {
	text, err := convert.Convert(v, cty.String)
	if err != nil || text.IsNull() {
		return 0, fmt.Errorf(`a size is needed, as 4096, "500KB" or "1MiB", not %s`, describe(v))
	}
	m := sizeText.FindStringSubmatch(text.AsString())
	if m == nil || sizeUnits[strings.ToLower(m[2])] == 0 {
		return 0, fmt.Errorf(`%q is not a size: write bytes, or a whole number with a unit, as "500KB" or "1MiB"`, text.AsString())
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := sizeUnits[strings.ToLower(m[2])]
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is too large", text.AsString())
	}
	return n * unit, nil
}

// check compares a value with what the tags allow.
func (f *field) check(v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() == reflect.String && f.enum != nil && !slices.Contains(f.enum, v.String()) {
		text := list(f.enum, quoted, "or")
		if near := nearest(v.String(), f.enum); near != "" {
			return fmt.Errorf("%q is none of %s. Did you mean %q?", v.String(), text, near)
		}
		return fmt.Errorf("%s is needed, not %q", text, v.String())
	}
	if err := f.bound(v, f.min, func(a, b float64) bool { return a >= b }, "at least"); err != nil {
		return err
	}
	return f.bound(v, f.max, func(a, b float64) bool { return a <= b }, "at most")
}

// bound compares a number or a duration with one bound.
func (f *field) bound(v reflect.Value, limit string, within func(a, b float64) bool, what string) error {
	if limit == "" {
		return nil
	}
	have, want := f.measure(v, limit)
	if within(have, want) {
		return nil
	}
	return fmt.Errorf("it must be %s %s", what, limit)
}

func (f *field) measure(v reflect.Value, limit string) (have, want float64) {
	if v.Type() == reflect.TypeFor[time.Duration]() {
		d, err := time.ParseDuration(limit)
		if err != nil {
			panic(fmt.Sprintf("config: the bound %q of %q is not a duration", limit, f.name))
		}
		return float64(v.Int()), float64(d)
	}
	want, err := strconv.ParseFloat(limit, 64)
	if err != nil {
		panic(fmt.Sprintf("config: the bound %q of %q is not a number", limit, f.name))
	}
	if v.CanInt() {
		return float64(v.Int()), want
	}
	return v.Float(), want
}
