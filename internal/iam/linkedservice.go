package iam

import "maps"

// linked is what IAM knows of a service that has a service-linked role. The
// names are AWS's; none of these roles takes a suffix.
type linked struct {
	service     string // the principal that the role trusts
	role        string
	policy      string // the AWS managed policy of the role, below aws-service-role/
	created     string // the instant of AWS's policy, in RFC 3339
	description string // of the policy
	document    string // ours, with the effect of AWS's on the services that we run
}

// linkedServices lists them.
//
// Sources: KMS Developer Guide, "Using service-linked roles for AWS KMS";
// CloudTrail User Guide, "Using service-linked roles for CloudTrail"; AWS
// Organizations User Guide, "Service-linked roles"; SageMaker AI Developer
// Guide, "AWS managed policies for SageMaker Notebooks".
func linkedServices() []linked {
	return []linked{
		{
			service: "cks.kms.amazonaws.com", role: "AWSServiceRoleForKeyManagementServiceCustomKeyStores",
			policy: "AWSKeyManagementServiceCustomKeyStoresServiceRolePolicy", created: "2018-11-14T20:10:53Z", description: "What custom key stores need to connect to their clusters.",
			document: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["cloudhsm:Describe*","ec2:CreateNetworkInterface","ec2:AuthorizeSecurityGroupIngress","ec2:CreateSecurityGroup","ec2:DescribeSecurityGroups","ec2:RevokeSecurityGroupEgress","ec2:DeleteSecurityGroup","ec2:DescribeVpcs","ec2:DescribeNetworkAcls","ec2:DescribeNetworkInterfaces"],"Resource":"*"}]}`,
		},
		{
			service: "cloudtrail.amazonaws.com", role: "AWSServiceRoleForCloudTrail",
			policy: "CloudTrailServiceRolePolicy", created: "2018-10-24T21:21:44Z", description: "What trails of an organization need to know of it.",
			document: `{"Version":"2012-10-17","Statement":[{"Sid":"CloudTrailFullAccess","Effect":"Allow","Action":["cloudtrail:*"],"Resource":"*"},{"Sid":"AwsOrgsAccess","Effect":"Allow","Action":["organizations:DescribeAccount","organizations:DescribeOrganization","organizations:ListAccounts","organizations:ListAWSServiceAccessForOrganization"],"Resource":"*"},{"Sid":"AwsOrgsDelegatedAdminAccess","Effect":"Allow","Action":"organizations:ListDelegatedAdministrators","Resource":"*","Condition":{"StringEquals":{"organizations:ServicePrincipal":["cloudtrail.amazonaws.com"]}}}]}`,
		},
		{
			service: "mrk.kms.amazonaws.com", role: "AWSServiceRoleForKeyManagementServiceMultiRegionKeys",
			policy: "AWSKeyManagementServiceMultiRegionKeysServiceRolePolicy", created: "2021-06-14T15:37:34Z", description: "What keeps the replicas of multi-Region keys like their primary.",
			document: `{"Version":"2012-10-17","Statement":[{"Sid":"KMSSynchronizeMultiRegionKey","Effect":"Allow","Action":["kms:SynchronizeMultiRegionKey"],"Resource":"*"}]}`,
		},
		{
			service: "organizations.amazonaws.com", role: "AWSServiceRoleForOrganizations",
			policy: "AWSOrganizationsServiceTrustPolicy", created: "2017-10-10T23:04:07Z", description: "What lets other services of an organization work in its accounts.",
			document: `{"Version":"2012-10-17","Statement":[{"Sid":"AllowDeletionOfServiceLinkedRoleForOrganizations","Effect":"Allow","Action":["iam:DeleteRole"],"Resource":["arn:aws:iam::*:role/aws-service-role/organizations.amazonaws.com/*"]},{"Sid":"AllowCreationOfServiceLinkedRoles","Effect":"Allow","Action":["iam:CreateServiceLinkedRole"],"Resource":"*"}]}`,
		},
		{
			service: "sagemaker.amazonaws.com", role: "AWSServiceRoleForAmazonSageMakerNotebooks",
			policy: "AmazonSageMakerNotebooksServiceRolePolicy", created: "2019-10-18T20:27:00Z", description: "What notebooks need of SageMaker.",
			document: `{"Version":"2012-10-17","Statement":[{"Sid":"AllowSageMakerDeleteApp","Effect":"Allow","Action":["sagemaker:DeleteApp"],"Resource":"arn:aws:sagemaker:*:*:app/*"},{"Sid":"AllowSageMakerProfiles","Effect":"Allow","Action":["sagemaker:CreateUserProfile","sagemaker:DescribeUserProfile","sagemaker:DescribeSpace","sagemaker:DeleteSpace","sagemaker:ListTags"],"Resource":["arn:aws:sagemaker:*:*:user-profile/*","arn:aws:sagemaker:*:*:space/*"]}]}`,
		},
	}
}

// linkedService returns what belongs to a service principal.
func linkedService(service string) (linked, bool) {
	for _, l := range linkedServices() {
		if l.service == service {
			return l, true
		}
	}
	return linked{}, false
}

func (l *linked) policyARN() string { return awsPolicyPrefix + linkedPath[1:] + l.policy }

func (l *linked) trust() string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"` + l.service + `"},"Action":"sts:AssumeRole"}]}`
}

// withLinkedRolePolicies adds the policies of service-linked roles to the AWS
// managed ones.
func withLinkedRolePolicies(builtin map[string]policyRow) map[string]policyRow {
	all := maps.Clone(builtin)
	for _, l := range linkedServices() {
		created := builtinInstant(l.created)
		all[l.policyARN()] = policyRow{
			Account: "aws", Name: l.policy, Path: linkedPath, ID: builtinID(l.policy), Description: &l.description,
			Created: created, Updated: created, Default: "v1", Next: 2,
			Versions: []policyVersion{{ID: "v1", Document: l.document, Created: created}},
		}
	}
	return all
}

// ofService reports whether the policy is for service-linked roles alone.
func (p *policyRow) ofService() bool { return p.Account == "aws" && p.Path == linkedPath }
