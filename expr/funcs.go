package expr

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/pipeamqp/pipe/engine"
)

// tableFunction is an entry of the one table that calls, folding and the reference are made from.
type tableFunction struct {
	name   string
	params []param
	// least is how many arguments there must be. With many, the last parameter stands for any number.
	least int
	many  bool
	// changes says that two calls with the same arguments differ.
	changes bool
	doc     string
	example string // an expression that needs no message
	call    builtin
	// bind, where there is one, makes the call for a first argument that is constant.
	bind func(first value, at *place) (builtin, *Error)
	// text, where there is one, appends the result to text that is being made.
	text func(dst []byte, args []value) []byte
	// shorten, where there is one, gives a call a shorter way to its value, if its arguments allow that.
	shorten func(n *node, args []node, at *site)
	// group is set when the table is made.
	group string
}

// builtin is what a function does. The arguments are converted, and only lent.
type builtin func(e *env, args []value, at *site) (value, *Error)

// param is a parameter; an argument is converted to its type before the call.
type param struct {
	name string
	kind paramKind
}

type paramKind uint8

const (
	anyParam paramKind = iota
	stringParam
	numberParam
	boolParam
	listParam
	objectParam
	pathParam // the expression itself matters, not its value alone
)

func (k paramKind) String() string {
	return [...]string{"any", "string", "number", "bool", "list", "object", "path"}[k]
}

// site is a call: where it and its arguments stand.
type site struct {
	place
	args []*place
}

// arg is the place of an argument.
func (s *site) arg(i int) *place { return s.args[i] }

// Function describes a function of the language.
type Function struct {
	Name      string
	Group     string // "Strings"
	Signature string // "substr(s string, offset number, length number)"
	Doc       string
	Example   string // an expression that needs no message
	Result    string // its value as JSON; empty where it differs from call to call
}

// Functions lists the functions by group, and by name in each. It is for reference pages.
func Functions() []Function {
	var list []Function
	for _, g := range functionGroups {
		names := make(map[string]*tableFunction, len(g.functions))
		for i := range g.functions {
			names[g.functions[i].name] = &g.functions[i]
		}
		for _, name := range sortedKeys(names) {
			list = append(list, names[name].describe())
		}
	}
	return list
}

func (f *tableFunction) describe() Function {
	d := Function{Name: f.name, Group: f.group, Signature: f.signature(), Doc: f.doc, Example: f.example}
	if !f.changes {
		out, err := must(ParseValue(f.example)).AppendJSON(nil, engine.NewMessage([]byte("{}"), nil))
		d.Result = string(must(out, err))
	}
	return d
}

func (f *tableFunction) signature() string {
	var b strings.Builder
	b.WriteString(f.name + "(")
	for i, p := range f.params {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.name + " " + p.kind.String())
		switch {
		case f.many && i == len(f.params)-1:
			b.WriteString("...")
		case i >= f.least:
			b.WriteString("?")
		}
	}
	return b.String() + ")"
}

// param returns the parameter of an argument.
func (f *tableFunction) param(i int) param { return f.params[min(i, len(f.params)-1)] }

// takes says why a number of arguments does not fit, or nothing.
func (f *tableFunction) takes(count int) string {
	switch {
	case count < f.least:
		return fmt.Sprintf("%s: the argument %q is missing", f.signature(), f.params[count].name)
	case count > len(f.params) && !f.many:
		return fmt.Sprintf("%s takes %d at most, and was given %d", f.signature(), len(f.params), count)
	}
	return ""
}

// functionGroups is the table, in the order of the reference.
var functionGroups = []struct {
	name      string
	functions []tableFunction
}{
	{"Absent values", pathFunctions},
	{"Strings", stringFunctions},
	{"Regular expressions", patternFunctions},
	{"Numbers", numberFunctions},
	{"Lists and objects", collectionFunctions},
	{"Types", typeFunctions},
	{"Encodings", encodingFunctions},
	{"Hashes and ids", hashFunctions},
	{"Time", timeFunctions},
	{"Networks", networkFunctions},
}

var functions = tabulate()

func tabulate() map[string]*tableFunction {
	table := make(map[string]*tableFunction)
	for _, g := range functionGroups {
		for i := range g.functions {
			f := &g.functions[i]
			f.group, table[f.name] = g.name, f
		}
	}
	return table
}

