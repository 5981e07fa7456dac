package authz

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// decimal is a number of any length, exact, in canonical digits.
type decimal struct {
	neg   bool
	whole string // without leading zeros
	frac  string // without trailing zeros
}

// maxNumber bounds the text of a number, so that comparing stays cheap.
const maxNumber = 256

func parseDecimal(s string) (decimal, bool) {
	s = strings.TrimSpace(s)
	if len(s) > maxNumber {
		return decimal{}, false
	}
	var d decimal
	if s != "" && (s[0] == '-' || s[0] == '+') {
		d.neg = s[0] == '-'
		s = s[1:]
	}
	exp := 0
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		e, err := strconv.Atoi(s[i+1:])
		if err != nil || e < -maxNumber || e > maxNumber {
			return decimal{}, false
		}
		s, exp = s[:i], e
	}
	whole, frac, dot := strings.Cut(s, ".")
	if whole == "" && frac == "" || dot && frac == "" || !digits(whole) || !digits(frac) {
		return decimal{}, false
	}
	for ; exp > 0; exp-- {
		if frac == "" {
			whole += "0"
		} else {
			whole, frac = whole+frac[:1], frac[1:]
		}
	}
	for ; exp < 0; exp++ {
		if whole == "" {
			frac = "0" + frac
		} else {
			whole, frac = whole[:len(whole)-1], whole[len(whole)-1:]+frac
		}
	}
	d.whole, d.frac = strings.TrimLeft(whole, "0"), strings.TrimRight(frac, "0")
	if d.whole == "" && d.frac == "" {
		d.neg = false
	}
	return d, true
}

func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func (d decimal) compare(e decimal) int {
	if d.neg != e.neg {
		if d.neg {
			return -1
		}
		return 1
	}
	n := cmp.Or(cmp.Compare(len(d.whole), len(e.whole)), cmp.Compare(d.whole, e.whole), cmp.Compare(d.frac, e.frac))
	if d.neg {
		return -n
	}
	return n
}

// instant is a moment in seconds and nanoseconds of the Unix epoch.
type instant struct {
	sec  int64
	nano int64
}

func (i instant) compare(j instant) int {
	return cmp.Or(cmp.Compare(i.sec, j.sec), cmp.Compare(i.nano, j.nano))
}

// parseInstant reads a date of the W3C profile of ISO 8601, or seconds since
// the epoch. Four digits are a year. A time without a zone is UTC.
// Source: IAM User Guide, "Date condition operators".
func parseInstant(s string) (instant, bool) {
	s = strings.TrimSpace(s)
	whole, frac, dot := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	if whole != "" && digits(whole) && (len(s) != 4 || s[0] == '-') {
		return parseEpoch(whole, frac, dot, s[0] == '-')
	}
	var layouts []string
	switch {
	case len(s) == 4:
		layouts = []string{"2006"}
	case len(s) == 7:
		layouts = []string{"2006-01"}
	case len(s) == 10:
		layouts = []string{"2006-01-02"}
	case len(s) > 64:
		return instant{}, false
	default:
		layouts = []string{
			"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04",
			"2006-01-02T15:04:05Z0700", "2006-01-02T15:04Z0700",
		}
	}
	for _, l := range layouts {
		if t, err := time.Parse(l, s); err == nil {
			return instant{sec: t.Unix(), nano: int64(t.Nanosecond())}, true
		}
	}
	return instant{}, false
}

func parseEpoch(whole, frac string, dot, neg bool) (instant, bool) {
	if dot && frac == "" || !digits(frac) || len(whole) > 15 {
		return instant{}, false
	}
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil {
		return instant{}, false
	}
	nano, err := strconv.ParseInt((frac + "000000000")[:9], 10, 64)
	if err != nil {
		return instant{}, false
	}
	if neg {
		sec, nano = -sec, -nano
		if nano < 0 {
			sec, nano = sec-1, nano+1e9
		}
	}
	return instant{sec: sec, nano: nano}, true
}
