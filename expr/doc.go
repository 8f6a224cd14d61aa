// Package expr compiles expressions about messages: HCL's syntax, made into Go closures once and
// evaluated for each message.
//
// # Names
//
// body is the message's body as JSON, which is checked and searched once, when an expression first
// needs it: body.customer.tier, body.items[0].sku, body["a b"]. msg is all else: msg.headers["x"],
// msg.routing_key, msg.body as text, and the properties. error is what went wrong with a message that
// failed. Whatever else a [Scope] knows is known at start, and evaluated then.
//
// A path that leads nowhere is an error; has(path), get(path, default) and coalesce(…) ask first. An
// absent property is null. Of a key that comes twice in an object, the last counts; an edit changes
// both.
//
// # Where it differs from HCL
//
// HCL's own evaluator gives the same value, but for this:
//   - The branches of ? : keep their types, and only one is evaluated; && and || go from left to right
//     and no further than the answer needs.
//   - Numbers are int64, and float64 where they are not whole or do not fit. An int64 that overflows,
//     a division by zero and a result that no float64 holds are errors. A number that is only passed
//     on keeps the digits that it is written with. As text, a number has an exponent from 1e21 on and
//     below 1e-6, and zero no sign.
//   - Strings are ordered by < and >, byte by byte, and are not normalised. A timestamp is ordered
//     with a string in RFC 3339, but not equal to it.
//   - An object keeps the order in which it is written; loops go through its keys in the order of
//     their bytes, as HCL's do.
//   - Bytes and timestamps, which headers have, are types of their own.
//
// # Bounds
//
// An evaluation may produce 64 MiB and look through 64 MiB more than the body 16 times over; a list
// may have a million elements to be looked into, JSON be nested 1000 deep, and a regular expression
// have 1000 bytes. What goes beyond is an error of that message.
package expr
