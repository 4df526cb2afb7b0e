package trace

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/moat-platform/moat"
)

// mixture is sources that leaked together, beside noise. Complaints of weeks come from many leaks, and all of them at once are the only
// hypothesis that fits: an app through which most of them went looks guilty until the thieves behind it are there, and so does who
// works beside one of them. So it is built by adding the source that explains most of what those that are there do not, taking
// out who is not needed any more, and putting a better one in the place of each, until nothing changes.
type mixture struct {
	parts []view
	share []float64 // of the leak: noise first, then each part
}

// Bounds of a mixture.
const (
	maxParts  = 24
	maxRounds = 3   // of putting better ones in
	maxEyed   = 24  // candidates whose windows are looked for in a step
	betterLog = 1.0 // log of the Bayes factor by which another must be better to take a place
)

// pursue finds the sources that explain the leaked orders together.
func (c *trial) pursue(ctx context.Context, tenant moat.Tenant, rows Rows) (*mixture, error) {
	m := &mixture{share: []float64{1}}
	defer func() { c.mix = nil }()
	for round := range maxRounds {
		added := false
		for len(m.parts) < maxParts {
			x, err := c.next(ctx, tenant, rows, m, -1)
			if err != nil {
				return nil, err
			}
			if x == nil {
				break
			}
			added = true
			m.parts = append(m.parts, x.likeliest())
			c.refit(m)
			if c.prune(m, x) {
				break
			}
		}
		if !added && round > 0 || len(m.parts) < 2 {
			break
		}
		moved, err := c.improve(ctx, tenant, rows, m)
		if err != nil {
			return nil, err
		}
		if !moved {
			break
		}
	}
	for j := 0; j < len(m.parts); j++ {
		if list := c.split(m, j); list != nil {
			m.parts = slices.Replace(m.parts, j, j+1, list...)
			c.refit(m)
			j += len(list) - 1
		}
	}
	c.prune(m, nil)
	return m, nil
}

// likeliest is x in the window in which it explains most, or in all of the time.
func (x *candidate) likeliest() view {
	if x.inWindow > x.full {
		return x.in(x.window)
	}
	return x.whole()
}

// next returns who explains most of what m does not, if that is more than chance does; or, if out is a part, who does so if that part were not
// there, among those that had its orders in hand.
func (c *trial) next(ctx context.Context, tenant moat.Tenant, rows Rows, m *mixture, out int) (*candidate, error) {
	c.behind(m, out)
	var list []*candidate
	for _, x := range c.pool {
		if len(x.hits) < namedHits || m.has(x, out) {
			continue
		}
		if out >= 0 && x != m.parts[out].candidate && float64(shared(x, m.parts[out].candidate)) < nearShare*float64(len(m.parts[out].hits)) {
			continue
		}
		c.glance(x)
		list = append(list, x)
	}
	best := func() {
		slices.SortStableFunc(list, func(a, b *candidate) int { return cmp.Compare(b.alone+b.prior, a.alone+a.prior) })
		list = list[:min(len(list), maxEyed)]
	}
	best()
	if err := c.countThose(ctx, tenant, rows, list); err != nil {
		return nil, err
	}
	for _, x := range list {
		c.weighAlone(x, true)
	}
	best()
	if len(list) == 0 || list[0].alone+list[0].prior <= 0 {
		return nil, nil
	}
	if out >= 0 {
		x := m.parts[out].candidate
		if i := slices.Index(list, x); i >= 0 && list[0].alone+list[0].prior < x.alone+x.prior+betterLog {
			return x, nil
		}
	}
	return list[0], nil
}

// has tells whether x is a part, another than the one that is out.
func (m *mixture) has(x *candidate, out int) bool {
	for j := range m.parts {
		if j != out && m.parts[j].candidate == x {
			return true
		}
	}
	return false
}

// glance weighs x in all of the time and in the window that was likeliest when it was looked at last.
func (c *trial) glance(x *candidate) {
	l, w := c.lone(x), x.window
	x.full, x.inWindow = l.evidence(c, always), math.Inf(-1)
	if w != always && w != 0 {
		x.inWindow = l.evidence(c, w) - math.Log(windows)
	}
	x.alone = logAdd(x.full, x.inWindow) - math.Ln2
}

// countThose counts what those of list had in hand of whom the controls tell too little.
func (c *trial) countThose(ctx context.Context, tenant moat.Tenant, rows Rows, list []*candidate) error {
	var unsure []*candidate
	for _, x := range list {
		if !x.exact && !x.uncounted && counted(x.Kind) && len(x.controls) < sureControls && c.recounted < maxMeasured && x.alone+x.prior > -hopeLog {
			unsure = append(unsure, x)
			c.recounted++
		}
	}
	if len(unsure) == 0 {
		return nil
	}
	hopeful := slices.DeleteFunc(slices.Clone(unsure), func(x *candidate) bool { return !c.hopeful(x) })
	err := c.count(ctx, tenant, rows, hopeful)
	for _, x := range unsure {
		x.uncounted = !x.exact
	}
	return err
}

