package catalog

import (
	"fmt"
	"slices"
)

// correction adds to a table what the reference lacks. An action that is there
// already gets the resource types besides its own.
type correction struct {
	service, action string
	level           Level    // of a new action
	keys            []string // of a new action
	types           []string // names of resource types, or ARN templates
}

// corrections are the gaps of the reference that matter to us.
func corrections() []correction {
	all := []correction{
		// AWS KMS API Reference, Encapsulate and Decapsulate: newer than the data.
		{service: "kms", action: "Encapsulate", level: Write, keys: []string{"kms:CallerAccount", "kms:RequestAlias", "kms:ViaService"}, types: []string{"key"}},
		{service: "kms", action: "Decapsulate", level: Write, keys: []string{"kms:CallerAccount", "kms:RequestAlias", "kms:ViaService"}, types: []string{"key"}},
		// Amazon S3 User Guide, "Examples of identity-based policies": buckets are
		// listed on "*" or on the ARN of all of them.
		{service: "s3", action: "ListAllMyBuckets", types: []string{"arn:${Partition}:s3:::${AllBuckets}"}},
		// Amazon CloudWatch Logs User Guide, "CloudWatch Logs permissions reference".
		{service: "logs", action: "DescribeLogGroups", types: []string{"log-group"}},
		// AWS managed policy AmazonSageMakerCanvasFullAccess, which names jobs.
		{service: "sagemaker", action: "ListCandidatesForAutoMLJob", types: []string{"automl-job"}},
	}
	// The reference has no resource type for IAM's lists; the denials name the
	// ARN of a path, and policies on paths work.
	// Source: IAM API Reference, "Errors" of the operations; IAM User Guide, "Controlling
	// access to AWS resources using policies".
	for action, of := range map[string]string{
		"ListUsers": "user", "ListRoles": "role", "ListGroups": "group", "ListPolicies": "policy", "ListInstanceProfiles": "instance-profile",
		"ListServerCertificates": "server-certificate", "ListOpenIDConnectProviders": "oidc-provider", "ListSAMLProviders": "saml-provider",
		"ListVirtualMFADevices": "mfa",
	} {
		all = append(all, correction{service: "iam", action: action, types: []string{of}})
	}
	return all
}

func (c *correction) apply(e *Entry) error {
	if e == nil {
		return fmt.Errorf("%s has no table", c.service)
	}
	a, ok := e.Action(c.action)
	if !ok {
		a = &Action{Service: e.Prefix, Name: c.action, Level: c.level}
		for _, name := range c.keys {
			k, ok := e.Key(name)
			if !ok {
				return fmt.Errorf("%s: no key %s", c.action, name)
			}
			a.Keys = append(a.Keys, k)
		}
		e.Actions = append(e.Actions, a)
		slices.SortFunc(e.Actions, byName)
	}
	for _, name := range c.types {
		i := slices.IndexFunc(e.Resources, func(r ResourceType) bool { return r.Name == name })
		if i < 0 {
			a.Resources = append(a.Resources, ResourceType{Name: "any", ARN: name})
			continue
		}
		if slices.ContainsFunc(a.Resources, func(r ResourceType) bool { return r.Name == name }) {
			return fmt.Errorf("%s has %s by now: remove the correction", c.action, name)
		}
		a.Resources = append(a.Resources, e.Resources[i])
	}
	return nil
}
