package iam

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/authz/catalog"
	"github.com/sagekeep/sagekeep/internal/store"
)

// knownActions returns the IAM actions of each service prefix.
func knownActions() map[string][]string {
	known := map[string][]string{
		"account": strings.Fields(`DeleteAlternateContact DisableRegion EnableRegion GetAccountInformation GetAlternateContact GetContactInformation
			GetGovCloudAccountInformation GetPrimaryEmail GetRegionOptStatus ListRegions PutAccountName PutAlternateContact PutContactInformation`),
		"s3-object-lambda": {"GetObject", "ListBucket", "PutObject"},
	}
	for _, prefix := range catalog.Services() {
		service, _ := catalog.Service(prefix)
		for _, a := range service.Actions {
			known[prefix] = append(known[prefix], a.Name)
		}
	}
	return known
}

// globMatches is a matcher of its own, to check the engine's against.
func globMatches(pattern, s string) bool {
	if pattern == "" {
		return s == ""
	}
	if pattern[0] == '*' {
		return globMatches(pattern[1:], s) || s != "" && globMatches(pattern, s[1:])
	}
	return s != "" && pattern[0] == s[0] && globMatches(pattern[1:], s[1:])
}

// matching returns the known actions that a pattern names.
func matching(known map[string][]string, pattern string) []string {
	var all []string
	for service, names := range known {
		for _, n := range names {
			if a := service + ":" + n; globMatches(strings.ToLower(pattern), strings.ToLower(a)) {
				all = append(all, a)
			}
		}
	}
	slices.Sort(all)
	return all
}

type oneOrMany []string

func (o *oneOrMany) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*o = make(oneOrMany, 1)
		return json.Unmarshal(b, &(*o)[0])
	}
	return json.Unmarshal(b, (*[]string)(o))
}

type builtinStatement struct {
	Sid                                      string
	Effect                                   string
	Action, NotAction, Resource, NotResource oneOrMany
	Condition                                map[string]map[string]oneOrMany
}

// statementsOf reads a document a second way, and each statement's own text.
func statementsOf(tb testing.TB, doc string) (all []builtinStatement, texts []string) {
	tb.Helper()
	var d struct {
		Statement []json.RawMessage
	}
	if err := json.Unmarshal([]byte(doc), &d); err != nil {
		tb.Fatal(err)
	}
	for _, raw := range d.Statement {
		var s builtinStatement
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&s); err != nil {
			tb.Fatal(err)
		}
		all, texts = append(all, s), append(texts, string(raw))
	}
	return all, texts
}

// builtinDecision asks one document, for a user of the test account on the
// account's own resources.
func builtinDecision(p *authz.Policy, action, resource string, c authz.Context) authz.Decision {
	return authz.Decide(&authz.Request{
		Principal: authz.Principal{Type: authz.User, ARN: "arn:aws:iam::" + testAccount + ":user/bob", Account: testAccount},
		Action:    action, Resource: resource, ResourceAccount: testAccount, Context: c,
	}, &authz.Policies{Identity: []*authz.Policy{p}}, nil)
}

func parseBuiltin(tb testing.TB, doc string) *authz.Policy {
	tb.Helper()
	p, err := authz.Parse(authz.IdentityPolicy, []byte(doc))
	if err != nil {
		tb.Fatalf("%v in %s", err, doc)
	}
	return p
}

// builtinVariables are the values of the policy variables in AWS managed
// policies.
var builtinVariables = map[string]string{
	"aws:PrincipalAccount":      testAccount,
	"sagemaker:DomainId":        "d-abc",
	"sagemaker:UserProfileName": "bob",
}

func fillVariables(s string) string {
	for name, v := range builtinVariables {
		s = strings.ReplaceAll(s, "${"+name+"}", v)
	}
	return s
}

