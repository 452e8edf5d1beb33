// Package unit knows Grafana's ids of the units that people write: in names of metrics,
// in descriptions, and by themselves. It is pure, and returns no unit rather than one
// that may be wrong.
package unit

import (
	"regexp"
	"strings"
)

// Unit has Grafana's ids of a unit: for an amount, and for an amount per second. Each is
// empty if there is none.
type Unit struct{ Amount, Rate string }

// Seconds is the unit of durations. Seconds per second are a share of the time.
var Seconds = Unit{"s", "percentunit"}

var (
	bytes   = Unit{"bytes", "binBps"}
	bits    = Unit{"bits", "bps"}
	joules  = Unit{"joule", "watt"}
	meters  = Unit{"lengthm", "velocityms"}
	percent = Unit{Amount: "percent"}
	celsius = Unit{Amount: "celsius"}
)

// named are the units at the end of metric names, as Prometheus and sensors write them.
var named = map[string]Unit{
	"seconds":      Seconds,
	"bytes":        bytes,
	"bits":         bits,
	"joules":       joules,
	"meters":       meters,
	"percent":      percent,
	"celsius":      celsius,
	"ratio":        {Amount: "percentunit"},
	"nanoseconds":  {Amount: "ns"},
	"microseconds": {Amount: "µs"},
	"milliseconds": {Amount: "ms"},
	"ms":           {Amount: "ms"},
	"minutes":      {Amount: "m"},
	"hours":        {Amount: "h"},
	"days":         {Amount: "d"},
	"kilobytes":    {Amount: "deckbytes"},
	"megabytes":    {Amount: "decmbytes"},
	"gigabytes":    {Amount: "decgbytes"},
	"fahrenheit":   {Amount: "fahrenheit"},
	"kelvin":       {Amount: "kelvin"},
	"volts":        {Amount: "volt"},
	"volt":         {Amount: "volt"},
	"millivolts":   {Amount: "mvolt"},
	"amperes":      {Amount: "amp"},
	"ampere":       {Amount: "amp"},
	"milliamperes": {Amount: "mamp"},
	"ohms":         {Amount: "ohm"},
	"watts":        {Amount: "watt"},
	"watt":         {Amount: "watt"},
	"kilowatts":    {Amount: "kwatt"},
	"kw":           {Amount: "kwatt"},
	"wh":           {Amount: "watth"},
	"kwh":          {Amount: "kwatth"},
	"hertz":        {Amount: "hertz"},
	"hz":           {Amount: "hertz"},
	"grams":        {Amount: "massg"},
	"kilograms":    {Amount: "masskg"},
	"kg":           {Amount: "masskg"},
	"mm":           {Amount: "lengthmm"},
	"km":           {Amount: "lengthkm"},
	"pascals":      {Amount: "pressurepa"},
	"hpa":          {Amount: "pressurehpa"},
	"mbar":         {Amount: "pressurembar"},
	"lux":          {Amount: "lux"},
	"ppm":          {Amount: "ppm"},
	"ppb":          {Amount: "conppb"},
	"rpm":          {Amount: "rotrpm"},
	"dbm":          {Amount: "dBm"},
	"liters":       {Amount: "litre"},
	"litres":       {Amount: "litre"},
}

