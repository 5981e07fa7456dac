package iam

import (
	"crypto/sha256"
	"embed"
	"strings"
	"time"
)

// awsPolicyPrefix begins the ARNs of AWS managed policies.
const awsPolicyPrefix = "arn:aws:iam::aws:policy/"

// builtinDocuments are the documents of the AWS managed policies that we have.
// They are ours, with the effect of AWS's on the services that we run.
//
//go:embed builtin/*.json
var builtinDocuments embed.FS

// builtinPolicy is one AWS managed policy: its name, path, and the instants of
// AWS's first version and of the version whose effect ours has, in RFC 3339.
type builtinPolicy struct {
	name, path, created, updated, description string
}

// builtinList names every AWS managed policy that we have.
//
// Source: AWS Managed Policy Reference Guide, the page of each policy.
func builtinList() []builtinPolicy {
	const serviceRole, jobFunction = "/service-role/", "/job-function/"
	return []builtinPolicy{
		{"AdministratorAccess", "/", "2015-02-06T18:39:46Z", "2015-02-06T18:39:46Z", "Full access to everything."},
		{"PowerUserAccess", "/", "2015-02-06T18:39:47Z", "2026-02-12T17:59:14Z", "Full access to everything but users, roles and their policies."},
		{"ReadOnlyAccess", "/", "2015-02-06T18:39:48Z", "2026-02-12T18:01:33Z", "Reading, listing and describing in every service."},
		{"ViewOnlyAccess", jobFunction, "2016-11-10T17:20:15Z", "2026-09-30T20:27:08Z", "Listing what there is in every service, without its content."},
		{"SecurityAudit", "/", "2015-02-06T18:41:01Z", "2026-07-21T17:42:29Z", "Reading how every service is configured, without content."},
		{"IAMFullAccess", "/", "2015-02-06T18:40:38Z", "2019-06-21T19:40:00Z", "Full access to IAM."},
		{"IAMReadOnlyAccess", "/", "2015-02-06T18:40:39Z", "2018-01-25T19:11:27Z", "Reading in IAM."},
		{"AWSOrganizationsFullAccess", "/", "2018-11-06T20:31:57Z", "2026-02-12T17:59:07Z", "Full access to the organization and its accounts."},
		{"AWSOrganizationsReadOnlyAccess", "/", "2018-11-06T20:32:38Z", "2024-06-07T21:32:16Z", "Reading about the organization and its accounts."},
		{"AWSKeyManagementServicePowerUser", "/", "2015-02-06T18:40:40Z", "2017-03-07T00:55:11Z", "Making and listing keys and aliases."},
		{"AmazonS3FullAccess", "/", "2015-02-06T18:40:58Z", "2021-09-27T20:16:37Z", "Full access to all buckets."},
		{"AmazonS3ReadOnlyAccess", "/", "2015-02-06T18:40:59Z", "2023-08-10T21:31:39Z", "Reading in all buckets."},
		{"AWSCloudTrail_FullAccess", "/", "2020-10-08T23:41:00Z", "2021-02-22T19:01:00Z", "Full access to trails and to what new ones need."},
		{"AWSCloudTrail_ReadOnlyAccess", "/", "2022-06-14T17:19:05Z", "2022-06-14T17:19:05Z", "Reading trails and events."},
		{"CloudWatchLogsFullAccess", "/", "2015-02-06T18:40:02Z", "2026-02-12T18:00:33Z", "Full access to logs."},
		{"CloudWatchLogsReadOnlyAccess", "/", "2015-02-06T18:40:03Z", "2026-02-12T17:59:13Z", "Reading logs."},
		{"AmazonAthenaFullAccess", "/", "2016-11-30T16:46:01Z", "2024-01-03T19:05:55Z", "Full access to queries, their tables and results."},
		{"AmazonSageMakerFullAccess", "/", "2017-11-29T13:07:59Z", "2026-02-12T17:58:32Z", "Full access to SageMaker and to what its jobs need."},
		{"AmazonSageMakerReadOnly", "/", "2017-11-29T13:07:09Z", "2021-12-01T16:29:20Z", "Reading in SageMaker, records of feature groups included."},
		{"AmazonSageMakerGeospatialFullAccess", serviceRole, "2022-11-30T10:06:48Z", "2022-11-30T10:06:48Z", "Full access to SageMaker geospatial, roles to pass to it included."},
		{"AmazonSageMakerGeospatialExecutionRole", serviceRole, "2022-11-30T10:08:00Z", "2023-05-10T20:28:02Z", "What SageMaker geospatial needs of an execution role."},
		{"AmazonSageMakerFeatureStoreAccess", "/", "2020-12-01T16:24:00Z", "2022-12-05T14:19:58Z", "What the offline store of a feature group needs of its role."},
		{"AmazonSageMakerGroundTruthExecution", "/", "2020-07-09T19:30:00Z", "2022-04-29T20:49:54Z", "What a labeling job needs of its execution role."},
		{"AmazonSageMakerCanvasFullAccess", "/", "2022-09-09T00:44:00Z", "2024-08-16T04:35:00Z", "What SageMaker Canvas needs of the role of its user."},
		{"AmazonSageMakerCanvasDataPrepFullAccess", "/", "2023-10-27T22:56:00Z", "2024-08-16T04:35:00Z", "What the data preparation of SageMaker Canvas needs of the role of its user."},
		{"AmazonSageMakerCanvasDirectDeployAccess", serviceRole, "2023-10-06T18:11:53Z", "2023-10-06T18:11:53Z", "What SageMaker Canvas needs to manage endpoints."},
		{"AmazonSageMakerCanvasForecastAccess", serviceRole, "2022-08-24T20:04:20Z", "2022-08-24T20:04:20Z", "What time series forecasts of SageMaker Canvas need of their role."},
	}
}

// builtinPolicies returns the AWS managed policies that we have, by ARN. Each
// has one version, v1, of the instant of its last change.
func builtinPolicies() map[string]policyRow {
	all := map[string]policyRow{}
	for _, p := range builtinList() {
		doc, err := builtinDocuments.ReadFile("builtin/" + p.name + ".json")
		if err != nil {
			panic("iam: AWS managed policy without a document: " + p.name)
		}
		updated := builtinInstant(p.updated)
		row := policyRow{
			Account: "aws", Name: p.name, Path: p.path, ID: builtinID(p.name), Description: new(p.description),
			Created: builtinInstant(p.created), Updated: updated, Default: "v1", Next: 2,
			Versions: []policyVersion{{ID: "v1", Document: strings.TrimSpace(string(doc)), Created: updated}},
		}
		all[row.arn()] = row
	}
	return all
}

func builtinInstant(s string) int64 {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic("iam: AWS managed policy with the date " + s)
	}
	return t.UnixMicro()
}

// builtinID is the unique id of an AWS managed policy: the same everywhere.
func builtinID(name string) string {
	sum := sha256.Sum256([]byte(name))
	for i := range sum {
		sum[i] = base32Alphabet[sum[i]&31]
	}
	return "ANPA" + string(sum[:17])
}
