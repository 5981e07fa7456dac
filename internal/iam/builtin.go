package iam

import (
	"crypto/sha256"
	"time"
)

// awsPolicyPrefix begins the ARNs of AWS managed policies.
const awsPolicyPrefix = "arn:aws:iam::aws:policy/"

// builtinPolicies returns the AWS managed policies that we have, by ARN. The
// documents are ours, with the effect of AWS's on the services that we run.
func builtinPolicies() map[string]policyRow {
	created := time.Date(2015, 2, 6, 18, 39, 46, 0, time.UTC).UnixMicro()
	all := map[string]policyRow{}
	for _, p := range []struct{ name, description, document string }{
		{"AdministratorAccess", "Full access to everything.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`},
		{"PowerUserAccess", "Full access to everything but users, roles and their policies.", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","NotAction":["iam:*","organizations:*","account:*"],"Resource":"*"},
			{"Effect":"Allow","Action":["iam:ListRoles","iam:CreateServiceLinkedRole","iam:DeleteServiceLinkedRole","account:ListRegions"],"Resource":"*"}]}`},
		{"ReadOnlyAccess", "Reading, listing and describing in every service.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[
			"athena:BatchGet*","athena:Get*","athena:List*","cloudtrail:Describe*","cloudtrail:Get*","cloudtrail:List*","cloudtrail:LookupEvents",
			"glue:BatchGet*","glue:Get*","glue:List*","glue:Search*","iam:Generate*","iam:Get*","iam:List*","iam:Simulate*",
			"kms:Describe*","kms:Get*","kms:List*","logs:Describe*","logs:FilterLogEvents","logs:Get*","logs:List*","logs:StartQuery","logs:StopQuery",
			"s3:Get*","s3:List*","sagemaker:BatchGetRecord","sagemaker:Describe*","sagemaker:GetRecord","sagemaker:GetSearchSuggestions","sagemaker:List*","sagemaker:Search",
			"sagemaker-geospatial:Get*","sagemaker-geospatial:List*","sagemaker-geospatial:SearchRasterDataCollection",
			"sts:GetAccessKeyInfo","sts:GetCallerIdentity"],"Resource":"*"}]}`},
		{"IAMFullAccess", "Full access to IAM.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:*"],"Resource":"*"}]}`},
		{"IAMReadOnlyAccess", "Reading in IAM.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["iam:Generate*","iam:Get*","iam:List*","iam:Simulate*"],"Resource":"*"}]}`},
		{"AmazonS3FullAccess", "Full access to all buckets.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:*","s3-object-lambda:*"],"Resource":"*"}]}`},
		{"AmazonS3ReadOnlyAccess", "Reading in all buckets.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*","s3:List*","s3:Describe*","s3-object-lambda:Get*","s3-object-lambda:List*"],"Resource":"*"}]}`},
		{"AmazonSageMakerFullAccess", "Full access to SageMaker and to what its jobs need.", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":["sagemaker:*","sagemaker-geospatial:*"],"Resource":"*"},
			{"Effect":"Allow","Action":["athena:Get*","athena:List*","athena:StartQueryExecution","glue:CreateDatabase","glue:CreateTable","glue:Get*","glue:Search*","glue:UpdateTable",
				"iam:GetRole","iam:ListRoles","kms:DescribeKey","kms:ListAliases","logs:CreateLogGroup","logs:CreateLogStream","logs:Describe*","logs:Get*","logs:PutLogEvents"],"Resource":"*"},
			{"Effect":"Allow","Action":["s3:AbortMultipartUpload","s3:DeleteObject","s3:GetObject","s3:PutObject"],"Resource":["arn:aws:s3:::*SageMaker*","arn:aws:s3:::*Sagemaker*","arn:aws:s3:::*sagemaker*"]},
			{"Effect":"Allow","Action":["s3:CreateBucket","s3:GetBucketCors","s3:GetBucketLocation","s3:ListAllMyBuckets","s3:ListBucket","s3:PutBucketCors"],"Resource":"*"},
			{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/*","Condition":{"StringEquals":{"iam:PassedToService":["sagemaker.amazonaws.com","glue.amazonaws.com"]}}},
			{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/*","Condition":{"StringEquals":{"iam:PassedToService":"sagemaker-geospatial.amazonaws.com"}}}]}`},
		{"AmazonSageMakerGeospatialFullAccess", "Full access to SageMaker geospatial, roles to pass to it included.", `{"Version":"2012-10-17","Statement":[
			{"Effect":"Allow","Action":"sagemaker-geospatial:*","Resource":"*"},
			{"Effect":"Allow","Action":"iam:PassRole","Resource":"arn:aws:iam::*:role/*","Condition":{"StringEquals":{"iam:PassedToService":["sagemaker-geospatial.amazonaws.com"]}}}]}`},
		{"AWSKeyManagementServicePowerUser", "Making and listing keys and aliases.", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[
			"kms:CreateAlias","kms:CreateKey","kms:DeleteAlias","kms:Describe*","kms:GenerateRandom","kms:Get*","kms:List*","kms:TagResource","kms:UntagResource",
			"iam:ListGroups","iam:ListRoles","iam:ListUsers"],"Resource":"*"}]}`},
	} {
		all[awsPolicyPrefix+p.name] = policyRow{
			Account: "aws", Name: p.name, Path: "/", ID: builtinID(p.name), Description: new(p.description),
			Created: created, Updated: created, Default: "v1", Next: 2,
			Versions: []policyVersion{{ID: "v1", Document: p.document, Created: created}},
		}
	}
	return all
}

// builtinID is the unique id of an AWS managed policy: the same everywhere.
func builtinID(name string) string {
	sum := sha256.Sum256([]byte(name))
	for i := range sum {
		sum[i] = base32Alphabet[sum[i]&31]
	}
	return "ANPA" + string(sum[:17])
}
