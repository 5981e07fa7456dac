package catalog

import (
	"slices"
	"strings"
)

// globalKeys are the condition keys that requests to every service can hold,
// and those of one service that requests to others hold too.
//
// Source: IAM User Guide, "AWS global condition context keys" and "Cross-service
// condition keys".
const globalKeys = `
k s aws:PrincipalAccount
k a aws:PrincipalArn
k b aws:PrincipalIsAWSService
k s aws:PrincipalOrgID
k S aws:PrincipalOrgPaths
k s aws:PrincipalServiceName
k S aws:PrincipalServiceNamesList
k s aws:PrincipalTag/${TagKey}
k s aws:PrincipalType
k s aws:userid
k s aws:username
k b aws:AssumedRoot
k a aws:ChatbotSourceArn
k i aws:Ec2InstanceSourcePrivateIPv4
k s aws:Ec2InstanceSourceVpc
k s aws:FederatedProvider
k n aws:MultiFactorAuthAge
k b aws:MultiFactorAuthPresent
k a aws:SignInSessionArn
k s aws:SourceIdentity
k d aws:TokenIssueTime
k i aws:SourceIp
k s aws:SourceVpc
k a aws:SourceVpcArn
k s aws:SourceVpce
k s aws:VpceAccount
k s aws:VpceOrgID
k S aws:VpceOrgPaths
k i aws:VpcSourceIp
k s aws:ResourceAccount
k s aws:ResourceOrgID
k S aws:ResourceOrgPaths
k s aws:ResourceTag/${TagKey}
k S aws:CalledVia
k s aws:CalledViaFirst
k s aws:CalledViaLast
k s aws:CalledViaAWSMCP
k d aws:CurrentTime
k d aws:EpochTime
k s aws:referer
k s aws:RequestedRegion
k s aws:RequestTag/${TagKey}
k b aws:SecureTransport
k s aws:SourceAccount
k a aws:SourceArn
k s aws:SourceOrgID
k S aws:SourceOrgPaths
k s aws:SourceOwner
k S aws:TagKeys
k s aws:UserAgent
k b aws:ViaAWSMCPService
k b aws:ViaAWSService
k a codebuild:BuildArn
k a codebuild:ProjectArn
k n ec2:RoleDelivery
k a ec2:SourceInstanceArn
k s glue:CredentialIssuingService
k s glue:RoleAssumedBy
k s identitystore:UserId
k a lambda:SourceFunctionArn
k a ssm:SourceInstanceArn
`

// GlobalKey returns a condition key of every service; name is
// case-insensitive.
func GlobalKey(name string) (*Key, bool) {
	name = strings.ToLower(name)
	all := index().global
	i := slices.IndexFunc(all, func(k *Key) bool { return k.matches(name) })
	if i < 0 {
		return nil, false
	}
	return all[i], true
}

// GlobalKeys lists the condition keys of every service.
func GlobalKeys() []*Key { return slices.Clone(index().global) }
