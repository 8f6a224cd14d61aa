package expr

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"time"
	"unicode/utf8"
)

var encodingFunctions = []tableFunction{
	{
		name: "jsonencode", params: []param{{"v", anyParam}}, least: 1,
		doc:  "The value as JSON. What comes from a body and was not changed is copied as it is written there.",
		call: jsonEncode,
	},
	{
		name: "jsondecode", params: []param{{"s", stringParam}}, least: 1,
		doc:  "The value that the string is the JSON of.",
		call: jsonDecode,
	},
	{
		name: "base64encode", params: []param{{"v", anyParam}}, least: 1,
		doc:  "The string or bytes in base64.",
		call: base64Encode,
	},
	{
		name: "base64decode", params: []param{{"s", stringParam}}, least: 1,
		doc:  "What the string is the base64 of: a string if that is UTF-8, else bytes.",
		call: base64Decode,
	},
	{
		name: "sha256", params: []param{{"v", anyParam}}, least: 1,
		doc:  "The SHA-256 of the string or bytes, in hexadecimal.",
		call: sha256Hex,
	},
	{
		name: "uuid", changes: true,
		doc:  "A new random UUID (version 4).",
		call: uuid,
	},
	{
		name: "now", changes: true,
		doc:  "The time of the call, as a timestamp.",
		call: func(*env, []value, *site) (value, *Error) { return timeValue(time.Now()), nil },
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

// octets takes a string or bytes as bytes.
func octets(v value, at *place) (value, *Error) {
	if v.kind == kindBytes {
		return v, nil
	}
	return toString(v, at)
}

func base64Encode(e *env, args []value, at *site) (value, *Error) {
	v, err := octets(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	from := len(e.text)
	e.text = base64.StdEncoding.AppendEncode(e.text, unalias(v.str))
	return e.makeString(from, &at.place)
}

func base64Decode(e *env, args []value, at *site) (value, *Error) {
	if err := e.spend(len(args[0].str), &at.place); err != nil {
		return value{}, err
	}
	b, err := base64.StdEncoding.DecodeString(args[0].str)
	if err != nil {
		return value{}, at.arg(0).failed("not base64", err)
	}
	if utf8.Valid(b) {
		return stringValue(alias(b)), nil
	}
	return bytesValue(b), nil
}

func sha256Hex(_ *env, args []value, at *site) (value, *Error) {
	v, err := octets(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	sum := sha256.Sum256(unalias(v.str))
	return stringValue(hex.EncodeToString(sum[:])), nil
}

func uuid(*env, []value, *site) (value, *Error) {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	out := make([]byte, 36)
	hex.Encode(out, b[:4])
	hex.Encode(out[9:], b[4:6])
	hex.Encode(out[14:], b[6:8])
	hex.Encode(out[19:], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return stringValue(alias(out)), nil
}
