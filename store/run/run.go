// Package run keeps narrow rows under keys in immutable sorted runs: which
// events touched the key of an order, or of an account. New events are visible
// at once, gathered in memory, written as a run file, and merged in the
// background with runs of about the same size; look-ups of a key among a
// hundred million rows touch a few pages of each run.
//
// Use it, through the packages ledger, diary and index, for every interactive
// question about past events: it answers from an index in milliseconds where a
// scan of the lake takes seconds.
//
// It will not keep whole events (that is the lake's part), update or delete
// single rows, or promise anything about events that are neither in a file nor
// in the log: after a crash, what lies behind [Set.Position] is appended again.
//
// Rows of one event share nearly everything, so an event is stored once, in
// the order of the log, and a row is a key and the number of its event. What
// many events share, their source, act and shops, is stored once a run. An
// index of orders and entities needs 11.5 bytes a row like this, 101 an event,
// where rows with all of their columns would need an estimated 35. Nothing is
// compressed further: zstd finds nothing in the packed events and keys, and its
// 60 % of the dictionaries would make every look-up decompress blocks.
//
// Files are mapped: reading 500 bytes at random costs 0.13 µs, and 1.06 µs
// with pread, both from the page cache. The filter answers for an absent key in
// 0.08 µs and lets 0.6 % of them pass to a bucket, which costs 0.7 µs.
//
// Keys are 64 bits of a keyed hash and the ids themselves are not stored: one bit of them
// says what gave the key. Two among 100 million have a chance of 6 in 10,000 to be the same, and 1,000
// look-ups a chance of 1 in 100 million to find a wrong row.
package run
