package main

import (
	"reflect"

	"github.com/google/cel-go/common/types/ref"
)

var (
	objectType = reflect.TypeFor[map[string]any]()
	listType   = reflect.TypeFor[[]map[string]any]()
)

// celResult takes a value out of CEL's own types.
func celResult(k kind, v ref.Val, out *[]byte) (any, error) {
	if k != document {
		return v.Value(), nil
	}
	native, err := v.ConvertToNative(objectType)
	if err != nil {
		native, err = v.ConvertToNative(listType)
	}
	if err != nil {
		return nil, err
	}
	return finish(k, native, out)
}