// fitting returns a context that meets all conditions of a statement.
func fitting(tb testing.TB, s *builtinStatement) authz.Context {
	tb.Helper()
	c := authz.NewContext()
	for name, v := range builtinVariables {
		c.Set(name, v)
	}
	for operator, keys := range s.Condition {
		for key, values := range keys {
			switch operator {
			case "Null":
				if len(values) != 1 || values[0] != "true" {
					tb.Fatalf("%s: Null of %s", s.Sid, key)
				}
			case "StringEquals", "StringEqualsIfExists", "StringEqualsIgnoreCase", "StringLike", "ArnLike":
				c.Set(key, strings.ReplaceAll(fillVariables(values[len(values)-1]), "*", "x1"))
			default:
				tb.Fatalf("%s: operator %s", s.Sid, operator)
			}
		}
	}
	return c
}

// fittingResources returns resources that a statement names.
func fittingResources(s *builtinStatement) []string {
	if len(s.NotResource) > 0 {
		return []string{"*", "arn:aws:sagemaker:us-west-2:" + testAccount + ":feature-group/crops"}
	}
	all := make([]string, len(s.Resource))
	for i, r := range s.Resource {
		all[i] = fillVariables(r)
		if r != "*" {
			all[i] = strings.ReplaceAll(all[i], "*", "x1")
		}
	}
	return all
}

// TestBuiltinGrants tries, for each statement of each AWS managed policy,
// every action that it names on every resource that it names, and what lies
// next to it: another action, another resource, and each condition not met.
func TestBuiltinGrants(t *testing.T) {
	t.Parallel()
	known := knownActions()
	for arn, p := range builtinPolicies() {
		t.Run(p.Name, func(t *testing.T) {
			t.Parallel()
			doc := p.Versions[0].Document
			whole := parseBuiltin(t, doc)
			statements, texts := statementsOf(t, doc)
			for i := range statements {
				s := &statements[i]
				if s.Effect != "Allow" || s.Sid == "" {
					t.Fatalf("statement %d: %s %q", i, s.Effect, s.Sid)
				}
				alone := parseBuiltin(t, `{"Version":"2012-10-17","Statement":[`+texts[i]+`]}`)
				granted := map[string]bool{}
				for _, pattern := range s.Action {
					for _, a := range matching(known, pattern) {
						granted[a] = true
					}
				}
				if len(s.NotAction) > 0 {
					for _, a := range matching(known, "*") {
						granted[a] = true
					}
					for _, pattern := range s.NotAction {
						for _, a := range matching(known, pattern) {
							delete(granted, a)
						}
					}
				}
				if len(granted) == 0 {
					t.Errorf("%s grants nothing that is known", s.Sid)
				}
				c := fitting(t, s)
				resources := fittingResources(s)
				for a := range granted {
					for _, r := range resources {
						if d := builtinDecision(whole, a, r, c); d.Effect != authz.Allowed || d.Layer != authz.LayerIdentity {
							t.Fatalf("%s: %s on %s: %s, %s", s.Sid, a, r, d.Effect, d.Reason)
						}
						if d := builtinDecision(alone, a, r, c); d.Statement != s.Sid {
							t.Fatalf("%s: %s on %s is allowed by %q", s.Sid, a, r, d.Statement)
						}
					}
				}
				checkNeighbours(t, s, alone, known, granted, resources, c)
			}
			if arn != awsPolicyPrefix+strings.TrimPrefix(p.Path, "/")+p.Name {
				t.Errorf("ARN %s", arn)
			}
		})
	}
}

