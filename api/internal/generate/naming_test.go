package main

import "testing"

func TestEnumSuffix(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"Enabled":           "Enabled",
		"PendingDeletion":   "PendingDeletion",
		"SYMMETRIC_DEFAULT": "SymmetricDefault",
		"RSAES_PKCS1_V1_5":  "RsaesPkcs1V15",
		"aws:kms:dsse":      "AwsKmsDsse",
		"us-west-2":         "UsWest2",
		"light blue":        "LightBlue",
		"":                  "Empty",
		"--":                "Empty",
	} {
		if got := enumSuffix(value); got != want {
			t.Errorf("enumSuffix(%q) = %s, want %s", value, got, want)
		}
	}
}

func TestNamesTake(t *testing.T) {
	t.Parallel()
	n := names{}
	for i, want := range []string{"Tag", "TagShape", "TagShape2", "TagShape3"} {
		if got := n.take("test", "Tag", "TagShape"); got != want {
			t.Errorf("call %d gives %s, want %s", i, got, want)
		}
	}
}
