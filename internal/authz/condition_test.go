package authz

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// IAM User Guide, "Condition operators", "Multivalued context keys".
func TestConditions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		condition string
		context   map[string]any // string or []string
		want      bool
	}{
		{"string equal", `"StringEquals":{"a:k":"v"}`, map[string]any{"a:k": "v"}, true},
		{"string case matters", `"StringEquals":{"a:k":"v"}`, map[string]any{"a:k": "V"}, false},
		{"key case does not", `"StringEquals":{"A:K":"v"}`, map[string]any{"a:k": "v"}, true},
		{"one of several", `"StringEquals":{"a:k":["u","v"]}`, map[string]any{"a:k": "v"}, true},
		{"star is literal", `"StringEquals":{"a:k":"v*"}`, map[string]any{"a:k": "vx"}, false},
		{"not equal to any", `"StringNotEquals":{"a:k":["u","v"]}`, map[string]any{"a:k": "v"}, false},
		{"not equal to all", `"StringNotEquals":{"a:k":["u","v"]}`, map[string]any{"a:k": "w"}, true},
		{"ignore case", `"StringEqualsIgnoreCase":{"a:k":"v"}`, map[string]any{"a:k": "V"}, true},
		{"not, ignore case", `"StringNotEqualsIgnoreCase":{"a:k":"v"}`, map[string]any{"a:k": "V"}, false},
		{"like", `"StringLike":{"kms:ViaService":"sagemaker.*.amazonaws.com"}`, map[string]any{"kms:ViaService": "sagemaker.us-west-2.amazonaws.com"}, true},
		{"like, other service", `"StringLike":{"kms:ViaService":"sagemaker.*.amazonaws.com"}`, map[string]any{"kms:ViaService": "s3.us-west-2.amazonaws.com"}, false},
		{"like, absent", `"StringLike":{"kms:ViaService":"sagemaker.*.amazonaws.com"}`, nil, false},
		{"not like", `"StringNotLike":{"a:k":"v?"}`, map[string]any{"a:k": "vx"}, false},
		{"key with colons", `"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::b"}`, map[string]any{"kms:EncryptionContext:AWS:s3:arn": "arn:aws:s3:::b"}, true},
		{"all operators and keys must hold", `"StringEquals":{"a:k":"v","a:l":"w"}`, map[string]any{"a:k": "v"}, false},

		{"missing, positive", `"StringEquals":{"a:k":"v"}`, nil, false},
		{"missing, negated", `"StringNotEquals":{"a:k":"v"}`, nil, true},
		{"missing, IfExists", `"StringEqualsIfExists":{"a:k":"v"}`, nil, true},
		{"present, IfExists", `"StringEqualsIfExists":{"a:k":"v"}`, map[string]any{"a:k": "w"}, false},
		{"missing, NotIpAddress", `"NotIpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, nil, true},
		{"missing, NumericLessThanIfExists", `"NumericLessThanIfExists":{"a:k":1}`, nil, true},

		{"all values", `"ForAllValues:StringEquals":{"a:k":["x","y"]}`, map[string]any{"a:k": []string{"x", "y", "x"}}, true},
		{"not all values", `"ForAllValues:StringEquals":{"a:k":["x","y"]}`, map[string]any{"a:k": []string{"x", "z"}}, false},
		{"all of none", `"ForAllValues:StringEquals":{"a:k":"x"}`, map[string]any{"a:k": []string{}}, true},
		{"all of an absent key", `"ForAllValues:StringEquals":{"a:k":"x"}`, nil, true},
		{"all of the empty string", `"ForAllValues:StringEquals":{"a:k":"x"}`, map[string]any{"a:k": []string{""}}, true},
		{"any value", `"ForAnyValue:StringEquals":{"a:k":["x","y"]}`, map[string]any{"a:k": []string{"z", "y"}}, true},
		{"any of none", `"ForAnyValue:StringEquals":{"a:k":"x"}`, map[string]any{"a:k": []string{}}, false},
		{"any of an absent key", `"ForAnyValue:StringEquals":{"a:k":"x"}`, nil, false},
		{"any of an absent key, negated", `"ForAnyValue:StringNotEquals":{"a:k":"x"}`, nil, false},
		{"any of an absent key, IfExists", `"ForAnyValue:StringEqualsIfExists":{"a:k":"x"}`, nil, true},
		{"all values not", `"ForAllValues:StringNotEquals":{"a:k":["x","y"]}`, map[string]any{"a:k": []string{"z", "x"}}, false},
		{"any value not", `"ForAnyValue:StringNotEquals":{"a:k":["x","y"]}`, map[string]any{"a:k": []string{"z", "x"}}, true},
		{"set operator on a single value", `"ForAnyValue:StringEquals":{"a:k":"x"}`, map[string]any{"a:k": "x"}, true},
		{"set without set operator", `"StringEquals":{"a:k":"x"}`, map[string]any{"a:k": []string{"x"}}, false},
		{"set without set operator, negated", `"StringNotEquals":{"a:k":"y"}`, map[string]any{"a:k": []string{"x"}}, false},

		{"number", `"NumericEquals":{"a:k":"10"}`, map[string]any{"a:k": "10.00"}, true},
		{"number beyond float64", `"NumericLessThan":{"a:k":"9007199254740993"}`, map[string]any{"a:k": "9007199254740992"}, true},
		{"negative number", `"NumericLessThan":{"a:k":"-1.5"}`, map[string]any{"a:k": "-1.6"}, true},
		{"number, exponent", `"NumericGreaterThanEquals":{"a:k":1e2}`, map[string]any{"a:k": "100"}, true},
		{"number, not equal", `"NumericNotEquals":{"a:k":["1","2"]}`, map[string]any{"a:k": "3"}, true},
		{"no number", `"NumericEquals":{"a:k":"10"}`, map[string]any{"a:k": "ten"}, false},
		{"no number, negated", `"NumericNotEquals":{"a:k":"10"}`, map[string]any{"a:k": "ten"}, false},

		{"date and epoch", `"DateEquals":{"a:k":"2026-01-01T00:00:00Z"}`, map[string]any{"a:k": "1767225600"}, true},
		{"epoch and date", `"DateLessThan":{"a:k":1767225601}`, map[string]any{"a:k": "2026-01-01T00:00:00Z"}, true},
		{"date with zone", `"DateGreaterThan":{"a:k":"2026-01-01T00:00:00+02:00"}`, map[string]any{"a:k": "2026-01-01T00:00:00Z"}, true},
		{"date only", `"DateGreaterThanEquals":{"a:k":"2026-01-01"}`, map[string]any{"a:k": "2026-01-01T00:00:00Z"}, true},
		{"date, fraction", `"DateLessThan":{"a:k":"2026-01-01T00:00:00.5Z"}`, map[string]any{"a:k": "1767225600.25"}, true},

		{"bool", `"Bool":{"aws:SecureTransport":"true"}`, map[string]any{"aws:SecureTransport": "TRUE"}, true},
		{"bool, JSON", `"Bool":{"aws:SecureTransport":false}`, map[string]any{"aws:SecureTransport": "true"}, false},
		{"bool, variable", `"Bool":{"a:k":"${a:l}"}`, map[string]any{"a:k": "true", "a:l": "true"}, true},
		{"binary", `"BinaryEquals":{"a:k":"QmluYXJ5"}`, map[string]any{"a:k": "QmluYXJ5"}, true},
		{"binary, other", `"BinaryEquals":{"a:k":"QmluYXJ5"}`, map[string]any{"a:k": "QmluYXJ6"}, false},

		{"address in range", `"IpAddress":{"aws:SourceIp":"203.0.113.0/24"}`, map[string]any{"aws:SourceIp": "203.0.113.7"}, true},
		{"host bits set", `"IpAddress":{"aws:SourceIp":"203.0.113.9/24"}`, map[string]any{"aws:SourceIp": "203.0.113.7"}, true},
		{"bare address", `"IpAddress":{"aws:SourceIp":"203.0.113.7"}`, map[string]any{"aws:SourceIp": "203.0.113.8"}, false},
		{"every v4 address", `"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}`, map[string]any{"aws:SourceIp": "255.255.255.255"}, true},
		{"v4 is not v6", `"IpAddress":{"aws:SourceIp":"0.0.0.0/0"}`, map[string]any{"aws:SourceIp": "2001:db8::1"}, false},
		{"v6 by number", `"IpAddress":{"aws:SourceIp":"2001:0DB8:0::/32"}`, map[string]any{"aws:SourceIp": "2001:db8::1"}, true},
		{"not in range", `"NotIpAddress":{"aws:SourceIp":["10.0.0.0/8","203.0.113.0/24"]}`, map[string]any{"aws:SourceIp": "203.0.113.7"}, false},

		{"ARN equal takes wildcards", `"ArnEquals":{"aws:SourceArn":"arn:aws:s3:::b*"}`, map[string]any{"aws:SourceArn": "arn:aws:s3:::bucket"}, true},
		{"ARN star stays in its component", `"ArnLike":{"aws:SourceArn":"arn:aws:*:b"}`, map[string]any{"aws:SourceArn": "arn:aws:s3:::b"}, false},
		{"ARN star passes colons in the last", `"ArnLike":{"aws:SourceArn":"arn:aws:logs:*:*:log-group*"}`, map[string]any{"aws:SourceArn": "arn:aws:logs:r:1:log-group:x:y"}, true},
		{"ARN variable", `"ArnLike":{"a:k":"arn:aws:iam::${aws:PrincipalAccount}:role/*"}`, map[string]any{"a:k": "arn:aws:iam::111122223333:role/x", "aws:PrincipalAccount": "111122223333"}, true},
		{"ARN variable with a colon", `"ArnLike":{"a:k":"arn:aws:iam:${a:l}:role/x"}`, map[string]any{"a:k": "arn:aws:iam::1:role/x", "a:l": ":1"}, false},
		{"ARN not like", `"ArnNotLike":{"aws:SourceArn":"arn:aws:s3:::b*"}`, map[string]any{"aws:SourceArn": "arn:aws:s3:::c"}, true},

		{"v4 in v6 is not v4", `"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}`, map[string]any{"aws:SourceIp": "::ffff:10.1.2.3"}, false},
		{"v6 longest", `"IpAddress":{"aws:SourceIp":"2001:db8::1/128"}`, map[string]any{"aws:SourceIp": "2001:db8:0:0:0:0:0:1"}, true},
		{"every v6 address", `"IpAddress":{"aws:SourceIp":"::/0"}`, map[string]any{"aws:SourceIp": "ff02::1"}, true},
		{"number with a sign", `"NumericEquals":{"a:k":"+10"}`, map[string]any{"a:k": "10"}, true},
		{"minus zero", `"NumericEquals":{"a:k":"-0.0"}`, map[string]any{"a:k": "0"}, true},
		{"a thousandth", `"NumericLessThan":{"a:k":"0.001"}`, map[string]any{"a:k": "0.0009999999999999999999999"}, true},
		{"date before the epoch", `"DateLessThan":{"a:k":"1970-01-01"}`, map[string]any{"a:k": "-1"}, true},
		{"leap day", `"DateEquals":{"a:k":"2028-02-29"}`, map[string]any{"a:k": "2028-02-29T00:00:00Z"}, true},
		{"empty binary", `"BinaryEquals":{"a:k":""}`, map[string]any{"a:k": ""}, true},
		{"binary in another alphabet", `"BinaryEquals":{"a:k":"+/+/"}`, map[string]any{"a:k": "-_-_"}, false},
		{"empty string is a value", `"StringEquals":{"a:k":""}`, map[string]any{"a:k": ""}, true},
		{"absent", `"Null":{"a:k":"true"}`, nil, true},
		{"not absent", `"Null":{"a:k":true}`, map[string]any{"a:k": "v"}, false},
		{"present", `"Null":{"a:k":"false"}`, map[string]any{"a:k": []string{"v"}}, true},
		{"empty set is absent", `"Null":{"a:k":"false"}`, map[string]any{"a:k": []string{}}, false},

		{"variable", `"StringLike":{"s3:prefix":"home/${aws:username}/*"}`, map[string]any{"s3:prefix": "home/ann/x", "aws:username": "ann"}, true},
		{"variable without value", `"StringLike":{"s3:prefix":"home/${aws:username}/*"}`, map[string]any{"s3:prefix": "home//x"}, false},
		{"variable without value, negated", `"StringNotLike":{"s3:prefix":"home/${aws:username}/*"}`, map[string]any{"s3:prefix": "home//x"}, true},
		{"no values", `"StringEquals":{"a:k":[]}`, map[string]any{"a:k": "v"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{`+tt.condition+`}`))
			ctx := NewContext()
			for k, v := range tt.context {
				if s, ok := v.(string); ok {
					ctx.Set(k, s)
				} else {
					ctx.SetMulti(k, v.([]string)...)
				}
			}
			if got := p.statements[0].meets(ctx, nil); got != tt.want {
				t.Errorf("%s on %v: %v, want %v", tt.condition, tt.context, got, tt.want)
			}
		})
	}
}

// TestEveryOperator: what every operator, with every prefix and suffix, says of
// a value that matches, of one that does not, of sets and of a missing key.
func TestEveryOperator(t *testing.T) {
	t.Parallel()
	operators := []struct{ name, policy, match, other string }{
		{"StringEquals", "v", "v", "V"},
		{"StringNotEquals", "v", "v", "V"},
		{"StringEqualsIgnoreCase", "v", "V", "w"},
		{"StringNotEqualsIgnoreCase", "v", "V", "w"},
		{"StringLike", "v*?", "vwx", "v"},
		{"StringNotLike", "v*?", "vwx", "v"},
		{"NumericEquals", "10", "1e1", "10.01"},
		{"NumericNotEquals", "10", "1e1", "10.01"},
		{"NumericLessThan", "10", "9.99", "10"},
		{"NumericLessThanEquals", "10", "10", "10.1"},
		{"NumericGreaterThan", "-10", "-9", "-10"},
		{"NumericGreaterThanEquals", "10", "10", "9"},
		{"DateEquals", "2026-01-01T00:00:00Z", "1767225600", "1767225601"},
		{"DateNotEquals", "2026-01-01T00:00:00Z", "1767225600", "1767225601"},
		{"DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z"},
		{"DateLessThanEquals", "2026", "2026-01-01T01:00:00+01:00", "2026-01-02"},
		{"DateGreaterThan", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z", "2026-01-01T00:00:00Z"},
		{"DateGreaterThanEquals", "1767225600", "2026", "2025"},
		{"Bool", "true", "TRUE", "false"},
		{"BinaryEquals", "AAEC", "AAEC", "AAED"},
		{"IpAddress", "10.0.0.0/8", "10.1.2.3", "11.1.2.3"},
		{"NotIpAddress", "2001:db8::/32", "2001:DB8::1", "2001:db9::1"},
		{"ArnEquals", "arn:aws:s3:::b*", "arn:aws:s3:::bc", "arn:aws:s3:::c"},
		{"ArnNotEquals", "arn:aws:s3:::b*", "arn:aws:s3:::bc", "arn:aws:s3:::c"},
		{"ArnLike", "arn:aws:*:*:*:x?", "arn:aws:a:b:c:xy", "arn:aws:a:b:c:x"},
		{"ArnNotLike", "arn:aws:*:*:*:x?", "arn:aws:a:b:c:xy", "arn:aws:a:b:c:x"},
	}
	for _, op := range operators {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			holds := func(operator string, set bool, values ...string) bool {
				p := compile(t, IdentityPolicy, one(`"Effect":"Allow","Action":"*","Resource":"*","Condition":{"`+operator+`":{"a:k":"`+op.policy+`"}}`))
				ctx := NewContext()
				switch {
				case set:
					ctx.SetMulti("a:k", values...)
				case len(values) == 1:
					ctx.Set("a:k", values[0])
				}
				return p.statements[0].meets(ctx, nil)
			}
			yes := !strings.Contains(op.name, "Not") // of a value that matches
			for _, tt := range []struct {
				operator string
				set      bool
				values   []string
				want     bool
			}{
				{op.name, false, []string{op.match}, yes},
				{op.name, false, []string{op.other}, !yes},
				{op.name, false, nil, !yes},
				{op.name, true, []string{op.match}, false},
				{op.name + "IfExists", false, []string{op.match}, yes},
				{op.name + "IfExists", false, []string{op.other}, !yes},
				{op.name + "IfExists", false, nil, true},
				{"ForAllValues:" + op.name, true, []string{op.match, op.match}, yes},
				{"ForAllValues:" + op.name, true, []string{op.other, op.other}, !yes},
				{"ForAllValues:" + op.name, true, []string{op.match, op.other}, false},
				{"ForAllValues:" + op.name, true, nil, true},
				{"ForAllValues:" + op.name, false, nil, true},
				{"ForAllValues:" + op.name, false, []string{op.match}, yes},
				{"ForAnyValue:" + op.name, true, []string{op.match, op.match}, yes},
				{"ForAnyValue:" + op.name, true, []string{op.other, op.other}, !yes},
				{"ForAnyValue:" + op.name, true, []string{op.match, op.other}, true},
				{"ForAnyValue:" + op.name, true, nil, false},
				{"ForAnyValue:" + op.name, false, nil, false},
				{"ForAnyValue:" + op.name, false, []string{op.other}, !yes},
				{"ForAllValues:" + op.name + "IfExists", false, nil, true},
				{"ForAnyValue:" + op.name + "IfExists", false, nil, true},
				{"ForAnyValue:" + op.name + "IfExists", true, []string{op.match}, yes},
			} {
				if got := holds(tt.operator, tt.set, tt.values...); got != tt.want {
					t.Errorf("%s of %q on %q (a set: %v): %v, want %v", tt.operator, op.policy, tt.values, tt.set, got, tt.want)
				}
			}
		})
	}
}

// What cannot be compared keeps an Allow from matching and makes a Deny match.
func TestIncomparableFailsClosed(t *testing.T) {
	t.Parallel()
	for _, condition := range []string{
		`"NumericEquals":{"a:k":"1"}`, `"NumericNotEquals":{"a:k":"1"}`, `"DateLessThan":{"a:k":"2026"}`, `"IpAddress":{"a:k":"10.0.0.0/8"}`,
		`"NotIpAddress":{"a:k":"10.0.0.0/8"}`, `"BinaryEquals":{"a:k":"AA=="}`, `"ArnLike":{"a:k":"arn:aws:s3:::b"}`, `"ForAnyValue:NumericEquals":{"a:k":"1"}`,
	} {
		ctx := NewContext()
		ctx.Set("a:k", "?!")
		for _, effect := range []string{"Allow", "Deny"} {
			p := compile(t, IdentityPolicy, one(`"Effect":"`+effect+`","Action":"*","Resource":"*","Condition":{`+condition+`}`))
			if got, want := p.statements[0].meets(ctx, nil), effect == "Deny"; got != want {
				t.Errorf("%s with %s: %v, want %v", effect, condition, got, want)
			}
		}
	}
}

func TestParseInstant(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026":                      time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		"2026-02":                   time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC),
		"2026-02-03":                time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC),
		"2026-02-03T04:05Z":         base.Add(-6 * time.Second),
		"2026-02-03T04:05:06Z":      base,
		"2026-02-03T04:05:06":       base,
		"2026-02-03T06:05:06+0200":  base,
		"2026-02-03T04:05:06.789Z":  base.Add(789 * time.Millisecond),
		fmt.Sprint(base.Unix()):     base,
		"-1":                        time.Unix(-1, 0),
		"-1.5":                      time.Unix(-2, 5e8),
		"0":                         time.Unix(0, 0),
		"1770091506.5":              base.Add(time.Second / 2),
		"2026-02-03T05:05:06+01:00": base,
	} {
		got, ok := parseInstant(text)
		if !ok || got.sec != want.Unix() || got.nano != int64(want.Nanosecond()) {
			t.Errorf("parseInstant(%q) = %+v, %v, want %v", text, got, ok, want)
		}
	}
	for _, bad := range []string{"", "-", "1.", "x", "2026-13-01", "99999999999999999999", "2026-02-03T", "1e9", "--1"} {
		if got, ok := parseInstant(bad); ok {
			t.Errorf("parseInstant(%q) = %+v", bad, got)
		}
	}
}

func TestParseDecimal(t *testing.T) {
	t.Parallel()
	ordered := []string{"-1e3", "-10", "-9.99", "-0.5", "0", "0.05", "5E-1", "1", "1.5", "9.99", "10", "1e3"}
	for i, a := range ordered {
		for j, b := range ordered {
			x, okX := parseDecimal(a)
			y, okY := parseDecimal(b)
			if !okX || !okY || (x.compare(y) < 0) != (i < j) || (x.compare(y) == 0) != (i == j) {
				t.Errorf("%s against %s: %d", a, b, x.compare(y))
			}
		}
	}
	for _, bad := range []string{"", "-", ".", "1.", "1e", "1e999", "0x1", "1 2", "１"} {
		if _, ok := parseDecimal(bad); ok {
			t.Errorf("parseDecimal(%q) succeeds", bad)
		}
	}
	for _, zero := range []string{"-0", "0.0", "00", "+0", "0e5"} {
		d, ok := parseDecimal(zero)
		if z, _ := parseDecimal("0"); !ok || d.compare(z) != 0 {
			t.Errorf("parseDecimal(%q) = %+v, %v", zero, d, ok)
		}
	}
}
