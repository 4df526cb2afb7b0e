package run

// Memo remembers values that belong to parts of events, such as what a dictionary's entry says once it is
// decoded. Every key has one place, where a newer one may replace it: that bounds its memory, and costs a
// few nanoseconds where a map that has outgrown the processor's caches costs a hundred. The zero Memo is
// ready. It is not safe for concurrent use.
type Memo[V any] struct {
	slots   []remembered[V]
	crowded int // values replaced since it last grew
}

type remembered[V any] struct {
	key   uint64 // plus one; 0 is free
	value V
}

// Places of a memo.
const (
	minMemo = 1 << 6
	maxMemo = 1 << 16
)

// Of returns the value of key, which create makes if it is not remembered. An error of create is returned and
// nothing remembered.
func (m *Memo[V]) Of(key uint64, create func() (V, error)) (V, error) {
	if v, ok := m.Get(key); ok {
		return v, nil
	}
	v, err := create()
	if err == nil {
		m.Set(key, v)
	}
	return v, err
}

func (m *Memo[V]) slot(key uint64) *remembered[V] {
	return &m.slots[key*0x9e3779b97f4a7c15>>32&uint64(len(m.slots)-1)]
}

// Get returns the value of key if it is remembered.
func (m *Memo[V]) Get(key uint64) (v V, ok bool) {
	if len(m.slots) > 0 {
		if s := m.slot(key); s.key == key+1 {
			return s.value, true
		}
	}
	return v, false
}

// Set remembers the value of key.
func (m *Memo[V]) Set(key uint64, v V) {
	if n := len(m.slots); m.crowded >= n && n < maxMemo {
		old := m.slots
		m.slots, m.crowded = make([]remembered[V], max(minMemo, 4*n)), 0
		for _, s := range old {
			if s.key != 0 {
				*m.slot(s.key - 1) = s
			}
		}
	}
	s := m.slot(key)
	if s.key != 0 {
		m.crowded++
	}
	s.key, s.value = key+1, v
}
