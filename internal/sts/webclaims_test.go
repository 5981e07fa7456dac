package sts

import (
	"slices"
	"testing"
)

func TestIssuerClaims(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"token.actions.githubusercontent.com":        "job_workflow_ref",
		"token.actions.githubusercontent.com/acme":   "job_workflow_ref",
		"token.actions.acme.ghe.com":                 "job_workflow_ref",
		"github.com/enterprises/acme":                "enterprise_id",
		"gitlab.com":                                 "ref_protected",
		"agent.buildkite.com":                        "pipeline_slug",
		"agent.eu.buildkite.site":                    "pipeline_slug",
		"oidc.circleci.com/org/1":                    "oidc.circleci.com/project-id",
		"idcs-1.identity.oraclecloud.com":            "rpst_id",
		"gitlab.example.com":                         "",
		"token.actions..ghe.com.evil.example":        "",
		"token.actions.ghe.com":                      "",
		"github.com":                                 "",
		"127.0.0.1:8443/realms/gitlab.com":           "",
		"token.actions.githubusercontent.com.evil.x": "",
	} {
		got := issuerClaims(address)
		if want == "" && got != nil || want != "" && !slices.Contains(got, want) {
			t.Errorf("issuerClaims(%q) = %v, want %q", address, got, want)
		}
	}
}
