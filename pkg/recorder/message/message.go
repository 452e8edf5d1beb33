// Package message turns the messages of a bus into samples.
//
// It does so in two steps. A decoder makes records of a message: numbers and texts
// by their field, labels, a time. Then records become samples, in one place
// (samples.go), whatever the format. Each decoder has a file of its own and knows
// nothing of topics, names and series.
//
// What a message is, its content decides unless the rules say it: a number, or one
// of the words that stand for 1 and 0; JSON (json.go), also of Telegraf,
// ThingsBoard and KEPServerEX; Influx line protocol; Sparkplug B, by its topic;
// CBOR that says so. Any of them may be compressed with gzip.
//
// A field's metric is its name. Where there is no field, or it is the whole
// message as in {"value": 1}, it is the last level of the topic that is not a
// label. Unless a pattern gives a name to each of its wildcards, the label
// "topic" (or "subject") holds the whole topic, so that two topics never become
// one series. The rule Metric replaces the first of these.
//
// What cannot be recorded is counted by reason, and never keeps back the rest
// of its message or of the stream.
//
// Messages without a time of their own are stamped on arrival. Such stamps never
// go back while the clock is set back by less than [maxSlew]. Where several of a
// series come within one millisecond, the store gives them the next ones that are
// free: see recorder.Sample.
//
// The package knows nothing of servers and connections.
package message