// prune takes out the parts that explain nothing any more, the least first, and tells whether the newest is among them.
func (c *trial) prune(m *mixture, newest *candidate) bool {
	for {
		worst, least := -1, 0.0
		for j := range m.parts {
			x := m.parts[j].candidate
			c.behind(m, j)
			c.glance(x)
			if x.alone+x.prior < least {
				worst, least = j, x.alone+x.prior
			}
		}
		if worst < 0 {
			return false
		}
		x := m.parts[worst].candidate
		m.parts = slices.Delete(m.parts, worst, worst+1)
		c.refit(m)
		if x == newest {
			return true
		}
	}
}

// improve puts better ones in the place of parts and tells whether there were any.
func (c *trial) improve(ctx context.Context, tenant moat.Tenant, rows Rows, m *mixture) (moved bool, err error) {
	for j := 0; j < len(m.parts); j++ {
		x, err := c.next(ctx, tenant, rows, m, j)
		switch {
		case err != nil:
			return moved, err
		case x == nil:
			m.parts, moved = slices.Delete(m.parts, j, j+1), true
			j--
		default:
			moved = moved || x != m.parts[j].candidate
			m.parts[j] = x.likeliest()
		}
		c.refit(m)
	}
	return moved, nil
}

// split returns the people who explain what part j does nearly as well, alone or together, if it is wide and they had their orders through
// it: the narrowest that the evidence carries is named.
func (c *trial) split(m *mixture, j int) []view {
	x := m.parts[j].candidate
	if x.Kind == moat.Account || x.Kind == moat.Device {
		return nil
	}
	c.behind(m, j)
	c.weighAlone(x, true)
	goal := x.alone + x.prior
	rest := &mixture{parts: slices.Delete(slices.Clone(m.parts), j, j+1)}
	var list []view
	for range maxBeside {
		c.refit(rest)
		c.behind(rest, -1)
		var best *candidate
		for _, y := range c.pool {
			if len(y.hits) < namedHits || !y.isPerson() || rest.has(y, -1) || float64(shared(x, y)) < alikeShare*float64(len(y.hits)) {
				continue
			}
			if c.glance(y); best == nil || y.alone+y.prior > best.alone+best.prior {
				best = y
			}
		}
		if best == nil {
			return nil
		}
		c.weighAlone(best, true)
		gain := best.alone + best.prior
		if gain <= 0 {
			return nil
		}
		list, rest.parts = append(list, best.likeliest()), append(rest.parts, best.likeliest())
		if goal -= gain + twinLog; goal <= 0 {
			return list
		}
	}
	return nil
}

// refit finds the likeliest shares of the parts by expectation maximisation, with an order of each as prior knowledge.
func (c *trial) refit(m *mixture) {
	n := len(m.parts)
	m.share = make([]float64, n+1)
	for j := range m.share {
		m.share[j] = 1 / float64(n+1)
	}
	rows := c.ratios(m)
	next := make([]float64, n+1)
	for range maxSteps {
		total := float64(n + 1)
		for j := range next {
			next[j] = 1
		}
		for i := range c.orders {
			w := c.orders[i].weight
			if c.orders[i].taken {
				continue
			}
			sum := m.share[0]
			for _, r := range rows[i] {
				sum += m.share[r.part+1] * r.ratio
			}
			next[0] += w * m.share[0] / sum
			for _, r := range rows[i] {
				next[r.part+1] += w * m.share[r.part+1] * r.ratio / sum
			}
			total += w
		}
		moved := 0.0
		for j := range next {
			s := next[j] / total
			moved = max(moved, math.Abs(s-m.share[j]))
			m.share[j] = s
		}
		if moved < 1e-5 {
			return
		}
	}
}

// partRatio is how much likelier than noise an order is if a part is the source.
type partRatio struct {
	part  int
	ratio float64
}

// ratios returns them of each order.
func (c *trial) ratios(m *mixture) [][]partRatio {
	c.mix = nil
	rows := make([][]partRatio, len(c.orders))
	for j, v := range m.parts {
		for k := range v.hits {
			if r := c.ratio(v, &v.hits[k]); r > 0 {
				i := v.hits[k].order
				rows[i] = append(rows[i], partRatio{j, r})
			}
		}
	}
	return rows
}

// behind has candidates weighed against noise together with all parts but one, if out is one. Orders that these explain nearly alike count as
// alike.
func (c *trial) behind(m *mixture, out int) {
	rows := c.ratios(m)
	c.mix = make([]float64, len(c.orders))
	rest := 1.0
	if out >= 0 {
		rest -= m.share[out+1]
	}
	for i := range c.mix {
		sum := m.share[0]
		for _, r := range rows[i] {
			if r.part != out {
				sum += m.share[r.part+1] * r.ratio
			}
		}
		c.mix[i] = math.Exp2(math.Round(4*math.Log2(max(sum/rest, 1e-9))) / 4)
	}
}

// owed returns which part most likely leaked each order, or -1.
func (c *trial) owedTo(m *mixture) []int {
	rows := c.ratios(m)
	owner := make([]int, len(c.orders))
	for i := range owner {
		owner[i] = -1
		best := m.share[0]
		for _, r := range rows[i] {
			if v := m.share[r.part+1] * r.ratio; v > best {
				best, owner[i] = v, r.part
			}
		}
	}
	return owner
}
