package run

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// Hasher turns ids into keys with SipHash-2-4: without its secret nobody can
// tell the id from the key, nor choose ids whose keys collide. The zero value
// is a hasher with a known secret. It is a value and safe for concurrent use.
type Hasher struct{ k0, k1 uint64 }

// NewHasher returns the hasher with that secret.
func NewHasher(key [16]byte) Hasher {
	return Hasher{binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])}
}

// Derive returns a hasher of its own for label, so that the same id under two
// labels has unrelated keys.
func (h Hasher) Derive(label string) Hasher {
	return Hasher{h.Sum(label + "\x00"), h.Sum(label + "\x01")}
}

// Sum returns the key of id.
func (h Hasher) Sum(id string) uint64 {
	v0, v1 := h.k0^0x736f6d6570736575, h.k1^0x646f72616e646f6d
	v2, v3 := h.k0^0x6c7967656e657261, h.k1^0x7465646279746573
	b := unsafe.Slice(unsafe.StringData(id), len(id))
	last := uint64(len(id)) << 56
	for len(b) > 0 {
		var m uint64
		if len(b) >= 8 {
			m, b = binary.LittleEndian.Uint64(b), b[8:]
		} else {
			for i, c := range b {
				last |= uint64(c) << (8 * i)
			}
			break
		}
		v3 ^= m
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
		v0 ^= m
	}
	v3 ^= last
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		v0, v1, v2, v3 = sipRound(v0, v1, v2, v3)
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// EventKey makes the key that an event gives itself out of a hash. Such keys are even and those that follow from parts
// odd, so that who looks for the one kind can pass over the other.
func EventKey(hash uint64) uint64 { return hash &^ 1 }

// PartKey makes the key that follows from a part out of a hash; see [EventKey].
func PartKey(hash uint64) uint64 { return hash | 1 }

func isEventKey(key uint64) bool { return key&1 == 0 }

func sipRound(v0, v1, v2, v3 uint64) (uint64, uint64, uint64, uint64) {
	v0 += v1
	v1 = bits.RotateLeft64(v1, 13) ^ v0
	v0 = bits.RotateLeft64(v0, 32)
	v2 += v3
	v3 = bits.RotateLeft64(v3, 16) ^ v2
	v0 += v3
	v3 = bits.RotateLeft64(v3, 21) ^ v0
	v2 += v1
	v1 = bits.RotateLeft64(v1, 17) ^ v2
	v2 = bits.RotateLeft64(v2, 32)
	return v0, v1, v2, v3
}
