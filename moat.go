// Package moat holds the nouns of Moat: what happened ([Event]), whom it
// concerns ([Entity]), what a detector saw ([Finding]), what the findings add
// up to ([Rank], [Case]) and what is to be done about it ([Decision]).
//
// Use it to write or read events of the public contract, and to read what
// Moat answers. It also holds the two codecs of an event, public JSON
// ([Decoder], [AppendJSON]) and the canonical binary form in which events
// travel and are replayed ([BatchWriter], [BatchReader]), and the mapping to OCSF ([OCSF]).
//
// It will not do any I/O, keep any state or read any clock, and it imports the
// standard library only, so that everything else may import it.
package moat
