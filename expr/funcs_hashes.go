package expr

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"

	"github.com/google/uuid"
)

var hashFunctions = []tableFunction{
	hashFunction("md5", "MD5, which is no protection against anyone who means harm", md5.New),
	hashFunction("sha1", "SHA-1, which is no protection against anyone who means harm", sha1.New),
	hashFunction("sha256", "SHA-256", sha256.New),
	hashFunction("sha512", "SHA-512", sha512.New),
	hmacFunction("hmacsha1", "SHA-1", sha1.New),
	hmacFunction("hmacsha256", "SHA-256", sha256.New),
	hmacFunction("hmacsha512", "SHA-512", sha512.New),
	{
		name: "uuid", changes: true,
		doc:     "A new random UUID (version 4).",
		example: `uuid()`,
		call:    newUUID(uuid.NewRandom),
	},
	{
		name: "uuidv5", params: []param{{"namespace", stringParam}, {"name", stringParam}}, least: 2,
		doc:     "The UUID (version 5) of a name in a namespace, always the same one: \"dns\", \"url\", \"oid\", \"x500\" or a UUID. It makes a stable message id of what identifies a message.",
		example: `uuidv5("dns", "example.com")`,
		call:    uuidV5,
	},
	{
		name: "uuidv7", changes: true,
		doc:     "A new UUID (version 7): it begins with the time, so that later ones are ordered after earlier ones.",
		example: `uuidv7()`,
		call:    newUUID(uuid.NewV7),
	},
}

func hashFunction(name, what string, h func() hash.Hash) tableFunction {
	return tableFunction{
		name: name, params: []param{{"v", anyParam}}, least: 1,
		doc:     "The hash of the string or bytes, in hexadecimal: " + what + ".",
		example: name + `("abc")`,
		call: func(_ *env, args []value, at *site) (value, *Error) {
			return digest(h(), args[0], at.arg(0))
		},
	}
}

func hmacFunction(name, what string, h func() hash.Hash) tableFunction {
	return tableFunction{
		name: name, params: []param{{"key", anyParam}, {"v", anyParam}}, least: 2,
		doc:     "The HMAC of the string or bytes with a key, in hexadecimal: " + what + ".",
		example: name + `("key", "abc")`,
		call: func(_ *env, args []value, at *site) (value, *Error) {
			key, err := octets(args[0], at.arg(0))
			if err != nil {
				return value{}, err
			}
			return digest(hmac.New(h, unalias(key.str)), args[1], at.arg(1))
		},
	}
}

// digest is what a hash has after a string or bytes, in hexadecimal.
func digest(h hash.Hash, v value, at *place) (value, *Error) {
	v, err := octets(v, at)
	if err != nil {
		return value{}, err
	}
	h.Write(unalias(v.str))
	return stringValue(hex.EncodeToString(h.Sum(nil))), nil
}

func newUUID(make func() (uuid.UUID, error)) builtin {
	return func(_ *env, _ []value, at *site) (value, *Error) {
		id, err := make()
		if err != nil {
			return value{}, at.failed("no random numbers", err)
		}
		return stringValue(id.String()), nil
	}
}

var uuidNamespaces = map[string]uuid.UUID{
	"dns": uuid.NameSpaceDNS, "url": uuid.NameSpaceURL, "oid": uuid.NameSpaceOID, "x500": uuid.NameSpaceX500,
}

func uuidV5(_ *env, args []value, at *site) (value, *Error) {
	space, ok := uuidNamespaces[args[0].str]
	if !ok {
		var err error
		if space, err = uuid.Parse(args[0].str); err != nil {
			return value{}, at.arg(0).fail("not a namespace: \"dns\", \"url\", \"oid\", \"x500\" or a UUID", args[0])
		}
	}
	return stringValue(uuid.NewSHA1(space, unalias(args[1].str)).String()), nil
}
