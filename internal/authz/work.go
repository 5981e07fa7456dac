package authz

import "math"

// MaxWork is what one question may cost, in steps: about a hundredth of a
// second. The documents of an account and a request of usual size take some
// thousands.
const MaxWork = 1 << 22

// Work bounds what questions cost, in steps: a look at a statement, a
// comparison, a character of a pattern that has wildcards. Policies and what
// they are compared with both come from outside, and their lengths multiply.
// A nil Work bounds nothing. It is not safe for concurrent use.
type Work struct{ left int }

// NewWork returns a Work of that many steps.
func NewWork(steps int) *Work { return &Work{left: steps} }

// Spend takes steps away.
func (w *Work) Spend(steps int) {
	if w != nil {
		w.left -= steps
	}
}

// Spent reports whether more was asked for than there was: what was found out
// since does not count.
func (w *Work) Spent() bool { return w != nil && w.left < 0 }

// most is how many steps can still be taken.
func (w *Work) most() int {
	if w == nil {
		return math.MaxInt
	}
	return max(w.left, 0)
}
