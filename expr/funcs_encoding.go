package expr

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strings"
	"unicode/utf8"
)

var encodingFunctions = []tableFunction{
	{
		name: "jsonencode", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The value as JSON. What comes from a body and was not changed is copied as it is written there.",
		example: `jsonencode({a = [1, "x"]})`,
		call:    jsonEncode,
	},
	{
		name: "jsondecode", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The value that the string is the JSON of.",
		example: `jsondecode("[1.50, true]")[0]`,
		call:    jsonDecode,
	},
	{
		name: "base64encode", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The string or bytes in base64.",
		example: `base64encode("héllo")`,
		call:    encoding(base64.StdEncoding.AppendEncode),
	},
	{
		name: "base64decode", params: []param{{"s", stringParam}}, least: 1,
		doc:     "What the string is the base64 of: a string if that is UTF-8, else bytes.",
		example: `base64decode("aMOpbGxv")`,
		call:    decoding("base64", base64.StdEncoding.DecodeString),
	},
	{
		name: "hexencode", params: []param{{"v", anyParam}}, least: 1,
		doc:     "The string or bytes in hexadecimal, with small letters.",
		example: `hexencode("AZ")`,
		call:    encoding(hex.AppendEncode),
	},
	{
		name: "hexdecode", params: []param{{"s", stringParam}}, least: 1,
		doc:     "What the string is the hexadecimal of: a string if that is UTF-8, else bytes.",
		example: `hexdecode("415a")`,
		call:    decoding("hexadecimal", hex.DecodeString),
	},
	{
		name: "urlencode", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The string as it is written in the query of a URL: a space becomes a plus sign.",
		example: `urlencode("a b/c")`,
		call:    urlEncode,
	},
	{
		name: "urldecode", params: []param{{"s", stringParam}}, least: 1,
		doc:     "What is written as it is in the query of a URL.",
		example: `urldecode("a+b%2Fc")`,
		call:    urlDecode,
	},
	{
		name: "csvdecode", params: []param{{"s", stringParam}, {"columns", listParam}}, least: 1,
		doc:     "The rows of comma-separated values (RFC 4180) as objects of strings. The first row has the names of the columns, unless they are given.",
		example: `csvdecode("a,b\n1,\"x, y\"")`,
		call:    csvDecode,
	},
	{
		name: "csvencode", params: []param{{"rows", listParam}, {"columns", listParam}}, least: 2,
		doc:     "The columns that are named, of every object of a list, as comma-separated values. There is no row of names. What an object lacks, or has as null, is left empty.",
		example: `csvencode([{a = 1, b = "x, y"}], ["a", "b"])`,
		call:    csvEncode,
	},
}

func jsonEncode(e *env, args []value, at *site) (value, *Error) {
	from := len(e.text)
	var err *Error
	if e.text, err = appendJSON(e.text, args[0], at.arg(0)); err != nil {
		return value{}, err
	}
	return e.makeString(from, &at.place)
}

func jsonDecode(_ *env, args []value, at *site) (value, *Error) {
	text := args[0].str
	if err := checkJSON(text); err != nil {
		return value{}, at.arg(0).failed("not JSON", err)
	}
	start := skipSpace(text, 0)
	return rawValue(text[start:skipValue(text, start)]), nil
}

// encoding makes text of a string or bytes.
func encoding(encode func(dst, src []byte) []byte) builtin {
	return func(e *env, args []value, at *site) (value, *Error) {
		v, err := octets(args[0], at.arg(0))
		if err != nil {
			return value{}, err
		}
		from := len(e.text)
		e.text = encode(e.text, unalias(v.str))
		return e.makeString(from, &at.place)
	}
}

// decoding undoes encoding.
func decoding(what string, decode func(string) ([]byte, error)) builtin {
	return func(e *env, args []value, at *site) (value, *Error) {
		if err := e.spend(len(args[0].str), &at.place); err != nil {
			return value{}, err
		}
		b, err := decode(args[0].str)
		if err != nil {
			return value{}, at.arg(0).failed("not "+what, err)
		}
		if utf8.Valid(b) {
			return stringValue(alias(b)), nil
		}
		return bytesValue(b), nil
	}
}

func urlEncode(e *env, args []value, at *site) (value, *Error) {
	if err := e.spend(3*len(args[0].str), &at.place); err != nil {
		return value{}, err
	}
	return stringValue(url.QueryEscape(args[0].str)), nil
}

func urlDecode(e *env, args []value, at *site) (value, *Error) {
	if err := e.spend(len(args[0].str), &at.place); err != nil {
		return value{}, err
	}
	s, err := url.QueryUnescape(args[0].str)
	if err != nil {
		return value{}, at.arg(0).fail("not encoded as a URL is", args[0])
	}
	return stringValue(s), nil
}

func csvDecode(e *env, args []value, at *site) (value, *Error) {
	r := csv.NewReader(strings.NewReader(args[0].str))
	var columns []string
	if len(args) > 1 {
		var err *Error
		if columns, err = e.columns(args[1], at.arg(1)); err != nil {
			return value{}, err
		}
		r.FieldsPerRecord = len(columns)
	}
	var rows []value
	for {
		record, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return listValue(rows), nil
		case err != nil:
			return value{}, at.arg(0).failed("not comma-separated values", err)
		case columns == nil:
			columns = record
			continue
		}
		if err := e.spend(elementCost*(1+len(record)), &at.place); err != nil {
			return value{}, err
		}
		row := newObject(len(record))
		for i, field := range record {
			row.set(columns[i], stringValue(field))
		}
		rows = append(rows, row.value())
	}
}

func csvEncode(e *env, args []value, at *site) (value, *Error) {
	rows, err := e.open(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	columns, err := e.columns(args[1], at.arg(1))
	if err != nil {
		return value{}, err
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	record := make([]string, len(columns))
	for _, row := range rows.items {
		if row.kind != kindObject {
			return value{}, at.arg(0).fail("not a list of objects: it has %t", row)
		}
		spent := elementCost
		for i, name := range columns {
			cell, err := e.cell(row, name, at.arg(0))
			if err != nil {
				return value{}, err
			}
			record[i] = cell
			spent += 2*len(cell) + 3
		}
		if err := e.spend(spent, &at.place); err != nil {
			return value{}, err
		}
		_ = w.Write(record) // a strings.Builder takes everything
	}
	w.Flush()
	return stringValue(b.String()), nil
}

// columns returns the names of columns, of which there is one at least.
func (e *env) columns(v value, at *place) ([]string, *Error) {
	names, err := e.strings(v, at)
	if err == nil && len(names) == 0 {
		err = at.fail("no columns: the list is empty", missing)
	}
	return names, err
}

// cell is the text of a row's column.
func (e *env) cell(row value, name string, at *place) (string, *Error) {
	v, err := e.step(row, step{name, -1}, at)
	if err != nil || v.kind <= kindNull {
		return "", err
	}
	s, err := toString(v, at)
	return s.str, err
}

// strings returns the strings of a list.
func (e *env) strings(list value, at *place) ([]string, *Error) {
	c, err := e.open(list, at)
	if err != nil {
		return nil, err
	}
	out := make([]string, len(c.items))
	for i, item := range c.items {
		s, err := toString(item, at)
		if err != nil {
			return nil, err
		}
		out[i] = s.str
	}
	return out, nil
}
