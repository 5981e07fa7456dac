package catalog

import (
	"slices"
	"strings"
)

// viaServices are the first parts of the names that kms:ViaService takes.
//
// Source: AWS KMS Developer Guide, "Services that support the kms:ViaService
// condition key".
const viaServices = `
airflow aoss appfabric appflow apprunner apptest athena auditmanager backup backup-gateway bedrock cassandra chimevoiceconnector
cleanrooms-ml codeartifact codeguru-reviewer comprehend connect dax deepracer directoryservice dms docdb-elastic drs dynamodb ec2 ecr
eks elasticache elasticbeanstalk elasticfilesystem entityresolution es events finspace firehose forecast fsx geo glue groundstation
healthlake importexport iotsitewise kafka kendra kinesis kinesisvideo lambda lex license-manager lookoutequipment lookoutmetrics
lookoutvision m2 macie malware-protection managedblockchain mediatailor memorydb mgn monitron mq nimble omics profile proton qldb rds
redshift redshift-serverless rekognition s3 s3tables sagemaker secretsmanager securitylake serverlessrepo ses sns sqlworkbench sqs
ssm ssm-contacts ssm-incidents storagegateway thinclient timestream translate verified-access wisdom workmail workspaces workspaces-web
xray
`

// ViaServices lists the services that kms:ViaService can name, sorted: the
// "sagemaker" of "sagemaker.us-west-2.amazonaws.com".
func ViaServices() []string { return slices.Sorted(strings.FieldsSeq(viaServices)) }

// principalNames are first parts of service principals that are no IAM prefix.
//
// Source: the service guides, on trust policies and resource policies.
const principalNames = `
accountmanagement alerting apidestinations application-insights appstream.application-autoscaling autoscaling-plans billingconsole bcmdashboards
cks codedeploy compute-optimizer controltower custom-resource data-pipeline delivery devops-guru ds ec2fleet ecs-tasks edgelambda
eks-fargate eks-fargate-pods eks-nodegroup elasticloadbalancing emr-wal fargate ingestion inspector2 iotanalytics kinesisanalytics
logdelivery logger logging malware-protection member mrk migrationhub monitoring ops opensearchservice opsworks-cm osis pods
pods.eks replication replicator reporting resource-explorer-2 rekognition robomaker s3-replication-time-control serverlessrepo
servicecatalog-appregistry sms spot spotfleet stacksets storage-lens streams tagpolicies tts vmie vpc-flow-logs vmimport
`

// regionalPrincipals are first parts of service principals that trust policies
// and resource policies also name with a Region.
//
// Source: IAM User Guide, "AWS service principals", on opt-in Regions; Amazon
// CloudWatch Logs User Guide, on encryption of log data.
const regionalPrincipals = `logs states s3 sns sqs dms codedeploy guardduty macie config cloudtrail inspector2 apigateway elasticmapreduce`

// PrincipalForm is how well a service principal's name is known.
type PrincipalForm uint8

// The outcomes of [ServicePrincipal].
const (
	// PrincipalUnknown names no service that we know.
	PrincipalUnknown PrincipalForm = iota
	// PrincipalGlobal is SERVICE.amazonaws.com.
	PrincipalGlobal
	// PrincipalRegional is SERVICE.REGION.amazonaws.com of a service that has
	// such principals.
	PrincipalRegional
	// PrincipalWrongRegional is SERVICE.REGION.amazonaws.com of a service that
	// acts under its global name only.
	PrincipalWrongRegional
	// PrincipalNoName is not a name below amazonaws.com at all.
	PrincipalNoName
)

// ServicePrincipal tells what a service principal such as
// "sagemaker.amazonaws.com" is. global is its name without a Region, where it
// has one.
func ServicePrincipal(name string) (form PrincipalForm, global string) {
	rest, ok := strings.CutSuffix(name, ".amazonaws.com")
	suffix := ".amazonaws.com"
	if !ok {
		rest, ok = strings.CutSuffix(name, ".amazonaws.com.cn")
		suffix = ".amazonaws.com.cn"
	}
	if !ok || rest == "" || strings.ContainsAny(rest, "*?/: ") {
		return PrincipalNoName, ""
	}
	labels := strings.Split(rest, ".")
	last := len(labels) - 1
	if last > 0 && IsRegion(labels[last]) {
		service := strings.Join(labels[:last], ".")
		switch {
		case !isPrincipal(labels[:last]):
			return PrincipalUnknown, service + suffix
		case slices.Contains(strings.Fields(regionalPrincipals), labels[0]) || last > 1:
			return PrincipalRegional, service + suffix
		}
		return PrincipalWrongRegional, service + suffix
	}
	if !isPrincipal(labels) {
		return PrincipalUnknown, ""
	}
	return PrincipalGlobal, name
}

// isPrincipal reports whether the labels name a service: the first or the last
// of them does.
func isPrincipal(labels []string) bool {
	for _, l := range []string{labels[0], labels[len(labels)-1]} {
		if IsPrefix(l) || slices.Contains(strings.Fields(principalNames), l) || slices.Contains(strings.Fields(viaServices), l) {
			return true
		}
	}
	return false
}

// IsRegion reports whether s is written like a Region: us-west-2,
// us-gov-east-1, eusc-de-east-1.
func IsRegion(s string) bool {
	parts := strings.Split(s, "-")
	if len(parts) < 3 || len(parts) > 4 {
		return false
	}
	last := parts[len(parts)-1]
	if last == "" || len(last) > 2 || strings.Trim(last, "0123456789") != "" {
		return false
	}
	for _, p := range parts[:len(parts)-1] {
		if len(p) < 2 || strings.Trim(p, "abcdefghijklmnopqrstuvwxyz") != "" {
			return false
		}
	}
	return true
}
