package authz

import "testing"

// TestKeysOfEveryRequest: the names that are folded by hand are folded right,
// and cost no more than their value.
func TestKeysOfEveryRequest(t *testing.T) {
	for _, key := range []string{
		"aws:CurrentTime", "aws:EpochTime", "aws:RequestedRegion", "aws:ResourceAccount", "aws:PrincipalIsAWSService", "aws:PrincipalAccount",
		"aws:PrincipalType", "aws:PrincipalArn", "aws:TokenIssueTime", "aws:MultiFactorAuthPresent", "aws:ViaAWSService", "aws:SecureTransport",
		"aws:SourceIp", "aws:UserAgent",
	} {
		if got := folded(key); got != lower(key) {
			t.Errorf("folded(%q) = %q", key, got)
		}
		c := NewContext()
		if n := testing.AllocsPerRun(10, func() { c.Set(key, "v") }); n > 1 {
			t.Errorf("%s: %v allocations", key, n)
		}
	}
}