func checkNeighbours(t *testing.T, s *builtinStatement, alone *authz.Policy, known map[string][]string, granted map[string]bool, resources []string, c authz.Context) {
	t.Helper()
	one := slices.Sorted(maps.Keys(granted))[0]
	denied := func(what, action, resource string, c authz.Context) {
		t.Helper()
		if d := builtinDecision(alone, action, resource, c); d.Effect != authz.ImplicitlyDenied {
			t.Errorf("%s: %s: %s on %s is %s", s.Sid, what, action, resource, d.Effect)
		}
	}
	// The nearest actions that are not granted: of the same services, else of
	// any.
	for service, names := range known {
		for _, n := range names {
			if a := service + ":" + n; !granted[a] {
				denied("another action", a, resources[0], c)
			}
		}
	}
	for _, r := range s.Resource {
		if r == "*" {
			continue
		}
		fit := strings.ReplaceAll(fillVariables(r), "*", "x1")
		beside := "arn:aws:other" + strings.TrimPrefix(fit, "arn:aws")
		if !slices.ContainsFunc(s.Resource, func(r string) bool { return globMatches(fillVariables(r), beside) }) {
			denied("another resource", one, beside, c)
		}
		if literal := strings.Trim(r[strings.LastIndexAny(r, ":/")+1:], "*"); literal != "" {
			cut := strings.Replace(fit, literal, strings.ToUpper(literal[:1])+"-"+literal[1:], 1)
			if !slices.ContainsFunc(s.Resource, func(r string) bool { return globMatches(fillVariables(r), cut) }) {
				denied("another name", one, cut, c)
			}
		}
	}
	for _, r := range s.NotResource {
		denied("excluded", one, strings.ReplaceAll(r, "*", "x1"), c)
	}
	for operator, keys := range s.Condition {
		for key := range keys {
			other := c.Clone()
			other.Set(key, "something else")
			denied(key+" differs", one, resources[0], other)
			if !strings.HasSuffix(operator, "IfExists") && operator != "Null" {
				other.Delete(key)
				denied("no "+key, one, resources[0], other)
			}
		}
	}
}

func TestBuiltinDocuments(t *testing.T) {
	t.Parallel()
	known := knownActions()
	files, err := builtinDocuments.ReadDir("builtin")
	if err != nil || len(files) != len(builtinList()) {
		t.Errorf("%d documents for %d policies: %v", len(files), len(builtinList()), err)
	}
	ids := map[string]string{}
	for arn, p := range builtinPolicies() {
		doc := p.Versions[0].Document
		if err := parseManaged(doc); err != nil {
			t.Errorf("%s: %v", arn, err)
		}
		for _, k := range []authz.Kind{authz.IdentityPolicy, authz.BoundaryPolicy, authz.SessionPolicy} {
			if _, err := authz.Parse(k, []byte(doc)); err != nil {
				t.Errorf("%s as %s: %v", arn, k, err)
			}
		}
		statements, _ := statementsOf(t, doc)
		for _, s := range statements {
			for _, a := range slices.Concat(s.Action, s.NotAction) {
				if a != "*" && len(matching(known, a)) == 0 {
					t.Errorf("%s, %s: no service has the action %s", p.Name, s.Sid, a)
				}
			}
		}
		if other, dup := ids[p.ID]; dup || len(p.ID) != 21 || !strings.HasPrefix(p.ID, "ANPA") {
			t.Errorf("%s has the id %s, as %s", p.Name, p.ID, other)
		}
		ids[p.ID] = p.Name
		if p.Created > p.Updated || p.Versions[0].Created != p.Updated || timeOf(p.Created).Year() < 2015 || timeOf(p.Updated).Year() > 2026 {
			t.Errorf("%s: made %s, changed %s", p.Name, timeOf(p.Created), timeOf(p.Updated))
		}
	}
}

