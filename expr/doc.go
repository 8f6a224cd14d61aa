// Package expr compiles expressions about messages: HCL's syntax, made into Go closures once and
// evaluated for each message.
package expr
