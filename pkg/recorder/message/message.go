// Package message makes samples from the messages of a bus.
//
// It does so in two steps. A decoder makes records from a message: numbers and texts
// by their field, labels, a time. Then one place, samples.go, makes samples from the
// records, whatever the format was. Each decoder has a file of its own and knows
// nothing of topics, names and series.
//
// Unless the rules name a format, the content decides: a number, or one of the words
// that stand for 1 and 0; JSON (json.go), also that of Telegraf, ThingsBoard and
// KEPServerEX (known.go) and SenML (senml.go); Influx line protocol; CBOR with its
// magic number. Sparkplug B is known by its topic. Any of them may be compressed with
// gzip.
//
// The metric of a field has the field's name. If the message is a value without a
// field, or has only the field value as in {"value": 1}, the metric has the name of
// the last level of the topic that is not a label. The rule Metric replaces both.
//
// The label "topic" (or "subject") has the whole topic, so that two topics never
// become one series, unless a pattern gives a name to each of its wildcards.
//
// Parts that cannot be recorded are counted by reason. They never keep the rest of
// the message, or other messages, from being recorded.
//
// Messages without a time of their own are stamped on arrival. Such stamps never go
// back if the clock is set back by less than [maxSlew]. If a series gets several
// samples within one millisecond, the store moves them to the next free ones: see
// recorder.Sample.
//
// The package knows nothing of servers and connections.
package message