// TestBuiltinKey is a list written by hand, apart from the documents.
func TestBuiltinKey(t *testing.T) {
	t.Parallel()
	const (
		region = "us-west-2:" + testAccount + ":"
		sage   = "arn:aws:sagemaker:" + region
		geo    = "arn:aws:sagemaker-geospatial:" + region
		logs   = "arn:aws:logs:" + region
		glue   = "arn:aws:glue:" + region
		role   = "arn:aws:iam::" + testAccount + ":role/"
		key    = "arn:aws:kms:" + region + "key/1234abcd-12ab-34cd-56ef-1234567890ab"
	)
	passed := func(service string) map[string]string { return map[string]string{"iam:PassedToService": service} }
	mine := map[string]string{"aws:PrincipalAccount": testAccount, "aws:ResourceAccount": testAccount}
	tests := []struct {
		policy, action, resource string
		context                  map[string]string
		want                     bool
	}{
		{"AmazonSageMakerFullAccess", "sagemaker:CreateFeatureGroup", sage + "feature-group/crops", nil, true},
		{"AmazonSageMakerFullAccess", "sagemaker:PutRecord", sage + "feature-group/crops", nil, true},
		{"AmazonSageMakerFullAccess", "sagemaker:CreateLabelingJob", sage + "labeling-job/fields", nil, true},
		{"AmazonSageMakerFullAccess", "sagemaker-geospatial:StartEarthObservationJob", "*", nil, true},
		{"AmazonSageMakerFullAccess", "sagemaker-geospatial:GetEarthObservationJob", geo + "earth-observation-job/x1", nil, true},
		{"AmazonSageMakerFullAccess", "sagemaker:CreateDomain", sage + "domain/d-1", nil, false},
		{"AmazonSageMakerFullAccess", "sagemaker:DescribeDomain", sage + "domain/d-1", nil, true},
		{"AmazonSageMakerFullAccess", "sagemaker:CreateUserProfile", sage + "user-profile/d-1/bob", nil, false},
		{"AmazonSageMakerFullAccess", "sagemaker:CreateApp", sage + "app/d-1/bob/Canvas/default", nil, true},
		{"AmazonSageMakerFullAccess", "s3:PutObject", "arn:aws:s3:::sagemaker-us-west-2-111122223333/x", nil, true},
		{"AmazonSageMakerFullAccess", "s3:PutObject", "arn:aws:s3:::data/SageMaker/x", nil, true},
		{"AmazonSageMakerFullAccess", "s3:PutObject", "arn:aws:s3:::data/x", nil, false},
		{"AmazonSageMakerFullAccess", "s3:GetObject", "arn:aws:s3:::data/x", map[string]string{"s3:ExistingObjectTag/SageMaker": "TRUE"}, true},
		{"AmazonSageMakerFullAccess", "s3:DeleteBucket", "arn:aws:s3:::sagemaker-x", nil, false},
		{"AmazonSageMakerFullAccess", "iam:PassRole", role + "any", passed("sagemaker.amazonaws.com"), true},
		{"AmazonSageMakerFullAccess", "iam:PassRole", role + "any", passed("sagemaker-geospatial.amazonaws.com"), false},
		{"AmazonSageMakerFullAccess", "iam:PassRole", role + "any", passed("glue.amazonaws.com"), false},
		{"AmazonSageMakerFullAccess", "iam:PassRole", role + "service-role/AmazonSageMaker-1", passed("glue.amazonaws.com"), true},
		{"AmazonSageMakerFullAccess", "iam:PassRole", role + "any", nil, false},
		{"AmazonSageMakerFullAccess", "kms:DescribeKey", key, nil, true},
		{"AmazonSageMakerFullAccess", "kms:Decrypt", key, nil, false},
		{"AmazonSageMakerFullAccess", "kms:CreateGrant", key, nil, false},
		{"AmazonSageMakerFullAccess", "glue:UpdateTable", glue + "table/sagemaker_featurestore/crops", nil, true},
		{"AmazonSageMakerFullAccess", "glue:UpdateTable", glue + "table/sales/crops", nil, false},
		{"AmazonSageMakerFullAccess", "glue:CreateTable", glue + "table/sales/sagemaker_tmp_1", nil, true},
		{"AmazonSageMakerFullAccess", "athena:StartQueryExecution", "arn:aws:athena:" + region + "workgroup/primary", nil, true},
		{"AmazonSageMakerFullAccess", "logs:PutLogEvents", logs + "log-group:/aws/sagemaker/LabelingJobs:log-stream:x", nil, true},
		{"AmazonSageMakerFullAccess", "logs:DeleteLogGroup", logs + "log-group:/aws/sagemaker/LabelingJobs", nil, false},
		{"AmazonSageMakerFullAccess", "cloudtrail:LookupEvents", "*", nil, false},

		{"service-role/AmazonSageMakerGeospatialFullAccess", "sagemaker-geospatial:ExportEarthObservationJob", geo + "earth-observation-job/x1", nil, true},
		{"service-role/AmazonSageMakerGeospatialFullAccess", "iam:PassRole", role + "geo", passed("sagemaker-geospatial.amazonaws.com"), true},
		{"service-role/AmazonSageMakerGeospatialFullAccess", "iam:PassRole", role + "geo", passed("sagemaker.amazonaws.com"), false},
		{"service-role/AmazonSageMakerGeospatialFullAccess", "sagemaker:CreateLabelingJob", sage + "labeling-job/x", nil, false},
		{"service-role/AmazonSageMakerGeospatialExecutionRole", "s3:PutObject", "arn:aws:s3:::sagemaker-out/x", nil, true},
		{"service-role/AmazonSageMakerGeospatialExecutionRole", "s3:PutObject", "arn:aws:s3:::out/x", nil, false},
		{"service-role/AmazonSageMakerGeospatialExecutionRole", "kms:CreateGrant", key, nil, false},
		{"service-role/AmazonSageMakerGeospatialExecutionRole", "sagemaker-geospatial:GetRasterDataCollection", geo + "raster-data-collection/public/x", nil, true},
		{"service-role/AmazonSageMakerGeospatialExecutionRole", "sagemaker-geospatial:DeleteEarthObservationJob", geo + "earth-observation-job/x1", nil, false},

		{"AmazonSageMakerFeatureStoreAccess", "s3:PutObject", "arn:aws:s3:::my-sagemaker-offline/111122223333/x.parquet", nil, true},
		{"AmazonSageMakerFeatureStoreAccess", "s3:GetBucketAcl", "arn:aws:s3:::my-sagemaker-offline", nil, true},
		{"AmazonSageMakerFeatureStoreAccess", "s3:GetObject", "arn:aws:s3:::my-sagemaker-offline/a/metadata/b", nil, true},
		{"AmazonSageMakerFeatureStoreAccess", "s3:GetObject", "arn:aws:s3:::my-sagemaker-offline/a/data/b", nil, false},
		{"AmazonSageMakerFeatureStoreAccess", "s3:PutObject", "arn:aws:s3:::offline/x.parquet", nil, false},
		{"AmazonSageMakerFeatureStoreAccess", "glue:GetTable", glue + "catalog", nil, true},
		{"AmazonSageMakerFeatureStoreAccess", "glue:CreateTable", glue + "table/sagemaker_featurestore/crops", nil, false},
		{"AmazonSageMakerFeatureStoreAccess", "sagemaker:PutRecord", sage + "feature-group/crops", nil, false},
		{"AmazonSageMakerFeatureStoreAccess", "kms:GenerateDataKey", key, nil, false},

		{"AmazonSageMakerGroundTruthExecution", "s3:PutObject", "arn:aws:s3:::my-groundtruth/x", nil, true},
		{"AmazonSageMakerGroundTruthExecution", "s3:GetObject", "arn:aws:s3:::data/x", map[string]string{"s3:ExistingObjectTag/SageMaker": "true"}, true},
		{"AmazonSageMakerGroundTruthExecution", "s3:PutObject", "arn:aws:s3:::data/x", map[string]string{"s3:ExistingObjectTag/SageMaker": "true"}, false},
		{"AmazonSageMakerGroundTruthExecution", "s3:ListBucket", "arn:aws:s3:::data", nil, true},
		{"AmazonSageMakerGroundTruthExecution", "kms:GenerateDataKey", key, nil, false},

		{"AmazonSageMakerReadOnly", "sagemaker:BatchGetRecord", sage + "feature-group/crops", nil, true},
		{"AmazonSageMakerReadOnly", "sagemaker:PutRecord", sage + "feature-group/crops", nil, false},
		{"AmazonSageMakerReadOnly", "sagemaker-geospatial:GetEarthObservationJob", geo + "earth-observation-job/x1", nil, false},

		{"AmazonSageMakerCanvasFullAccess", "s3:CreateBucket", "arn:aws:s3:::sagemaker-us-west-2-111122223333", nil, true},
		{"AmazonSageMakerCanvasFullAccess", "s3:PutObject", "arn:aws:s3:::data/x", nil, false},
		{"AmazonSageMakerCanvasFullAccess", "sagemaker:CreateAutoMLJob", sage + "automl-job/Canvas1", nil, true},
		{"AmazonSageMakerCanvasFullAccess", "sagemaker:CreateAutoMLJob", sage + "automl-job/own", nil, false},
		{"AmazonSageMakerCanvasFullAccess", "kms:DescribeKey", key, map[string]string{"aws:ResourceTag/Source": "SageMakerCanvas", "aws:PrincipalAccount": testAccount, "aws:ResourceAccount": testAccount}, true},
		{"AmazonSageMakerCanvasFullAccess", "kms:DescribeKey", key, mine, false},
		{"AmazonSageMakerCanvasFullAccess", "kms:Decrypt", key, mine, false},
		{"AmazonSageMakerCanvasFullAccess", "iam:PassRole", role + "Jane", passed("forecast.amazonaws.com"), true},
		{"AmazonSageMakerCanvasFullAccess", "athena:ListDatabases", "arn:aws:athena:" + region + "datacatalog/x", mine, true},
		{
			"AmazonSageMakerCanvasFullAccess", "athena:ListDatabases", "arn:aws:athena:us-west-2:444455556666:datacatalog/x",
			map[string]string{"aws:PrincipalAccount": testAccount, "aws:ResourceAccount": otherAccount},
			false,
		},
		{"AmazonSageMakerCanvasDataPrepFullAccess", "sagemaker:CreateFeatureGroup", sage + "feature-group/crops", nil, true},
		{"AmazonSageMakerCanvasDataPrepFullAccess", "s3:GetObject", "arn:aws:s3:::sagemaker-x/a", mine, true},
		{"AmazonSageMakerCanvasDataPrepFullAccess", "s3:GetObject", "arn:aws:s3:::sagemaker-x/a", nil, false},
		{"service-role/AmazonSageMakerCanvasForecastAccess", "s3:GetObject", "arn:aws:s3:::sagemaker-us-west-2-1/Canvas/x", nil, true},
		{"service-role/AmazonSageMakerCanvasForecastAccess", "s3:GetObject", "arn:aws:s3:::sagemaker-us-west-2-1/other/x", nil, false},
		{"service-role/AmazonSageMakerCanvasForecastAccess", "s3:ListBucket", "arn:aws:s3:::other", nil, false},
		{"service-role/AmazonSageMakerCanvasDirectDeployAccess", "sagemaker:InvokeEndpoint", sage + "canvas-1", nil, true},

		{"AWSKeyManagementServicePowerUser", "kms:CreateKey", "*", nil, true},
		{"AWSKeyManagementServicePowerUser", "kms:TagResource", key, nil, true},
		{"AWSKeyManagementServicePowerUser", "kms:Encrypt", key, nil, false},
		{"AWSKeyManagementServicePowerUser", "kms:PutKeyPolicy", key, nil, false},
		{"AWSKeyManagementServicePowerUser", "kms:UpdateAlias", key, nil, false},
		{"AWSKeyManagementServicePowerUser", "iam:ListUsers", "arn:aws:iam::111122223333:user/", nil, true},

		{"ReadOnlyAccess", "s3:GetObject", "arn:aws:s3:::data/x", nil, true},
		{"ReadOnlyAccess", "sagemaker:DescribeFeatureGroup", sage + "feature-group/crops", nil, true},
		{"ReadOnlyAccess", "sagemaker:GetRecord", sage + "feature-group/crops", nil, false},
		{"ReadOnlyAccess", "kms:Decrypt", key, nil, false},
		{"ReadOnlyAccess", "iam:SimulatePrincipalPolicy", "arn:aws:iam::111122223333:user/bob", nil, true},
		{"job-function/ViewOnlyAccess", "s3:ListBucket", "arn:aws:s3:::data", nil, true},
		{"job-function/ViewOnlyAccess", "s3:GetObject", "arn:aws:s3:::data/x", nil, false},
		{"job-function/ViewOnlyAccess", "kms:DescribeKey", key, nil, false},
		{"SecurityAudit", "s3:GetBucketPolicy", "arn:aws:s3:::data", nil, true},
		{"SecurityAudit", "s3:GetObject", "arn:aws:s3:::data/x", nil, false},
		{"SecurityAudit", "cloudtrail:LookupEvents", "*", nil, true},
		{"SecurityAudit", "kms:GetKeyPolicy", key, nil, true},

		{"AWSCloudTrail_ReadOnlyAccess", "cloudtrail:LookupEvents", "*", nil, true},
		{"AWSCloudTrail_ReadOnlyAccess", "cloudtrail:StopLogging", "arn:aws:cloudtrail:" + region + "trail/t", nil, false},
		{"AWSCloudTrail_FullAccess", "cloudtrail:CreateTrail", "arn:aws:cloudtrail:" + region + "trail/t", nil, true},
		{"AWSCloudTrail_FullAccess", "s3:PutBucketPolicy", "arn:aws:s3:::aws-cloudtrail-logs-1", nil, true},
		{"AWSCloudTrail_FullAccess", "s3:PutBucketPolicy", "arn:aws:s3:::data", nil, false},
		{"AWSCloudTrail_FullAccess", "iam:PassRole", role + "trail", passed("cloudtrail.amazonaws.com"), true},
		{"CloudWatchLogsReadOnlyAccess", "logs:FilterLogEvents", logs + "log-group:x", nil, true},
		{"CloudWatchLogsReadOnlyAccess", "logs:PutLogEvents", logs + "log-group:x:log-stream:y", nil, false},
		{"CloudWatchLogsFullAccess", "logs:PutLogEvents", logs + "log-group:x:log-stream:y", nil, true},

		{"AWSOrganizationsFullAccess", "organizations:CreatePolicy", "*", nil, true},
		{"AWSOrganizationsFullAccess", "iam:CreateServiceLinkedRole", role + "aws-service-role/x", map[string]string{"iam:AWSServiceName": "organizations.amazonaws.com"}, true},
		{"AWSOrganizationsFullAccess", "iam:CreateServiceLinkedRole", role + "aws-service-role/x", map[string]string{"iam:AWSServiceName": "sagemaker.amazonaws.com"}, false},
		{"AWSOrganizationsReadOnlyAccess", "organizations:DescribeOrganization", "*", nil, true},
		{"AWSOrganizationsReadOnlyAccess", "organizations:AttachPolicy", "*", nil, false},

		{"AdministratorAccess", "iam:CreateUser", "arn:aws:iam::111122223333:user/x", nil, true},
		{"PowerUserAccess", "kms:Decrypt", key, nil, true},
		{"PowerUserAccess", "iam:CreateUser", "arn:aws:iam::111122223333:user/x", nil, false},
		{"PowerUserAccess", "iam:CreateServiceLinkedRole", role + "aws-service-role/x", nil, true},
		{"PowerUserAccess", "organizations:DescribeOrganization", "*", nil, true},
		{"PowerUserAccess", "organizations:ListAccounts", "*", nil, false},
		{"IAMFullAccess", "iam:PassRole", role + "x", nil, true},
		{"IAMFullAccess", "sts:AssumeRole", role + "x", nil, false},
		{"IAMReadOnlyAccess", "iam:GetUser", "arn:aws:iam::111122223333:user/x", nil, true},
		{"IAMReadOnlyAccess", "iam:CreateUser", "arn:aws:iam::111122223333:user/x", nil, false},
		{"AmazonS3FullAccess", "s3:DeleteBucket", "arn:aws:s3:::data", nil, true},
		{"AmazonS3ReadOnlyAccess", "s3:GetObject", "arn:aws:s3:::data/x", nil, true},
		{"AmazonS3ReadOnlyAccess", "s3:PutObject", "arn:aws:s3:::data/x", nil, false},
		{"AmazonAthenaFullAccess", "glue:DeleteTable", glue + "table/a/b", nil, true},
		{"AmazonAthenaFullAccess", "s3:PutObject", "arn:aws:s3:::aws-athena-query-results-1/x", nil, true},
		{"AmazonAthenaFullAccess", "s3:PutObject", "arn:aws:s3:::data/x", nil, false},
	}
	all := builtinPolicies()
	tried := map[string]map[bool]bool{}
	for _, test := range tests {
		p, ok := all[awsPolicyPrefix+test.policy]
		if !ok {
			t.Errorf("no policy %s", test.policy)
			continue
		}
		c := authz.NewContext()
		for k, v := range test.context {
			c.Set(k, v)
		}
		d := builtinDecision(parseBuiltin(t, p.Versions[0].Document), test.action, test.resource, c)
		if got := d.Effect == authz.Allowed; got != test.want {
			t.Errorf("%s: %s on %s with %v: allowed = %t, want %t (%s)", test.policy, test.action, test.resource, test.context, got, test.want, d.Reason)
		}
		if tried[test.policy] == nil {
			tried[test.policy] = map[bool]bool{}
		}
		tried[test.policy][test.want] = true
	}
	for arn := range all {
		if tried[strings.TrimPrefix(arn, awsPolicyPrefix)] == nil {
			t.Errorf("%s is not in the table", arn)
		}
	}
}

