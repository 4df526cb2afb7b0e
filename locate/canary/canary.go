// Package canary plants orders, phones, addresses and credentials that belong to nobody, and knows them again: each is made from a
// key, the partner, the channel, the period and a number, so that whoever uses one says by that where it leaked.
//
// Use [Lot] to say what is planted where, [Key.Value] for the values, an [Index] to tell canaries from everything else, [Touch] to tell an
// alarming use from the usual traffic, and [Power] to plan how many are needed.
//
// It will not keep values (they are computed again from the lots), bring them into anybody's system, or own phones and
// addresses: the pools are the operator's.
package canary

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/moat-platform/moat"
)

// Kind says what is planted.
type Kind string

// The kinds of canary.
const (
	Order      Kind = "order"
	Phone      Kind = "phone"
	Address    Kind = "address"
	Credential Kind = "credential" // name of a honey account, or id of a honey key
)

// Kinds lists the kinds.
var Kinds = [...]Kind{Order, Phone, Address, Credential}

// Key makes the values. Whoever has it can tell all canaries.
type Key [32]byte

// NewKey derives the key from an installation's secret by HKDF-SHA-256.
func NewKey(secret []byte) (k Key, err error) {
	b, err := hkdf.Key(sha256.New, secret, nil, "moat canary 1", len(k))
	if err != nil {
		return k, fmt.Errorf("cannot derive key of canaries: %w", err)
	}
	copy(k[:], b)
	return k, nil
}

// Lot is canaries of one kind that are planted in one channel of a partner for one period: the numbers from First on, without
// Skip, Count in all.
type Lot struct {
	ID      string    `json:"id"`
	Owner   string    `json:"owner,omitempty"` // the partner that placed it for itself; "" = the operator
	Partner string    `json:"partner"`         // that it is planted at
	Channel string    `json:"channel"`         // by which the partner gets it: app:erp, outlet:hz-7, shop:s1, account:li, or any name
	Period  string    `json:"period"`          // such as 2026-11
	Kind    Kind      `json:"kind"`
	Pattern string    `json:"pattern"`
	First   int       `json:"first"`
	Count   int       `json:"count"`
	Skip    []int     `json:"skip,omitempty"` // numbers whose values were in use
	Placed  moat.Time `json:"placed"`
}

// Bounds of lots.
const (
	MaxCount  = 1000    // canaries of one lot
	MaxNumber = 1 << 20 // numbers of one partner, channel, period and kind
	maxName   = 128
)

// ErrLot says that a lot cannot be planted as it is.
var ErrLot = errors.New("canaries cannot be placed")

// Check returns what is wrong with a lot that is to be placed; it wraps [ErrLot].
func (l *Lot) Check() error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrLot, fmt.Sprintf(format, args...))
	}
	for _, f := range [...][2]string{{"partner", l.Partner}, {"channel", l.Channel}, {"period", l.Period}} {
		if f[1] == "" || len(f[1]) > maxName || !utf8.ValidString(f[1]) || strings.ContainsFunc(f[1], func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return no("%s must have 1 to %d bytes, without control characters", f[0], maxName)
		}
	}
	if !slices.Contains(Kinds[:], l.Kind) {
		return no("kind %.40q is none of order, phone, address, credential", l.Kind)
	}
	if l.Count < 1 || l.Count > MaxCount {
		return no("count must be 1 to %d", MaxCount)
	}
	if l.First < 0 || l.First+l.Count+len(l.Skip) > MaxNumber {
		return no("there are %d canaries of a kind in a channel and period at most", MaxNumber)
	}
	f, err := ParseForm(l.Pattern)
	if err != nil {
		return no("%v", err)
	}
	if l.Kind == Phone {
		if err := f.checkPhones(); err != nil {
			return no("%v", err)
		}
	}
	least := map[Kind]float64{Order: 30, Credential: 40}[l.Kind]
	if f.Bits() < least {
		return no("pattern %.80q has room for 2^%.0f values, want 2^%.0f at least: by chance others would have the same; leave more places open (# digit, @ letter, ^ capital, * either)", l.Pattern, f.Bits(), least)
	}
	return nil
}

// Numbers returns the numbers of a lot's canaries.
func (l *Lot) Numbers() []int {
	list := make([]int, 0, l.Count)
	for n := l.First; len(list) < l.Count; n++ {
		if !slices.Contains(l.Skip, n) {
			list = append(list, n)
		}
	}
	return list
}

// End is the first number after the lot's.
func (l *Lot) End() int { return l.First + l.Count + len(l.Skip) }

// prf is HMAC-SHA-256 over what a canary is, each part with its length, and the number of the block. The owner is a part of it, so
// that what a partner is given tells nothing of what the operator planted beside.
func (k Key) prf(l *Lot, n, block int) [sha256.Size]byte {
	var b []byte
	for _, s := range [...]string{string(l.Kind), l.Owner, l.Partner, l.Channel, l.Period} {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint32(b, uint32(block))
	mac := hmac.New(sha256.New, k[:])
	mac.Write(b)
	return [sha256.Size]byte(mac.Sum(nil))
}

// Value returns the n-th canary of a lot, in the form of its pattern, which must be good (see [Lot.Check]).
func (k Key) Value(l *Lot, n int) string {
	f, err := ParseForm(l.Pattern)
	if err != nil {
		panic("BUG: a lot with a bad pattern: " + err.Error())
	}
	return k.value(l, f, n)
}

func (k Key) value(l *Lot, f *Form, n int) string {
	s := stream{next: func(block int) [sha256.Size]byte { return k.prf(l, n, block) }}
	return f.render(&s)
}

var tokenText = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token names the n-th canary of a lot without telling its value.
func (k Key) Token(l *Lot, n int) string {
	b := k.prf(l, n, 1<<31)
	return "cn_" + tokenText.EncodeToString(b[:10])
}

// Alien names a canary that somebody else planted without telling its value.
func (k Key) Alien(value string) string {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte("alien\x00" + value))
	return "cx_" + tokenText.EncodeToString(mac.Sum(nil)[:10])
}

// stream is bytes that are made when they are asked for.
type stream struct {
	next  func(block int) [sha256.Size]byte
	block int
	buf   [sha256.Size]byte
	left  int
}

// below returns a number below n ≤ 256, each with the same probability.
func (s *stream) below(n int) int {
	for {
		if s.left == 0 {
			s.buf, s.left = s.next(s.block), len(s.buf)
			s.block++
		}
		b := int(s.buf[len(s.buf)-s.left])
		s.left--
		if b < 256/n*n {
			return b % n
		}
	}
}
