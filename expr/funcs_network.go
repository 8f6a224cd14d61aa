package expr

import (
	"net/netip"
	"strings"
)

var networkFunctions = []tableFunction{
	{
		name: "cidrcontains", params: []param{{"prefix", stringParam}, {"address", stringParam}}, least: 2,
		doc:     "Whether the network, as 10.0.0.0/8 or 2001:db8::/32, has the address, or all of another network.",
		example: `cidrcontains("10.0.0.0/8", "10.1.2.3")`,
		call:    cidrContains,
	},
	{
		name: "cidrhost", params: []param{{"prefix", stringParam}, {"number", numberParam}}, least: 2,
		doc:     "The address with a number in the network; a negative number counts from its end.",
		example: `cidrhost("10.12.112.0/20", 16)`,
		call:    cidrHost,
	},
	{
		name: "isip", params: []param{{"s", stringParam}}, least: 1,
		doc:     "Whether the string is an IP address, of version 4 or 6.",
		example: `isip("::1")`,
		call: func(_ *env, args []value, _ *site) (value, *Error) {
			_, err := netip.ParseAddr(args[0].str)
			return boolValue(err == nil), nil
		},
	},
}

func toPrefix(v value, at *place) (netip.Prefix, *Error) {
	p, err := netip.ParsePrefix(v.str)
	if err != nil {
		return p, at.fail("not a network, as 10.0.0.0/8", v)
	}
	return p.Masked(), nil
}

func cidrContains(_ *env, args []value, at *site) (value, *Error) {
	network, failed := toPrefix(args[0], at.arg(0))
	if failed != nil {
		return value{}, failed
	}
	if strings.Contains(args[1].str, "/") {
		inner, failed := toPrefix(args[1], at.arg(1))
		return boolValue(network.Bits() <= inner.Bits() && network.Contains(inner.Addr())), failed
	}
	address, err := netip.ParseAddr(args[1].str)
	if err != nil {
		return value{}, at.arg(1).fail("not an IP address", args[1])
	}
	return boolValue(network.Contains(address.Unmap().WithZone(""))), nil
}

func cidrHost(_ *env, args []value, at *site) (value, *Error) {
	network, err := toPrefix(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	number, err := toInt(args[1], at.arg(1))
	if err != nil {
		return value{}, err
	}
	bits := network.Addr().BitLen() - network.Bits()
	if bits < 63 && (number >= 1<<bits || number < -(1<<bits)) {
		return value{}, at.arg(1).fail("the network has no such address", args[1])
	}
	address := network.Addr().AsSlice()
	carry := number
	for i := len(address) - 1; i >= network.Bits()/8; i-- {
		host := 8 * (len(address) - i) // how many bits of the host part are in this byte and after it
		mask := byte(0xff)
		if host > bits {
			mask = byte(1<<(bits-host+8)) - 1
		}
		address[i] |= byte(carry) & mask
		carry >>= 8
	}
	out, _ := netip.AddrFromSlice(address)
	return stringValue(out.String()), nil
}
