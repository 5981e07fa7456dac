package lint

import "testing"

func TestOverlapAndCovers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b             string
		overlap          bool
		aCovers, bCovers bool
	}{
		{"abc", "abc", true, true, true},
		{"abc", "abd", false, false, false},
		{"a*", "*c", true, false, false},
		{"a*", "ab*", true, true, false},
		{"*", "", true, true, false},
		{"?", "", false, false, false},
		{"?", "é", true, true, false},
		{"a?c", "a*c", true, false, true},
		{"a*b*c", "a*c", true, false, true},
		{"a*x", "a*y", false, false, false},
		{"*a*", "*b*", true, false, false},
		{"**", "*", true, true, true},
		{"a*", "b*", false, false, false},
		{"a${x:y}c", "abc", true, false, false},
		{"${*}", "*", true, false, true},
	} {
		a, b := compile(tt.a, true, true), compile(tt.b, true, true)
		if got := overlap(a, b); got != tt.overlap {
			t.Errorf("overlap(%q, %q) = %v", tt.a, tt.b, got)
		}
		if got := overlap(b, a); got != tt.overlap {
			t.Errorf("overlap(%q, %q) = %v", tt.b, tt.a, got)
		}
		if tt.a == "a${x:y}c" {
			continue // a variable's text is not known, so it covers nothing for sure
		}
		if got := covers(a, b); got != tt.aCovers {
			t.Errorf("covers(%q, %q) = %v", tt.a, tt.b, got)
		}
		if got := covers(b, a); got != tt.bCovers {
			t.Errorf("covers(%q, %q) = %v", tt.b, tt.a, got)
		}
	}
	bucket, object := template("arn:${Partition}:s3:::${BucketName}"), template("arn:${Partition}:s3:::${BucketName}/${ObjectName}")
	for _, tt := range []struct {
		arn            string
		bucket, object bool
	}{
		{"arn:aws:s3:::b", true, false},
		{"arn:aws:s3:::b/*", false, true},
		{"arn:aws:s3:::b*", true, true},
		{"arn:aws:s3:::*", true, true},
		{"arn:aws:s3:::", false, false},
		{"arn:aws:s3:::b/k:1", false, true},
		{"arn:aws:s3:us-west-2::b", false, false},
		{"*", true, true},
	} {
		p := compile(tt.arn, true, false)
		if got := overlap(p, bucket); got != tt.bucket {
			t.Errorf("%s is a bucket: %v", tt.arn, got)
		}
		if got := overlap(p, object); got != tt.object {
			t.Errorf("%s is an object: %v", tt.arn, got)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	names := []string{"Decrypt", "DescribeKey", "Encrypt"}
	for s, want := range map[string]string{"decrypt": "Decrypt", "Dekrypt": "Decrypt", "DescribeKeys": "DescribeKey", "Sign": "", "": ""} {
		if got := nearest(s, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", s, got, want)
		}
	}
}