// convert makes what a parameter takes of an argument.
func (p param) convert(v value, at *place) (value, *Error) {
	switch p.kind {
	case stringParam:
		return toString(v, at)
	case numberParam:
		return toNumber(v, at)
	case boolParam:
		return toBool(v, at)
	case listParam:
		if v.kind != kindList {
			return v, at.fail("not a list but %t", v)
		}
	case objectParam:
		if v.kind != kindObject {
			return v, at.fail("not an object but %t", v)
		}
	}
	return v, nil
}

// pathFunctions look at whether a path leads anywhere. The compiler makes them itself.
var pathFunctions = []tableFunction{
	{
		name: "has", params: []param{{"path", pathParam}}, least: 1,
		doc:     "Whether a path leads to a value, be it null. has(body) is whether the body is JSON.",
		example: `has(body.customer)`,
	},
	{
		name: "get", params: []param{{"path", pathParam}, {"default", anyParam}}, least: 2,
		doc:     "The value that a path leads to; the default where it leads nowhere or to null.",
		example: `get(msg.headers["x-tier"], "none")`,
	},
	{
		name: "coalesce", params: []param{{"values", pathParam}}, least: 1, many: true,
		doc:     "The first value that is there and is neither null nor an empty string. Those after it are not evaluated.",
		example: `coalesce(msg.message_id, "", "none")`,
	},
}

// call compiles a function call.
func (c *compiler) call(e *hclsyntax.FunctionCallExpr) node {
	f, ok := functions[e.Name]
	if d := c.scope.defined[e.Name]; d != nil {
		return c.inline(d, e)
	}
	if !ok {
		return c.startCall(e)
	}
	if e.ExpandFinal {
		if f.call == nil {
			c.report(e.Range(), "Unsupported argument", "%s does not take its arguments from a list.", f.name)
			return c.failed(e.Range())
		}
	} else if why := f.takes(len(e.Args)); why != "" {
		c.report(e.Range(), "Wrong number of arguments", "%s.", why)
		return c.failed(e.Range())
	}
	args := make([]node, len(e.Args))
	for i, arg := range e.Args {
		args[i] = c.argument(f.param(i), arg)
	}
	n := over(e.Range(), args...)
	n.dynamic = n.dynamic || f.changes
	if n.broken {
		return n
	}
	if f.call == nil {
		return c.pathCall(f.name, n, args)
	}
	return c.tableCall(f, n, args, e.ExpandFinal)
}

// argument compiles an argument.
func (c *compiler) argument(p param, e hclsyntax.Expression) node {
	defer c.probe(p.kind == pathParam)()
	if c.probing {
		return c.lazily(e)
	}
	return c.compile(e)
}

// startCall compiles a call of a function that only exists at start, as env.
func (c *compiler) startCall(e *hclsyntax.FunctionCallExpr) node {
	names := append(sortedKeys(functions), sortedKeys(c.scope.defined)...)
	for ctx := c.scope.start; ctx != nil; ctx = ctx.Parent() {
		if _, ok := ctx.Functions[e.Name]; ok {
			return c.startValue(e)
		}
		names = append(names, sortedKeys(ctx.Functions)...)
	}
	c.report(e.NameRange, "Unknown function", "There is no function named %q.%s", e.Name, suggest(e.Name, names))
	return c.failed(e.Range())
}

func (c *compiler) startValue(e *hclsyntax.FunctionCallExpr) node {
	args := make([]node, len(e.Args))
	for i, arg := range e.Args {
		args[i] = c.compile(arg)
	}
	n := over(e.Range(), args...)
	if n.broken {
		return n
	}
	if n.dynamic || n.locals != noLocal {
		c.report(e.Range(), "Only known per message",
			"%s is called once, at start: its arguments cannot refer to a message.", e.Name)
		return c.failed(e.Range())
	}
	v, diags := e.Value(c.scope.start)
	c.diags = append(c.diags, diags...)
	if diags.HasErrors() {
		return c.failed(e.Range())
	}
	known := c.known(v, n.at)
	known.settable = true // in the environment
	return known
}

// tableCall compiles a call of a function of the table.
func (c *compiler) tableCall(f *tableFunction, n node, args []node, expand bool) node {
	at := &site{place: *n.at, args: make([]*place, len(args))}
	for i := range args {
		at.args[i] = args[i].at
		if v := args[i].constant; v != nil && !(expand && i == len(args)-1) {
			if _, err := f.param(i).convert(*v, args[i].at); err != nil {
				c.mistake(err)
			}
		}
	}
	if f.bind != nil && args[0].constant != nil && !expand {
		f = c.bound(f, *args[0].constant, at)
	}
	invoke := f.invoke(args, at)
	if expand {
		invoke = f.invokeExpanded(args, at)
	}
	n.eval = func(e *env) (value, *Error) {
		base := len(e.args)
		v, err := invoke(e)
		e.args = e.args[:base]
		return v, err
	}
	if f.text != nil && !expand {
		n.text = f.appendTo(args, at)
	}
	if f.shorten != nil && !expand {
		f.shorten(&n, args, at)
	}
	return n
}

