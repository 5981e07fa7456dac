package evaluator

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// globalConditions sets the condition keys that every request has.
//
// Source: IAM User Guide, "AWS global condition context keys".
func globalConditions(c authz.Context, call *identity.Call, resourceAccount string) {
	caller := call.Caller
	c.SetTime("aws:CurrentTime", call.Time)
	c.Set("aws:EpochTime", strconv.FormatInt(call.Time.Unix(), 10))
	c.Set("aws:RequestedRegion", call.Region)
	if resourceAccount != "" {
		c.Set("aws:ResourceAccount", resourceAccount)
	}
	principalConditions(c, caller)
	if n := len(caller.Via); n > 0 {
		c.SetBool("aws:ViaAWSService", true)
		names := make([]string, n)
		for i, hop := range caller.Via {
			names[i] = hop.Principal()
		}
		c.SetMulti("aws:CalledVia", names...)
		c.Set("aws:CalledViaFirst", names[0])
		c.Set("aws:CalledViaLast", names[n-1])
		c.Set("kms:ViaService", caller.Via[n-1].Endpoint())
		return
	}
	c.SetBool("aws:ViaAWSService", false)
	if caller.Type == identity.Service {
		return
	}
	// What a service calls under an execution role never leaves the process.
	c.SetBool("aws:SecureTransport", call.TLS.Version != "" || caller.InvokedBy != "")
	if _, err := netip.ParseAddr(call.SourceIP); err == nil { // a service's own calls have its name there
		c.Set("aws:SourceIp", call.SourceIP)
	}
	if call.UserAgent != "" {
		c.Set("aws:UserAgent", call.UserAgent)
	}
}

func principalConditions(c authz.Context, caller *identity.Caller) {
	service := caller.Type == identity.Service
	c.SetBool("aws:PrincipalIsAWSService", service)
	if service {
		c.Set("aws:PrincipalServiceName", caller.GlobalServiceName())
		c.SetMulti("aws:PrincipalServiceNamesList", caller.GlobalServiceName(), caller.ServiceName)
		if caller.SourceARN != "" {
			c.Set("aws:SourceArn", caller.SourceARN)
		}
		if caller.SourceAccount != "" {
			c.Set("aws:SourceAccount", caller.SourceAccount)
		}
		return
	}
	switch caller.Type {
	case identity.Anonymous:
		c.Set("aws:PrincipalType", "Anonymous")
		return
	case identity.WebIdentity:
		c.Set("aws:FederatedProvider", caller.Provider)
		return
	}
	c.Set("aws:PrincipalAccount", caller.Account)
	c.Set("aws:userid", caller.PrincipalID)
	switch caller.Type {
	case identity.Root:
		c.Set("aws:PrincipalType", "Account")
		c.Set("aws:PrincipalArn", caller.ARN)
	case identity.User:
		c.Set("aws:PrincipalType", "User")
		c.Set("aws:PrincipalArn", caller.ARN)
		c.Set("aws:username", caller.UserName)
	case identity.AssumedRole:
		c.Set("aws:PrincipalType", "AssumedRole")
		c.Set("aws:PrincipalArn", caller.RoleARN)
		if caller.Provider != "" {
			c.Set("aws:FederatedProvider", caller.Provider)
		}
		for key, values := range caller.ProviderKeys {
			if strings.HasSuffix(key, ":amr") { // the one that holds a set
				c.SetMulti(key, values...)
			} else if len(values) == 1 {
				c.Set(key, values[0])
			}
		}
	case identity.FederatedUser:
		c.Set("aws:PrincipalType", "FederatedUser")
		c.Set("aws:PrincipalArn", caller.ARN)
	}
	if caller.SourceIdentity != "" {
		c.Set("aws:SourceIdentity", caller.SourceIdentity)
	}
	for name, value := range caller.SessionTags {
		c.Set("aws:PrincipalTag/"+name, value)
	}
	if !caller.IssuedAt.IsZero() {
		c.SetTime("aws:TokenIssueTime", caller.IssuedAt.Truncate(time.Second))
		// There are no MFA devices: no session was made with one. Requests with
		// long-term keys do not have the key at all.
		c.SetBool("aws:MultiFactorAuthPresent", false)
	}
}
