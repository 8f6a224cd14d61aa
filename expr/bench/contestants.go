package main

import (
	"fmt"

	"github.com/bytedance/sonic"
	"github.com/bytedance/sonic/encoder"
	lang "github.com/expr-lang/expr"
	"github.com/expr-lang/expr/vm"
	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/expr"
)

func compilePipe(tasks []task) (program, error) {
	scope := expr.NewScope(nil)
	evals := make([]func(m *engine.Message) (any, error), len(tasks))
	for i, t := range tasks {
		e, diags := hclsyntax.ParseExpression([]byte(t.pipe), t.name, hcl.InitialPos)
		if diags.HasErrors() {
			return nil, diags
		}
		if evals[i], diags = compilePipeTask(scope, t.kind, e); diags.HasErrors() {
			return nil, diags
		}
	}
	m := &engine.Message{}
	results := make([]any, len(tasks))
	return func(body []byte) (_ []any, err error) {
		m.Body = body
		m.SetDecoded(nil)
		for i, eval := range evals {
			if results[i], err = eval(m); err != nil {
				return nil, err
			}
		}
		return results, nil
	}, nil
}

func compilePipeTask(scope *expr.Scope, k kind, e hcl.Expression) (func(m *engine.Message) (any, error), hcl.Diagnostics) {
	switch k {
	case condition:
		b, diags := scope.Bool(e)
		return func(m *engine.Message) (any, error) { return b.Eval(m) }, diags
	case text:
		s, diags := scope.String(e)
		last := ""
		return func(m *engine.Message) (_ any, err error) {
			last, err = s.Eval(m)
			return &last, err
		}, diags
	}
	v, diags := scope.Value(e)
	var out []byte
	return func(m *engine.Message) (_ any, err error) {
		out, err = v.AppendJSON(out[:0], m)
		return &out, err
	}, diags
}

// finish makes JSON of a value, where a task asks for it, in memory that is used again, as pipe's is.
func finish(k kind, v any, out *[]byte) (any, error) {
	if k != document {
		return v, nil
	}
	*out = (*out)[:0]
	return out, encoder.EncodeInto(out, v, 0)
}

func decode(body []byte) (map[string]any, error) {
	var v map[string]any
	if err := sonic.Unmarshal(body, &v); err != nil {
		return nil, err
	}
	return map[string]any{"body": v}, nil
}

func compileLang(tasks []task) (program, error) {
	programs := make([]*vm.Program, len(tasks))
	for i, t := range tasks {
		p, err := lang.Compile(t.lang)
		if err != nil {
			return nil, err
		}
		programs[i] = p
	}
	machine := &vm.VM{}
	results, outs := make([]any, len(tasks)), make([][]byte, len(tasks))
	return func(body []byte) ([]any, error) {
		env, err := decode(body)
		if err != nil {
			return nil, err
		}
		for i, p := range programs {
			v, err := machine.Run(p, env)
			if err != nil {
				return nil, err
			}
			if results[i], err = finish(tasks[i].kind, v, &outs[i]); err != nil {
				return nil, err
			}
		}
		return results, nil
	}, nil
}

func compileCEL(tasks []task) (program, error) {
	env, err := cel.NewEnv(cel.Variable("body", cel.DynType), ext.Strings())
	if err != nil {
		return nil, err
	}
	programs := make([]cel.Program, len(tasks))
	for i, t := range tasks {
		ast, issues := env.Compile(t.cel)
		if issues.Err() != nil {
			return nil, issues.Err()
		}
		if programs[i], err = env.Program(ast, cel.EvalOptions(cel.OptOptimize)); err != nil {
			return nil, err
		}
	}
	results, outs := make([]any, len(tasks)), make([][]byte, len(tasks))
	return func(body []byte) ([]any, error) {
		vars, err := decode(body)
		if err != nil {
			return nil, err
		}
		for i, p := range programs {
			v, _, err := p.Eval(vars)
			if err != nil {
				return nil, err
			}
			if results[i], err = celResult(tasks[i].kind, v, &outs[i]); err != nil {
				return nil, err
			}
		}
		return results, nil
	}, nil
}

func compileHCL(tasks []task) (program, error) {
	list := make([]hclsyntax.Expression, len(tasks))
	for i, t := range tasks {
		e, diags := hclsyntax.ParseExpression([]byte(t.pipe), t.name, hcl.InitialPos)
		if diags.HasErrors() {
			return nil, diags
		}
		list[i] = e
	}
	functions := map[string]function.Function{
		"contains": stdlib.ContainsFunc, "lower": stdlib.LowerFunc, "upper": stdlib.UpperFunc,
	}
	return func(body []byte) ([]any, error) {
		ty, err := ctyjson.ImpliedType(body)
		if err != nil {
			return nil, err
		}
		v, err := ctyjson.Unmarshal(body, ty)
		if err != nil {
			return nil, err
		}
		ctx := &hcl.EvalContext{Functions: functions, Variables: map[string]cty.Value{"body": v}}
		results := make([]any, len(tasks))
		for i, e := range list {
			out, diags := e.Value(ctx)
			if diags.HasErrors() {
				return nil, diags
			}
			if results[i], err = hclResult(tasks[i].kind, out); err != nil {
				return nil, err
			}
		}
		return results, nil
	}, nil
}

func hclResult(k kind, v cty.Value) (any, error) {
	switch k {
	case condition:
		return v.True(), nil
	case text:
		return v.AsString(), nil
	case document:
		return ctyjson.SimpleJSONValue{Value: v}.MarshalJSON()
	}
	return nil, fmt.Errorf("what is %v?", k)
}