// TestBuiltinOverAPI sees the policies as a caller does.
func TestBuiltinOverAPI(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx := f.asRoot()
	geo := awsPolicyPrefix + "service-role/AmazonSageMakerGeospatialFullAccess"
	f.newUser("ann")
	f.newRole("reader")
	must(ctx, f, iamapi.AttachUserPolicy, &iamapi.AttachUserPolicyInput{UserName: "ann", PolicyArn: geo})
	must(ctx, f, iamapi.AttachRolePolicy, &iamapi.AttachRolePolicyInput{RoleName: "reader", PolicyArn: geo})
	must(ctx, f, iamapi.PutRolePermissionsBoundary, &iamapi.PutRolePermissionsBoundaryInput{RoleName: "reader", PermissionsBoundary: geo})

	p := must(ctx, f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: geo}).Policy
	if *p.AttachmentCount != 2 || *p.PermissionsBoundaryUsageCount != 1 || *p.Path != "/service-role/" || *p.DefaultVersionId != "v1" || !*p.IsAttachable {
		t.Errorf("%d attachments, %d as boundary, path %s, %s", *p.AttachmentCount, *p.PermissionsBoundaryUsageCount, *p.Path, *p.DefaultVersionId)
	}
	var listed []string
	for _, p := range must(ctx, f, iamapi.ListPolicies, &iamapi.ListPoliciesInput{Scope: iamapi.PolicyScopeTypeAws, PathPrefix: new("/service-role/")}).Policies {
		listed = append(listed, *p.PolicyName)
	}
	if len(listed) != 4 {
		t.Errorf("below /service-role/ are %v", listed)
	}
	other, err := f.s.CreateAccount(t.Context(), otherAccount)
	if err != nil {
		t.Fatal(err)
	}
	if p := must(f.as(other.AccessKeyID, ""), f, iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: geo}).Policy; *p.AttachmentCount != 0 {
		t.Errorf("another account counts %d attachments", *p.AttachmentCount)
	}
	runSteps(t, []step{
		{"delete", do(iamapi.DeletePolicy, &iamapi.DeletePolicyInput{PolicyArn: geo}), "AccessDenied", ""},
		{"new version", do(iamapi.CreatePolicyVersion, &iamapi.CreatePolicyVersionInput{PolicyArn: geo, PolicyDocument: allowAll}), "AccessDenied", ""},
		{"delete version", do(iamapi.DeletePolicyVersion, &iamapi.DeletePolicyVersionInput{PolicyArn: geo, VersionId: "v1"}), "AccessDenied", ""},
		{"set version", do(iamapi.SetDefaultPolicyVersion, &iamapi.SetDefaultPolicyVersionInput{PolicyArn: geo, VersionId: "v1"}), "AccessDenied", ""},
		{"without its path", do(iamapi.GetPolicy, &iamapi.GetPolicyInput{PolicyArn: awsPolicyPrefix + "AmazonSageMakerGeospatialFullAccess"}), "NoSuchEntity", ""},
	})
	err = f.s.view(t.Context(), func(tx *store.Tx) error {
		for arn := range f.s.builtin {
			if doc, err := f.s.compileManaged(tx, authz.IdentityPolicy, testAccount, arn); err != nil || doc.Len() == 0 {
				t.Errorf("%s: %v", arn, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