// symbols are units as people and UCUM write them, where case matters.
var symbols = map[string]Unit{
	"s": Seconds, "sec": Seconds, "min": {Amount: "m"}, "h": {Amount: "h"}, "d": {Amount: "d"}, "ns": {Amount: "ns"}, "us": {Amount: "µs"}, "µs": {Amount: "µs"},
	"B": bytes, "By": bytes, "bit": bits, "kB": {Amount: "deckbytes"}, "MB": {Amount: "decmbytes"}, "GB": {Amount: "decgbytes"},
	"KiB": {Amount: "kbytes"}, "MiB": {Amount: "mbytes"}, "GiB": {Amount: "gbytes"}, "KiBy": {Amount: "kbytes"}, "MiBy": {Amount: "mbytes"}, "GiBy": {Amount: "gbytes"},
	"By/s": {Amount: "binBps"}, "B/s": {Amount: "binBps"}, "bit/s": {Amount: "bps"},
	"°C": celsius, "℃": celsius, "Cel": celsius, "°F": {Amount: "fahrenheit"}, "℉": {Amount: "fahrenheit"}, "[degF]": {Amount: "fahrenheit"}, "K": {Amount: "kelvin"}, "°": {Amount: "degree"},
	"%": percent,
	"V": {Amount: "volt"}, "mV": {Amount: "mvolt"}, "kV": {Amount: "kvolt"}, "A": {Amount: "amp"}, "mA": {Amount: "mamp"},
	"Ω": {Amount: "ohm"}, "Ohm": {Amount: "ohm"},
	"W": {Amount: "watt"}, "mW": {Amount: "mwatt"}, "kW": {Amount: "kwatt"}, "MW": {Amount: "megwatt"}, "VA": {Amount: "voltamp"},
	"J": joules, "Wh": {Amount: "watth"}, "kWh": {Amount: "kwatth"}, "Ah": {Amount: "amph"}, "mAh": {Amount: "mamph"},
	"Hz": {Amount: "hertz"}, "m": meters, "cm": {Amount: "lengthcm"},
	"m/s": {Amount: "velocityms"}, "km/h": {Amount: "velocitykmh"},
	"g": {Amount: "massg"}, "l": {Amount: "litre"}, "L": {Amount: "litre"}, "m³": {Amount: "m3"}, "m3": {Amount: "m3"}, "l/min": {Amount: "flowlpm"}, "L/min": {Amount: "flowlpm"},
	"Pa": {Amount: "pressurepa"}, "hPa": {Amount: "pressurehpa"}, "kPa": {Amount: "pressurekpa"}, "bar": {Amount: "pressurebar"}, "psi": {Amount: "pressurepsi"},
	"lx": {Amount: "lux"}, "lm": {Amount: "lumens"}, "µg/m³": {Amount: "conμgm3"}, "μg/m³": {Amount: "conμgm3"}, "dB": {Amount: "dB"}, "dBm": {Amount: "dBm"},
}

// exact are the names that are other units in another case, such as mS, Mm and Mbar.
var exact = map[string]bool{"ms": true, "mm": true, "mbar": true}

// known returns the unit with a symbol or name, in the singular or the plural.
func known(text string) (Unit, bool) {
	if u, ok := symbols[text]; ok {
		return u, true
	}
	lower := strings.ToLower(text)
	if u, ok := named[lower]; ok && (lower == text || !exact[lower]) {
		return u, true
	}
	if len(text) < 3 { // M is not ms
		return Unit{}, false
	}
	u, ok := named[lower+"s"]
	return u, ok
}

// Named returns the unit that the name of a metric ends with.
func Named(metric string) (Unit, bool) {
	u, ok := named[metric[strings.LastIndexByte(metric, '_')+1:]]
	return u, ok
}

// maxUnit is the longest unit that is shown as it is written, in bytes.
const maxUnit = 20

// Written returns the unit that somebody gave to a metric. One that is not known is
// shown as it is written.
func Written(text string) Unit {
	text = strings.TrimSpace(text)
	if u, ok := known(text); ok {
		return u
	}
	if text == "" || text == "1" || strings.HasPrefix(text, "{") || len(text) > maxUnit { // in UCUM 1 and {packet} are counts
		return Unit{}
	}
	return Unit{Amount: "suffix:" + text}
}

var (
	// helpUnit matches the unit at the end of a description: "Size of the heap in
	// bytes.", "Temperature of the room (°C)".
	helpUnit = regexp.MustCompile(`(?i)(?:\bin (?:degrees? )?|\s[(\[](?:in )?)([^\s()\[\]]*[^\s()\[\].])[)\]]?\.?$`)
	// helpCount matches the descriptions of counts, in which a unit is one of something
	// else: "Number of requests that took longer than the limit in seconds".
	helpCount = regexp.MustCompile(`(?i)^(?:the )?(?:total |current )?(?:number|count) `)
)

// Described returns the unit that the description of a metric ends with.
func Described(help string) (Unit, bool) {
	m := helpUnit.FindStringSubmatch(strings.TrimSpace(help))
	switch {
	case m == nil, helpCount.MatchString(help),
		len(m[1]) == 1 && m[1] != "%",                    // anything, such as a phase
		m[1] == "min" && strings.ContainsAny(m[0], "(["): // the minimum
		return Unit{}, false
	}
	return known(m[1])
}