// bound is a function whose first argument is constant.
func (c *compiler) bound(f *tableFunction, first value, at *site) *tableFunction {
	first, err := f.params[0].convert(first, at.arg(0))
	if err != nil {
		return f // reported with the other arguments
	}
	call, err := f.bind(first, at.arg(0))
	if err != nil {
		c.mistake(err)
		return f
	}
	b := *f
	b.call = call
	return &b
}

// evaluate pushes the converted arguments; they are e.args from base on.
func (f *tableFunction) evaluate(e *env, args []node) *Error {
	for i := range args {
		v, err := args[i].eval(e)
		if err == nil {
			v, err = f.param(i).convert(v, args[i].at)
		}
		if err == nil && (v.kind == kindString || v.kind == kindBytes) {
			err = e.look(len(v.str), args[i].at)
		}
		if err != nil {
			return err
		}
		e.args = append(e.args, v)
	}
	return nil
}

func (f *tableFunction) invoke(args []node, at *site) eval {
	return func(e *env) (value, *Error) {
		base := len(e.args)
		if err := f.evaluate(e, args); err != nil {
			return value{}, err
		}
		return f.call(e, e.args[base:], at)
	}
}

// appendTo compiles a call whose result goes straight into a text.
func (f *tableFunction) appendTo(args []node, at *site) func(*env) *Error {
	return func(e *env) *Error {
		base := len(e.args)
		if err := f.evaluate(e, args); err != nil {
			return err
		}
		e.text = f.text(e.text, e.args[base:])
		e.args = e.args[:base]
		return e.tooLong(&at.place)
	}
}

// invokeExpanded takes the last arguments from a list: f(args...).
func (f *tableFunction) invokeExpanded(args []node, at *site) eval {
	fixed, last := args[:len(args)-1], args[len(args)-1]
	return func(e *env) (value, *Error) {
		base := len(e.args)
		if err := f.evaluate(e, fixed); err != nil {
			return value{}, err
		}
		list, err := last.eval(e)
		if err == nil && list.kind != kindList {
			err = last.at.fail("not a list but %t", list)
		}
		if err != nil {
			return value{}, err
		}
		c, err := e.open(list, last.at)
		if err != nil {
			return value{}, err
		}
		here := *at
		here.args = at.args[:len(fixed):len(fixed)]
		for i, v := range c.items {
			if v, err = f.param(len(fixed)+i).convert(v, last.at); err != nil {
				return v, err
			}
			e.args = append(e.args, v)
			here.args = append(here.args, last.at)
		}
		if why := f.takes(len(e.args) - base); why != "" {
			return value{}, at.fail("cannot be called: "+why, missing)
		}
		return f.call(e, e.args[base:], &here)
	}
}

// pathCall compiles has, get and coalesce.
func (c *compiler) pathCall(name string, n node, args []node) node {
	if name != "coalesce" && args[0].opt == nil {
		c.report(args[0].at.rng, "Not a path", "%s looks at a path, as body.customer.tier or msg.headers[\"x\"].", name)
		return c.failed(n.at.rng)
	}
	switch name {
	case "has":
		opt := args[0].opt
		n.eval = func(e *env) (value, *Error) {
			v, err := opt(e)
			return boolValue(v.kind != kindMissing), err
		}
	case "get":
		n.eval = get(args[0].opt, args[1].eval)
	case "coalesce":
		n.eval = coalesce(args, n.at)
	}
	return n
}

func get(path, fallback eval) eval {
	return func(e *env) (value, *Error) {
		v, err := path(e)
		if err != nil || v.kind > kindNull {
			return v, err
		}
		return fallback(e)
	}
}

func coalesce(args []node, at *place) eval {
	evals := make([]eval, len(args))
	for i := range args {
		if evals[i] = args[i].opt; evals[i] == nil {
			evals[i] = args[i].eval
		}
	}
	return func(e *env) (value, *Error) {
		for _, evaluate := range evals {
			v, err := evaluate(e)
			if err != nil || v.kind > kindNull && (v.kind != kindString || v.str != "") {
				return v, err
			}
		}
		return value{}, at.fail("every value is absent, null or an empty string", missing)
	}
}
