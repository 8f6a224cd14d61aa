package expr

import (
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// terraform are the functions that have Terraform's names, as the library has them that Terraform uses.
var terraform = map[string]function.Function{
	"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "chomp": stdlib.ChompFunc, "chunklist": stdlib.ChunklistFunc, "compact": stdlib.CompactFunc,
	"concat": stdlib.ConcatFunc, "csvdecode": stdlib.CSVDecodeFunc, "distinct": stdlib.DistinctFunc, "element": stdlib.ElementFunc, "flatten": stdlib.FlattenFunc,
	"floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "formatdate": stdlib.FormatDateFunc, "indent": stdlib.IndentFunc, "index": stdlib.IndexFunc,
	"join": stdlib.JoinFunc, "jsondecode": stdlib.JSONDecodeFunc, "jsonencode": stdlib.JSONEncodeFunc, "keys": stdlib.KeysFunc,
	"log": stdlib.LogFunc, "lower": stdlib.LowerFunc, "max": stdlib.MaxFunc, "merge": stdlib.MergeFunc, "min": stdlib.MinFunc, "parseint": stdlib.ParseIntFunc,
	"pow": stdlib.PowFunc, "range": stdlib.RangeFunc, "regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc,
	"replace": stdlib.ReplaceFunc, "reverse": stdlib.ReverseListFunc, "signum": stdlib.SignumFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc,
	"split": stdlib.SplitFunc, "strrev": stdlib.ReverseFunc, "substr": stdlib.SubstrFunc, "timeadd": stdlib.TimeAddFunc, "trim": stdlib.TrimFunc,
	"trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc, "upper": stdlib.UpperFunc, "values": stdlib.ValuesFunc,
	"zipmap": stdlib.ZipmapFunc, "setunion": stdlib.SetUnionFunc, "setintersection": stdlib.SetIntersectionFunc, "setsubtract": stdlib.SetSubtractFunc,
}

// notTerraform are the cases of the conformance files that differ from what Terraform's functions
// give, and why.
var notTerraform = map[string]string{
	`jsonencode({a = body.n, b = "\"<é>"})`:     "JSON is written with as few escapes as it needs",
	`csvdecode("1,2\n3,4", ["a", "b"])`:         "the columns can be named",
	`csvdecode("1;2", ["a"])[0].a`:              "the columns can be named",
	`csvdecode("")`:                             "no rows are an empty list",
	`index(body.words, "a")`:                    "elements may be of different types",
	`sort(body.list)`:                           "numbers are sorted as numbers",
	`sort([10, 9.5, -1])`:                       "numbers are sorted as numbers",
	`distinct([1, 1.0, "1", true, null, null])`: "elements keep their types",
	`distinct([[1], [1.0], {a = 1}, {a = 1}])`:  "elements may be of different types",
	`compact([0, false])`:                       "elements keep their types",
	`setunion(body.list)`:                       "the order is that of the lists",
	`floor(body.big)`:                           "fractions are float64",
	`regex("(?P<n>[0-9]+)-([a-z]+)", body.s)`:   "groups without a name may be beside those with one",
	`formatdate("YYYY", 0)`:                     "seconds are timestamps, too",
	`timeadd(body.t, "1h30m")`:                  "timestamps are in UTC",
	`timeadd(body.sec, 0.5)`:                    "seconds are timestamps and durations, too",
	`timeadd(body.sec, -60)`:                    "seconds are timestamps and durations, too",
}

// TestAgainstTerraform evaluates the cases of the conformance files with Terraform's functions, where
// it has them.
func TestAgainstTerraform(t *testing.T) {
	compared := map[string]bool{}
	for _, name := range conformanceFiles(t) {
		sections := conformanceSections(t, name)
		functions := StartFunctions()
		for name, f := range terraform {
			functions[name] = f
		}
		ctx := &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"body": ctyBody(t, sections["body"])}}
		for c := range conformanceCases(t, sections) {
			e, ok := comparableCase(t, c)
			if !ok {
				continue
			}
			for name := range terraform {
				compared[name] = compared[name] || callsFunction(e, name)
			}
			got := "an error"
			if v, diags := e.Value(ctx); !diags.HasErrors() {
				got = ctyText(t, v)
			}
			_, deviates := notTerraform[c.source]
			if _, more := deviations[c.source]; more {
				continue
			}
			if same := got != "an error" && sameJSON(t, got, c.want); same == deviates {
				t.Errorf("%s is %s in Terraform, and %s here", c.source, got, c.want)
			}
		}
	}
	for name := range terraform {
		if !compared[name] {
			t.Errorf("nothing compares %s", name)
		}
	}
}
